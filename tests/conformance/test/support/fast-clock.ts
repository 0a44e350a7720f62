/**
 * A clock whose time passes many times faster than the host's, for machines whose programs and files are real: a
 * switch of 8 s takes a part of a second, and nothing needs to be stepped by hand.
 */
import { type Clock, type EpochMs, type MonoMs, systemClock } from '@aim-gpu/core';

/** A clock that runs `factor` times as fast as the host's. */
export function createFastClock(factor: number): Clock {
  const start = systemClock.epochMs();
  const origin = systemClock.monoMs();
  const elapsed = (): number => (systemClock.monoMs() - origin) * factor;
  return {
    epochMs: () => Math.floor(start + elapsed()) as EpochMs,
    monoMs: () => elapsed() as MonoMs,
    sleep: (ms, options) => systemClock.sleep(ms / factor, options),
    timer: (ms, callback) => systemClock.timer(ms / factor, callback),
  };
}
