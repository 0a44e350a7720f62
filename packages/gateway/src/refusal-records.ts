/**
 * What is written down of a request that ended before it was admitted: counts, and a record in the access log. Owns that
 * nothing of what a client made up gets into either, but for its path, which is cut.
 */
import type { IncomingMessage } from 'node:http';
import type { Band } from '@aim-gpu/core';
import type { ExchangeTools } from './exchange-request.js';
import { continueTrace } from './trace-context.js';

/** What was known of the request by then: names that exist. */
export interface KnownOfRequest {
  readonly tenant?: string;
  readonly model?: string;
  readonly band?: Band;
  /** How long it had been held, in milliseconds. */
  readonly queueMs?: number;
}

/** A request at its end. */
export interface RefusedRequest {
  readonly request: IncomingMessage;
  readonly requestId: string;
  readonly code: number;
  /** Why it was refused; null for one whose client left. */
  readonly reason: string | null;
  readonly known: KnownOfRequest;
}

/** Longer ones are somebody's play. */
const MOST_PATH_CHARACTERS = 256;

/** Counts and logs it. */
export function recordRefusal(
  { series, accessLog, clock }: Pick<ExchangeTools, 'series' | 'accessLog' | 'clock'>,
  { request, requestId, code, reason, known }: RefusedRequest,
): void {
  const { queueMs, ...names } = known;
  const { sink } = series;
  const labels = { ...names, code: String(code) };
  sink.count('aim_gpu_requests_total', labels);
  if (reason !== null) sink.count('aim_gpu_rejects_total', { ...labels, reason });
  if (accessLog === null) return;
  const { traceparent } = request.headers;
  const header = typeof traceparent === 'string' ? traceparent : undefined;
  accessLog({
    at: clock.epochMs(),
    requestId,
    traceId: continueTrace(header, requestId).traceId,
    path: (request.url ?? '').split('?', 1)[0]?.slice(0, MOST_PATH_CHARACTERS) ?? '',
    tenant: names.tenant ?? null,
    model: names.model ?? null,
    band: names.band ?? null,
    instance: null,
    code,
    stream: false,
    tries: 0,
    promptTokens: null,
    cachedTokens: null,
    outputTokens: null,
    queueMs: queueMs ?? null,
    ttftMs: null,
    tpotMs: null,
    durationMs: queueMs ?? 0,
  });
}
