/**
 * Fragmentation score: what putting a demand on units of a group costs everybody who comes later. Lower is better.
 * The planner's `pack` and `stable` presets and the openb bench score with this very function.
 */
import type { DemandDistribution, UnitDemand, UnitGroup } from './fragmentation.js';

/**
 * Weights of the score's terms against idle capacity lost, 1. From experiments on the openb lists (issue notes and
 * docs/guide/the-planner.md say how they were chosen); none of them depends on a list.
 */
export interface FragmentationWeights {
  /** Capacity that will starve for the side resource. */
  readonly starvation: number;
  /** Capacity of a kind that others are bound to. */
  readonly scarcity: number;
  /** What the mix that comes could have been served with it. Above about 3 it decides, and the others break its ties. */
  readonly worth: number;
}

/** The weights that the presets use. */
export const FRAGMENTATION_WEIGHTS: FragmentationWeights = {
  starvation: 0.2,
  scarcity: 0.15,
  worth: 10,
};

/** A demand on units of a group. */
export interface GroupPlacement {
  readonly group: UnitGroup;
  readonly demand: UnitDemand;
  /** Indices of the units it takes, `demand.units` of them. */
  readonly units: readonly number[];
}

/** Scores placements against one distribution of demands; in the unit of capacity, lower is better. */
export function fragmentationScore(
  distribution: DemandDistribution,
  placement: GroupPlacement,
  weights: FragmentationWeights = FRAGMENTATION_WEIGHTS,
): number {
  const { group, demand } = placement;
  const after = afterPlacing(placement);
  const lost = distribution.fragmentation(after) - distribution.fragmentation(group);
  const starved = starving(distribution, after) - starving(distribution, group);
  const scarce = distribution.scarcity(group.kind) * demand.amount * demand.units;
  const given = distribution.worth(group) - distribution.worth(after);
  return lost + weights.starvation * starved + weights.scarcity * scarce + weights.worth * given;
}

/** The group with the demand on it. */
export function afterPlacing({ group, demand, units }: GroupPlacement): UnitGroup {
  const free = [...group.free];
  for (const unit of units) free[unit] = (free[unit] ?? 0) - demand.amount;
  return { ...group, free, sideFree: group.sideFree - demand.side };
}

/** Idle capacity beyond what the side resource that is left can feed, at the mix that comes. */
function starving({ sidePerAmount }: DemandDistribution, group: UnitGroup): number {
  if (sidePerAmount === 0) return 0;
  let idle = 0;
  for (const left of group.free) idle += left;
  return Math.max(0, idle - group.sideFree / sidePerAmount);
}
