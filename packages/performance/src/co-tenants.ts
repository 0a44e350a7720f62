/**
 * What co-tenants cost: a factor on the duration of every step. Owns the rule and its bounds; the numbers are
 * assumptions (assumptions.ts), because no measurement of two LLM engines sharing an MI300 has been published.
 */
import type { CoTenantActivity, MemoryMode } from '@aim-gpu/core';
import { DEFAULT_ASSUMPTIONS, type PerformanceAssumptions } from './assumptions.js';
import { requireNumber } from './validation.js';

/** Input of {@link coTenantSlowdown}. */
export interface CoTenantSlowdownOptions {
  readonly activity: CoTenantActivity;
  readonly memory: MemoryMode;
  readonly assumptions?: PerformanceAssumptions;
}

/**
 * Says how many times longer a step takes because of others, at least 1. `busy` of an engine is the share of wall
 * time that it spends inside steps, stretched ones included; the factor applies to the whole step and is taken at
 * its start.
 *
 * On one partition each other engine adds 0.9 of its busy share. That needs no cap: n engines that are always busy
 * slow each other down 1 + 0.9 (n − 1) times, below the n of strict turns. Busy neighbours on other partitions
 * together add at most the leftover interference of the memory mode: it is bounded by what the shared part of the
 * memory system can cost, however many they are. Throws `ERR_PREDICT_INVALID` for shares outside 0 to 1.
 */
export function coTenantSlowdown(options: CoTenantSlowdownOptions): number {
  const assumptions = options.assumptions ?? DEFAULT_ASSUMPTIONS;
  let same = 0;
  for (const busy of options.activity.samePartition)
    same += requireNumber('samePartition', busy, 0, 1);
  let others = 0;
  for (const busy of options.activity.otherPartitions)
    others += requireNumber('otherPartitions', busy, 0, 1);
  const leftover =
    options.memory === 'NPS1'
      ? assumptions.otherPartitionsNps1
      : options.memory === 'NPS2'
        ? assumptions.otherPartitionsNps2
        : assumptions.otherPartitionsNps4;
  return (1 + assumptions.samePartition.value * same) * (1 + leftover.value * Math.min(1, others));
}

/**
 * The slowdown of a request's mean token while the others are busy for a share of the time and idle for the rest. A
 * request that lives through both makes more of its tokens while they are idle, so its pace lies between the
 * arithmetic mean of the slowdowns over time and the harmonic one, which is about variance ÷ mean lower; the middle
 * agrees with engines simulated side by side within 3 %. Equal to {@link coTenantSlowdown} for others that are always
 * busy or never.
 */
export function meanCoTenantSlowdown(options: CoTenantSlowdownOptions): number {
  const mean = coTenantSlowdown(options);
  const { value } = (options.assumptions ?? DEFAULT_ASSUMPTIONS).samePartition;
  let variance = 0;
  for (const busy of options.activity.samePartition) variance += value * value * busy * (1 - busy);
  return Math.max(1, mean - variance / (2 * mean));
}
