/**
 * Packing worth: what a whole packing is worth on each level of the objective, by the policy's preset. Lower is better
 * but for the count of placed instances. Pure.
 */
import type { Objective } from '@aim-gpu/core';
import type { Slot } from './card-choice.js';
import { excessOver } from './latency.js';
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

/** How far a candidate's predicted latency exceeds its SLO, as {@link excessOver} has it. */
export function sloExcess(packing: Packing, candidate: Candidate): number {
  const predicted = packing.latencies.get(candidate.instance);
  return predicted === undefined ? 0 : excessOver(predicted, candidate.workload.slo);
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
