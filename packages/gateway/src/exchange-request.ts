/**
 * What an exchange begins with: the request as it was understood, and what all exchanges of a gateway share. Types
 * only.
 */
import type { Clock, Logger } from '@aim-gpu/core';
import type { AdmitRequest, LimitSubject, Qos } from '@aim-gpu/qos';
import type { AccessLog } from './access-log.js';
import type { BandTimeouts } from './band-timeouts.js';
import type { ClientResponse } from './client-response.js';
import type { EngineTrust } from './engine-trust.js';
import type { LiveExchanges } from './live-exchanges.js';
import type { ModelHolds } from './model-hold.js';
import type { PreemptCalls } from './preempt-calls.js';
import type { PrefixAffinity } from './prefix-affinity.js';
import type { RequestMetrics } from './request-series.js';
import type { RetryBudget } from './retry-budget.js';
import type { ServedModels } from './served-models.js';
import type { Upstreams } from './upstream.js';

/** What exchanges of a gateway share. */
export interface ExchangeTools {
  readonly qos: Qos;
  readonly upstreams: Upstreams;
  readonly served: ServedModels;
  readonly live: LiveExchanges;
  readonly holds: ModelHolds;
  readonly preempts: PreemptCalls;
  readonly retries: RetryBudget;
  readonly trust: EngineTrust;
  readonly affinity: PrefixAffinity;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly series: RequestMetrics;
  readonly accessLog: AccessLog | null;
}

/** What answers a request when its model cannot. */
export interface RequestFallback {
  /** The same request for that model; null while it has no engine either. */
  take(): ExchangeRequest | null;
}

/** One request, understood. Holds no closures: those of a request would outlive it in V8's young generation. */
export interface ExchangeRequest {
  readonly response: ClientResponse;
  readonly requestId: string;
  readonly traceId: string;
  /** When the whole request had been read, by the monotonic clock: what clients' times count from. */
  readonly readMs: number;
  readonly method: string;
  readonly path: string;
  /** Headers for the engine, names and values in turn. */
  readonly headers: string[];
  readonly admit: AdmitRequest;
  /** Accounts whose limits every answer tells. */
  readonly accounts: readonly LimitSubject[];
  /** Digests of the prompt's beginnings, for the next request that begins alike; none where there is one engine only. */
  readonly prefixes: readonly string[];
  /** Bytes for the engine; none once no other try is possible. */
  body: Buffer;
  /** Who is told that they need no room any more. */
  readonly holder: { letGoOfBody(): void };
  /** Whether the usage in a stream was the gateway's wish alone. */
  readonly stripUsage: boolean;
  /** No answer can have more tokens than that. */
  readonly mostTokens: number;
  readonly timeouts: BandTimeouts;
  /** How long an engine is left alone that could not be reached, and that said itself when to come again. */
  readonly suspendMs: number;
  readonly mostSuspendMs: number;
  /** Null for a model without one, and for a request that has come to it. */
  fallback: RequestFallback | null;
}
