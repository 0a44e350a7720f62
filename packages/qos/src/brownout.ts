/**
 * Gives up the least important work while the important one burns its error budget: `best_effort` is paused and `batch`
 * may fill only half of an endpoint. Owns when that begins and ends; must not cancel what runs.
 */
import type { Band } from '@aim-gpu/core';
import type { SloTracker } from './slo-tracker.js';

/** Whether lower bands are cut back now. */
export interface Brownout {
  /** Whether it is on. */
  active(nowMs: number): boolean;
  /** Whether newcomers of the band are shed. */
  paused(band: Band, nowMs: number): boolean;
  /** Share of an endpoint that the band may fill, 0 to 1. */
  ceiling(band: Band, nowMs: number): number;
}

const LOOK_EVERY_MS = 1_000;
const BATCH_CEILING = 0.5;
/** What was already waiting when the pause began still gets this much, so that an idle engine does not stay idle. */
const PAUSED_CEILING = 0.1;

/**
 * Makes a brown-out that starts with a page of any tracker (fast burn in both windows) and ends once none burns faster
 * than its budget allows over five minutes. `guarded` gives the trackers of the bands that must be kept well.
 */
export function createBrownout(options: {
  readonly guarded: () => readonly SloTracker[];
}): Brownout {
  let on = false;
  let nextLookMs = Number.NEGATIVE_INFINITY;

  const active = (nowMs: number): boolean => {
    if (nowMs < nextLookMs && nextLookMs - nowMs <= LOOK_EVERY_MS) return on;
    nextLookMs = nowMs + LOOK_EVERY_MS;
    const trackers = options.guarded();
    on = on
      ? trackers.some((tracker) => (tracker.burn('5m', nowMs) ?? 0) > 1)
      : trackers.some((tracker) =>
          tracker.alerts(nowMs).some(({ severity }) => severity === 'page'),
        );
    return on;
  };

  return {
    active,
    paused: (band, nowMs) => band === 'best_effort' && active(nowMs),
    ceiling: (band, nowMs) => {
      if (band !== 'batch' && band !== 'best_effort') return 1;
      if (!active(nowMs)) return 1;
      return band === 'batch' ? BATCH_CEILING : PAUSED_CEILING;
    },
  };
}
