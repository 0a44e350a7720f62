/**
 * How long a change of the simulated machine takes this time: draws from the ranges that `partitioning` states.
 * Owns the shape of the distribution, no figures of its own.
 */
import type { Rng } from '@aim-gpu/core';
import {
  type DurationRange,
  HARDWARE_TIMING,
  SHORT_TIMING,
  type SwitchTiming,
} from '@aim-gpu/partitioning';
import type { ChangeWindow } from './machine.js';

/** `short`: a switch ends within 8 s and a reload within 20 s; `realistic`: what real machines take. */
export type SimulatedTiming = 'short' | 'realistic';

/** The ranges a timing stands for. */
function rangesOf(timing: SimulatedTiming): SwitchTiming {
  return timing === 'short' ? SHORT_TIMING : HARDWARE_TIMING;
}

/**
 * Draws a duration: log-normal around the typical value with its own width on either side, cut at low and high, which
 * lie two standard deviations away (the ranges are stated as about 95 %).
 */
export function drawMs(range: DurationRange, rng: Rng): number {
  // Box-Muller; 1 - u is in (0, 1], so that the logarithm is finite.
  const normal = Math.sqrt(-2 * Math.log(1 - rng.next())) * Math.cos(2 * Math.PI * rng.next());
  const edge = normal < 0 ? range.lowMs : range.highMs;
  const sigma = Math.abs(Math.log(edge / range.typicalMs)) / 2;
  const value = range.typicalMs * Math.exp(normal * sigma);
  return Math.round(Math.min(range.highMs, Math.max(range.lowMs, value)));
}

/** Draws when a change that begins now will return and when its partitions will all be there. */
export function drawWindow(options: {
  readonly kind: 'compute' | 'reload';
  readonly timing: SimulatedTiming;
  readonly rng: Rng;
  readonly nowMs: number;
  /** Instead of the drawn duration of the call. */
  readonly takesMs?: number;
}): ChangeWindow {
  const ranges = rangesOf(options.timing);
  const takesMs = options.takesMs ?? drawMs(ranges[options.kind], options.rng);
  const endsAtMs = options.nowMs + takesMs;
  return {
    startedAtMs: options.nowMs,
    endsAtMs,
    visibleAtMs: endsAtMs + drawMs(ranges.settle, options.rng),
  };
}
