/**
 * The host's clock whose timers of some lengths fire at once, for what happens every few seconds only; its wall clock
 * can be set.
 */
import { type Clock, type EpochMs, systemClock } from '@aim-gpu/core';

/** A clock under a test's control; durations pass as they do. */
export interface HastyClock extends Clock {
  /** Sets the wall clock forward, or back. */
  step(ms: number): void;
}

/** Makes one; timers of exactly these lengths take 20 ms. */
export function createHastyClock(...lengthsMs: readonly number[]): HastyClock {
  let stepMs = 0;
  return {
    ...systemClock,
    epochMs: () => (systemClock.epochMs() + stepMs) as EpochMs,
    timer: (ms, callback) => systemClock.timer(lengthsMs.includes(ms) ? 20 : ms, callback),
    step: (ms) => {
      stepMs += ms;
    },
  };
}
