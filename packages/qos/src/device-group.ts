/**
 * Endpoints that share a partition or a card guard each other: when tokens of an urgent band come too slowly on any of
 * them, the lower bands of all of them are held back, whichever model they belong to. Owns the common ceiling; must not
 * know models or tenants. Endpoints that cannot slow each other down do not belong in one group.
 */
import type { Band } from '@aim-gpu/core';

/** The common guard of a group. Times are monotonic milliseconds. */
export interface DeviceGroup {
  /**
   * One look at how fast tokens of an urgent band come. True when the group has just been held back (further), which is
   * also a sign of congestion for the endpoint that was looked at.
   */
  tempo(tpotMs: number, targetMs: number, nowMs: number): boolean;
  /** Share of an endpoint that a band may fill, 0 to 1; less than 1 for `batch` and `best_effort` only. */
  ceiling(band: Band, nowMs: number): number;
}

const WINDOW_MS = 2_000;
const DECREASE = 0.8;
const RECOVER_PER_MS = 0.02 / 1_000;
/** Lower bands are never shut out: that would not be work-conserving, and the cause may be another one. */
const FLOOR = 0.1;

/** Makes a group that holds nothing back. */
export function createDeviceGroup(): DeviceGroup {
  let factor = 1;
  let factorMs = 0;
  let windowMs = Number.NEGATIVE_INFINITY;
  let slow = 0;
  let seen = 0;

  const recovered = (nowMs: number): number =>
    Math.min(1, factor + Math.max(0, nowMs - factorMs) * RECOVER_PER_MS);

  return {
    tempo: (tpotMs, targetMs, nowMs) => {
      if (!(tpotMs >= 0)) return false;
      if (!(nowMs - windowMs < WINDOW_MS) || nowMs < windowMs) {
        const breached = seen > 0 && slow * 2 > seen;
        const first = windowMs === Number.NEGATIVE_INFINITY;
        windowMs = nowMs;
        seen = 1;
        slow = tpotMs > targetMs ? 1 : 0;
        // The first look of all is acted on by the window that it opens.
        if (first || !breached) return false;
        factor = Math.max(FLOOR, recovered(nowMs) * DECREASE);
        // Recovery starts only when a window has passed without a breach.
        factorMs = nowMs + WINDOW_MS;
        return true;
      }
      seen += 1;
      if (tpotMs > targetMs) slow += 1;
      return false;
    },
    ceiling: (band, nowMs) => (band === 'batch' || band === 'best_effort' ? recovered(nowMs) : 1),
  };
}
