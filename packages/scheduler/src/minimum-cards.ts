/**
 * The smallest number of cards of one product that serves a fleet, on fresh nodes of eight. Pure.
 */
import type { Plan } from '@aim-gpu/core';
import { toNewInventories } from './card-inventory.js';
import type { FleetProblem } from './fleet-problem.js';
import { planFleet } from './plan-within-rules.js';

/** How many cards a fleet needs. */
export type MinimumCards =
  | {
      readonly ok: true;
      readonly product: string;
      readonly cards: number;
      /** The plan on that many cards. */
      readonly plan: Plan;
      /** Share of the cards' memory that the plan hands out. */
      readonly memoryUsed: number;
    }
  | {
      readonly ok: false;
      readonly product: string;
      /** The plan on the largest number looked at, with what stood in the way. */
      readonly plan: Plan;
    };

/**
 * Finds the fewest cards of a product on which everything has a place, looking at no more than `most`. Wishes for nodes
 * and pins are not kept, since the nodes are not there yet. Throws `ERR_PRODUCT_UNKNOWN` (invalid).
 */
export function findMinimumCards(
  problem: FleetProblem,
  options: { readonly product: string; readonly most?: number },
): MinimumCards {
  const { product, most = 64 } = options;
  const free = withoutPlaces(problem);
  const planOn = (count: number): Plan =>
    planFleet({ ...free, inventories: toNewInventories({ product, count }), assignments: [] });
  let low = 0;
  let high = 1;
  let plan = planOn(high);
  while (plan.unplaced.length > 0) {
    if (high >= most) return { ok: false, product, plan };
    low = high;
    high = Math.min(most, high * 2);
    plan = planOn(high);
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    const tried = planOn(middle);
    if (tried.unplaced.length > 0) low = middle;
    else {
      high = middle;
      plan = tried;
    }
  }
  return { ok: true, product, cards: high, plan, memoryUsed: memoryUsed(plan) };
}

function withoutPlaces(problem: FleetProblem): FleetProblem {
  const models = problem.fleet.models.map((model) => ({
    ...model,
    placement: { ...model.placement, pin: null, nodes: [] },
  }));
  return { ...problem, fleet: { ...problem.fleet, models }, cordoned: [], protectedInstances: [] };
}

/** Share of the cards' memory that a plan hands out. */
export function memoryUsed(plan: Plan): number {
  let total = 0;
  let used = 0;
  for (const card of plan.nodes.flatMap((node) => node.cards)) {
    for (const { memoryBytes, shares } of card.partitions) {
      total += memoryBytes;
      for (const share of shares) used += share.memoryBytes;
    }
  }
  return total === 0 ? 0 : used / total;
}
