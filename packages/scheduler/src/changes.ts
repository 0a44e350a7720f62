/**
 * What a packing changes: layout changes of each node, and what they and the moves cost. The order and the length of
 * the changes come from partitioning; this file only asks and adds up. Pure.
 */
import type { Inventory, LayoutChange } from '@aim-gpu/core';
import {
  planRepartition,
  type RepartitionPlan,
  toLayoutChanges as toChanges,
  toSwitchTiming,
} from '@aim-gpu/partitioning';
import type { Packing } from './packing.js';
import type { SearchProblem } from './problem.js';

/** Every layout change of a packing, in the order they happen, node by node. */
export function toLayoutChanges(problem: SearchProblem, packing: Packing): readonly LayoutChange[] {
  return repartitions(problem, packing).flatMap((plan) => (plan === null ? [] : toChanges(plan)));
}

/**
 * Cost of a packing's changes in milliseconds: the time of each layout step, once for itself and once more for each
 * instance it stops, plus one start for each instance that moves. With `downtimeOnly`, the longest time any instance
 * that runs now is down. Infinite when the layouts cannot be reached.
 */
export function changeCostMs(
  problem: SearchProblem,
  packing: Packing,
  options: { readonly downtimeOnly?: boolean } = {},
): number {
  let cost = 0;
  for (const plan of repartitions(problem, packing)) {
    if (plan === null) return Number.POSITIVE_INFINITY;
    if (options.downtimeOnly === true) {
      cost = Math.max(cost, plan.stops.length === 0 ? 0 : plan.expectedMs);
      continue;
    }
    cost += plan.steps.reduce((sum, step) => sum + step.expectedMs * (1 + step.stops.length), 0);
  }
  return options.downtimeOnly === true ? cost : cost + moves(packing) * MOVE_MS;
}

/** A move stops and starts an engine: about a minute without download or first compilation (reference figures of vLLM 0.9 on MI300X, 62 s). */
const MOVE_MS = 60_000;

function moves(packing: Packing): number {
  return packing.residents.filter(({ candidate, slots }) => {
    const before = candidate.assigned?.shares;
    if (before === undefined) return false;
    return !slots.every((slot) =>
      before.some(
        (share) =>
          share.node === slot.card.node &&
          share.card === slot.card.id &&
          share.partition === slot.index,
      ),
    );
  }).length;
}

function repartitions(
  problem: SearchProblem,
  packing: Packing,
): readonly (RepartitionPlan | null)[] {
  return problem.inventories.map((inventory) => repartitionOf(problem, packing, inventory));
}

function repartitionOf(
  problem: SearchProblem,
  packing: Packing,
  inventory: Inventory,
): RepartitionPlan | null {
  const desired = problem.cards.flatMap((card, index) => {
    const layout = packing.layouts[index];
    return card.node !== inventory.node || layout === undefined ? [] : [{ card: card.id, layout }];
  });
  const result = planRepartition({
    inventory,
    desired,
    assignments: problem.assignments,
    timing: toSwitchTiming({ driver: inventory.driver }),
  });
  return result.ok ? result.plan : null;
}
