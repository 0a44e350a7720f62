/**
 * Port: what requests ask of each model now. The one who admits requests fills it (qos, through the gateway), the
 * planner reads it; neither knows the other.
 */
import type { Band } from './workload.js';

/** What one band asks of one model. Rates are means over about the last ten seconds. */
export interface BandDemand {
  /** The model's name as requests are admitted by it. */
  readonly model: string;
  readonly band: Band;
  /** Requests that came, admitted or not. */
  readonly requestsPerSecond: number;
  /** Tokens they wanted: prompt and expected answer together. */
  readonly offeredTokensPerSecond: number;
  /** Tokens of the requests that were sent to an endpoint. */
  readonly servedTokensPerSecond: number;
  /** Requests refused for want of capacity; a tenant's own limits do not count. */
  readonly refusedPerSecond: number;
  readonly queuedRequests: number;
  readonly queuedTokens: number;
  /** How long a newcomer would wait, in milliseconds; null when nobody can say. */
  readonly predictedWaitMs: number | null;
  /** Requests that run. */
  readonly inFlight: number;
  /** Tokens that reservations promise to this band of this model; 0 without any. */
  readonly reservedTokens: number;
  /** Share of requests within their targets in the last hour; null while none has ended. */
  readonly attainment: number | null;
  /** How many times faster than allowed the error budget burns, over the last hour; null without events. */
  readonly burn: number | null;
}

/** What is asked of every model, band by band. */
export interface DemandSignal {
  /** The demand now: one row for each band of each model that has been asked for or waits. Never throws. */
  demand(): readonly BandDemand[];
}
