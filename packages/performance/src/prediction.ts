/**
 * What a prediction is: values with their band, how well they are supported, and the assumptions they rest on. Types
 * only.
 */
import type { Reason } from '@aim-gpu/core';
import type { Grade } from './engine-constants.js';

/** A predicted value with the band that should hold it nine times out of ten. */
export interface Estimate {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** How fast an engine will answer under a load. */
export interface Prediction {
  readonly ok: true;
  readonly ttftMs: Estimate;
  readonly tpotMs: Estimate;
  /** Tokens generated a second by the whole engine. */
  readonly outputTokensPerSecond: Estimate;
  readonly requestsPerSecond: number;
  /** Share of wall time inside steps, 0 to 1: what co-tenants feel of this engine. */
  readonly busy: number;
  /** Mean sequences in a decode step. */
  readonly batch: number;
  /** Sequences that can run together at these lengths. */
  readonly seats: number;
  /** Factor that co-tenants put on every step, 1 when alone. */
  readonly slowdown: number;
  readonly grade: Grade;
  readonly assumptions: readonly string[];
}

/**
 * Why there is no prediction. Codes: `LOAD_ABOVE_CAPACITY` (requests come faster than they can be served),
 * `CONTEXT_EXCEEDS_KV` (one request does not fit the KV pool).
 */
export interface NoPrediction {
  readonly ok: false;
  readonly reasons: readonly Reason[];
  /** Requests a second at which the engine just keeps up, when that is what stands in the way. */
  readonly capacityPerSecond?: number;
}
