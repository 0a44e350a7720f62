/**
 * How long to wait before an engine is started again. Pure.
 */
import type { Rng } from '@aim-gpu/core';
import type { RunnerTiming } from './runner-timing.js';

/**
 * The wait after the given failure in a row, counted from 1: it doubles up to a limit. Jitter between half and the
 * whole, so that engines felled together do not return together.
 */
export function backOffMs(
  timing: Pick<RunnerTiming, 'firstBackoffMs' | 'longestBackoffMs'>,
  failures: number,
  rng: Rng,
): number {
  const { firstBackoffMs, longestBackoffMs } = timing;
  const base = Math.min(longestBackoffMs, firstBackoffMs * 2 ** (failures - 1));
  return base * (0.5 + rng.next() / 2);
}
