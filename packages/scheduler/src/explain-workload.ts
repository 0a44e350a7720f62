/**
 * Why a workload is where it is, or nowhere: for each instance its reasons, and how many partitions each constraint
 * removed. Pure.
 */
import type { Placement, Reason, Unplaced } from '@aim-gpu/core';
import { rejectionOf } from './filters.js';
import type { FleetProblem } from './fleet-problem.js';
import { searchLayouts } from './layout-search.js';
import { toOccupancy } from './plan-large.js';
import { planFleet } from './plan-within-rules.js';
import { pluginRejection } from './plugin.js';
import { toSearchProblem } from './problem.js';
import { unknownModel } from './what-if.js';

/** How many partitions a constraint removed, with one of its messages. */
export interface ConstraintCount {
  readonly code: string;
  readonly partitions: number;
  readonly example: string;
}

/** A workload in a plan, explained. */
export interface WorkloadExplanation {
  readonly workload: string;
  readonly placements: readonly Placement[];
  /** Null when all of it is placed; else what is not, with the nearest fix. */
  readonly unplaced: Unplaced | null;
  /** Partitions in the chosen layouts. */
  readonly partitions: number;
  /** Where one more instance could go beside everybody else. */
  readonly open: number;
  /** What removed the others, most first. */
  readonly removed: readonly ConstraintCount[];
}

/**
 * Explains one workload of a fleet's plan. The counts are those of its first instance with everybody else in place.
 * Throws `ERR_MODEL_UNKNOWN` (missing) and `ERR_DEMAND_MISSING` (internal).
 */
export function explainWorkload(problem: FleetProblem, name: string): WorkloadExplanation {
  const search = toSearchProblem(problem);
  const candidate = search.candidates.find(({ workload }) => workload.name === name);
  if (candidate === undefined) throw unknownModel(problem, name);
  const plan = planFleet(problem);
  const { packing } = searchLayouts(search);
  const occupancy = toOccupancy(
    packing.residents.filter((resident) => resident.candidate !== candidate),
  );
  const reasons = packing.slots.map(
    (slot) =>
      rejectionOf(candidate, slot, occupancy) ??
      pluginRejection(search.plugins, candidate, slot, occupancy),
  );
  return {
    workload: name,
    placements: plan.placements.filter(({ workload }) => workload === name),
    unplaced: plan.unplaced.find(({ workload }) => workload === name) ?? null,
    partitions: packing.slots.length,
    open: reasons.filter((reason) => reason === null).length,
    removed: countByCode(reasons),
  };
}

function countByCode(reasons: readonly (Reason | null)[]): readonly ConstraintCount[] {
  const counts = new Map<string, { partitions: number; example: string }>();
  for (const reason of reasons) {
    if (reason === null) continue;
    const entry = counts.get(reason.code) ?? { partitions: 0, example: reason.message };
    entry.partitions += 1;
    counts.set(reason.code, entry);
  }
  return [...counts]
    .map(([code, entry]) => ({ code, ...entry }))
    .toSorted((a, b) => b.partitions - a.partitions || (a.code < b.code ? -1 : 1));
}
