/**
 * Whether waiting makes sense: a request that would not start before it gives up is refused at once, cheaply and with
 * the time when it would be. Owns the comparison and its hysteresis; where the predicted wait comes from is the caller's.
 */
import { BANDS, type Band } from '@aim-gpu/core';
import { bandRank } from './bands.js';

/** A newcomer that would have to wait. */
export interface Newcomer {
  readonly band: Band;
  /** How long it would wait, in milliseconds; null when nobody can say, then it may try. */
  readonly waitMs: number | null;
  /** How long it is willing to wait, in milliseconds. */
  readonly patienceMs: number;
  /** Whether the patience is the request's own and not its band's. */
  readonly own: boolean;
}

/** Lets in who will be served in time. */
export interface Feasibility {
  /** Whether the newcomer would start in time, as far as anybody can say. */
  allows(newcomer: Newcomer): boolean;
}

/** A prediction is seldom better than this, so a band is closed above 1.3 × its patience and opened below 0.7 ×. */
const HYSTERESIS = 0.3;

/** Makes a check without memory of refusals. */
export function createFeasibility(): Feasibility {
  const closed = BANDS.map(() => false);
  return {
    allows: ({ band, waitMs, patienceMs, own }) => {
      if (waitMs === null || waitMs <= 0) return true;
      // One impatient request says nothing about its band.
      if (own) return waitMs <= patienceMs;
      const rank = bandRank(band);
      const bound = patienceMs * (closed[rank] ? 1 - HYSTERESIS : 1 + HYSTERESIS);
      closed[rank] = waitMs > bound;
      return waitMs <= bound;
    },
  };
}
