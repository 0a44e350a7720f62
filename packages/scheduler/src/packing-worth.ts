/**
 * Packing worth: what a whole packing is worth on each level of the objective, by the policy's preset. Lower is better
 * but for the count of placed instances. Pure.
 */
import type { Objective } from '@aim-gpu/core';
import type { Slot } from './card-choice.js';
import type { Worth } from './objective.js';
import type { Packing } from './packing.js';
import { bandRank, type Candidate } from './problem.js';

/** What a packing is worth on every level of the objective. */
export function packingWorth(
  packing: Packing,
  options: { readonly objective: Objective; readonly changeCostMs: number },
): Worth {
  const placedByBand = [0, 0, 0, 0, 0];
  let violations = 0;
  let guaranteesMissed = 0;
  for (const { candidate, slots, memoryBytes } of packing.residents) {
    const rank = bandRank(candidate.workload.band);
    placedByBand[rank] = (placedByBand[rank] ?? 0) + 1;
    violations += sloExcess(packing, candidate);
    const before = candidate.assigned?.shares[0]?.memoryBytes ?? 0;
    if (memoryBytes < before && slots.length > 0) guaranteesMissed += 1;
  }
  return {
    placedByBand,
    violations,
    guaranteesMissed,
    changeCostMs: options.changeCostMs,
    presetScore: presetPackingScore(packing, options.objective),
  };
}

/** How far predicted latency exceeds the SLO, as a ratio: 0 when met, 0.5 when half as much again. */
export function sloExcess(packing: Packing, candidate: Candidate): number {
  const predicted = packing.latencies.get(candidate.instance);
  if (predicted === undefined) return 0;
  const { ttftMs, tpotMs } = candidate.workload.slo;
  const excess = (value: number, target: number | null): number =>
    target === null ? 0 : Math.max(0, value / target - 1);
  // More load than a place can serve misses any target; one is counted even where none is set.
  const overload = predicted.overloaded ? 1 : 0;
  return overload + excess(predicted.tpotMs, tpotMs) + excess(predicted.ttftMs, ttftMs);
}

function presetPackingScore(packing: Packing, objective: Objective): number {
  switch (objective) {
    case 'pack':
      return -largestFreeSquares(packing);
    case 'spread':
      return fullestPartition(packing);
    case 'latency':
    case 'stable':
      return latencyScore(packing);
  }
}

/** Free memory counts more in one piece: the sum of squares of what whole empty partitions hold, in GiB². */
function largestFreeSquares(packing: Packing): number {
  const used = new Set(packing.residents.flatMap((resident) => resident.slots));
  return packing.slots
    .filter((slot) => !used.has(slot))
    .reduce((sum, slot) => sum + (slot.usableBytes / 2 ** 30) ** 2, 0);
}

function fullestPartition(packing: Packing): number {
  const used = new Map<Slot, number>();
  for (const { slots, memoryBytes } of packing.residents) {
    for (const slot of slots) used.set(slot, (used.get(slot) ?? 0) + memoryBytes);
  }
  return Math.max(0, ...[...used].map(([slot, taken]) => taken / Math.max(1, slot.usableBytes)));
}

/** Predicted TPOT against its target, or against 50 ms without one, urgent bands counting more. */
function latencyScore(packing: Packing): number {
  let score = 0;
  for (const { candidate } of packing.residents) {
    const predicted = packing.latencies.get(candidate.instance);
    if (predicted === undefined) continue;
    const target = candidate.workload.slo.tpotMs ?? 50;
    score += predicted.tpotMs / target / 2 ** bandRank(candidate.workload.band);
  }
  return score;
}
