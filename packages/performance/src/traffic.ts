/**
 * The load on one engine: lengths and arrivals. Owns validation and the means that the formulas need; makes no
 * requests.
 */

import { MAX_CONTEXT_TOKENS } from './step-model.js';
import { invalidInput, requireNumber, requireWhole } from './validation.js';

/** How requests arrive. */
export type Arrivals =
  /** So many clients, each sending its next request when the last one is answered. */
  | {
      readonly kind: 'closed';
      readonly concurrency: number;
      /** Requests each client sends; the first ones come all at once. By default 10. */
      readonly requestsPerClient?: number;
    }
  /** Independent requests at a mean rate (Poisson). */
  | { readonly kind: 'open'; readonly requestsPerSecond: number };

/** How lengths vary around the nominal ones. */
export type Lengths =
  | { readonly kind: 'fixed' }
  /** Each length is drawn between `from` and 1 of nominal. */
  | { readonly kind: 'uniform'; readonly from: number };

/** The load on one engine. */
export interface Traffic {
  /** Nominal tokens of a prompt. */
  readonly promptTokens: number;
  /** Nominal tokens of an answer. */
  readonly outputTokens: number;
  readonly arrivals: Arrivals;
  /** By default fixed. */
  readonly lengths?: Lengths;
  /** Share of each prompt that the prefix cache supplies, by default 0. */
  readonly prefixHitShare?: number;
}

/** Traffic reduced to what the closed form needs. */
export interface TrafficMeans {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens: number;
  /** Squared coefficient of variation of the answers' lengths. */
  readonly outputVariation: number;
  readonly varied: boolean;
}

/** Checks a load. Throws `ERR_PREDICT_INVALID` naming the field. */
export function validateTraffic(traffic: Traffic): void {
  requireNumber('promptTokens', traffic.promptTokens, 1, MAX_CONTEXT_TOKENS);
  requireNumber('outputTokens', traffic.outputTokens, 1, MAX_CONTEXT_TOKENS);
  requireNumber('prefixHitShare', traffic.prefixHitShare ?? 0, 0, 0.999);
  const { arrivals } = traffic;
  if (arrivals.kind === 'closed') {
    requireWhole('concurrency', arrivals.concurrency, 1, 1_000_000);
    requireWhole('requestsPerClient', arrivals.requestsPerClient ?? 1, 1, 1_000_000_000);
  } else if (arrivals.kind === 'open')
    requireNumber('requestsPerSecond', arrivals.requestsPerSecond, 1e-9, 1e6);
  else throw invalidInput('arrivals.kind', (arrivals as { kind: unknown }).kind, 'closed or open');
  const lengths = traffic.lengths;
  if (lengths?.kind === 'uniform') requireNumber('lengths.from', lengths.from, 0.01, 1);
}

/** Means of a load's lengths. */
export function trafficMeans(traffic: Traffic): TrafficMeans {
  const from = traffic.lengths?.kind === 'uniform' ? traffic.lengths.from : 1;
  const mean = (1 + from) / 2;
  const promptTokens = Math.max(1, traffic.promptTokens * mean);
  return {
    promptTokens,
    outputTokens: Math.max(1, traffic.outputTokens * mean),
    cachedTokens: promptTokens * (traffic.prefixHitShare ?? 0),
    outputVariation: ((1 - from) * (1 - from)) / 12 / (mean * mean),
    varied: from < 1,
  };
}
