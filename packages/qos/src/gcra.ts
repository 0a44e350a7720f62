/**
 * GCRA (generic cell rate algorithm) as pure arithmetic on one number: the theoretical arrival time, TAT. Owns the law
 * of every rate limit here; a rate is `limit` units per `periodMs`, with `burst` units available at once.
 *
 * With T = periodMs ÷ limit and tau = T × burst: an arrival of n units at `now` conforms when
 * max(now, tat) + n×T − now ≤ tau. One number a limit, no timer, any real n, exact refunds.
 */

/** A rate. */
export interface Rate {
  /** Milliseconds that one unit takes. */
  readonly unitMs: number;
  /** How far ahead of now the TAT may stand, in milliseconds: unitMs × burst. */
  readonly toleranceMs: number;
}

/** Rounding errors of monotonic milliseconds stay far below this. */
const EPSILON_MS = 1e-5;

/** A rate of `limit` units a period with a burst of `burst` units, the whole period's unless given. */
export function toRate(options: {
  readonly limit: number;
  readonly periodMs: number;
  readonly burst?: number;
}): Rate {
  const unitMs = options.limit > 0 ? options.periodMs / options.limit : Number.POSITIVE_INFINITY;
  const burst = options.burst ?? options.limit;
  return { unitMs, toleranceMs: options.limit > 0 ? unitMs * Math.max(0, burst) : 0 };
}

/**
 * How long until n units conform, in milliseconds: 0 when they do now, Infinity when n exceeds the burst and they
 * never will. A try exactly that much later conforms; one a tenth earlier does not.
 */
export function conformsInMs(tat: number, nowMs: number, n: number, rate: Rate): number {
  if (n <= 0) return 0;
  const need = n * rate.unitMs;
  if (need > rate.toleranceMs + EPSILON_MS) return Number.POSITIVE_INFINITY;
  const excess = Math.max(tat, nowMs) + need - rate.toleranceMs - nowMs;
  return excess <= EPSILON_MS ? 0 : excess;
}

/** The TAT after n units were taken; a negative n gives units back. */
export function advance(tat: number, nowMs: number, n: number, rate: Rate): number {
  if (n === 0 || !Number.isFinite(rate.unitMs)) return tat;
  return n > 0 ? Math.max(tat, nowMs) + n * rate.unitMs : tat + n * rate.unitMs;
}

/** Whole units that conform at once now. */
export function remaining(tat: number, nowMs: number, rate: Rate): number {
  if (!Number.isFinite(rate.unitMs)) return 0;
  const ahead = Math.max(0, tat - nowMs);
  return Math.max(0, Math.floor((rate.toleranceMs - ahead) / rate.unitMs + 1e-9));
}

/** Milliseconds until the whole burst is available again. */
export function resetMs(tat: number, nowMs: number): number {
  return Math.max(0, tat - nowMs);
}
