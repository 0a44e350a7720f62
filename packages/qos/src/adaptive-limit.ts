/**
 * How many sequences an engine takes well, learned from its own signs of congestion. Owns additive increase and
 * multiplicative decrease; must not probe by pinning the load down, which sheds healthy traffic.
 */

/** A limit that follows congestion. */
export interface AdaptiveLimit {
  /** Sequences allowed now, within the bounds. */
  readonly limit: number;
  /** The engine is congested: × 0.9, at most once per round trip. */
  congested(nowMs: number, roundTripMs: number): void;
  /** The engine is fine; + 1 when at least half of the limit is in use, so that an idle engine does not raise it. */
  calm(inFlight: number, nowMs: number): void;
  /** Starts from a limit learned before, within the bounds. */
  restore(limit: number): void;
}

const DECREASE = 0.9;
const MIN_ROUND_TRIP_MS = 1_000;

/** Makes a limit that starts at its maximum. */
export function createAdaptiveLimit(bounds: {
  readonly min: number;
  readonly max: number;
}): AdaptiveLimit {
  const max = Math.max(1, bounds.max);
  const min = Math.min(max, Math.max(1, bounds.min));
  let limit = max;
  let quietUntilMs = Number.NEGATIVE_INFINITY;
  return {
    get limit() {
      return Math.floor(limit);
    },
    congested: (nowMs, roundTripMs) => {
      if (nowMs < quietUntilMs) return;
      limit = Math.max(min, limit * DECREASE);
      quietUntilMs = nowMs + Math.max(MIN_ROUND_TRIP_MS, roundTripMs);
    },
    calm: (inFlight, nowMs) => {
      if (nowMs < quietUntilMs || inFlight < limit / 2) return;
      limit = Math.min(max, limit + 1);
    },
    restore: (learned) => {
      if (Number.isFinite(learned)) limit = Math.min(max, Math.max(min, learned));
    },
  };
}
