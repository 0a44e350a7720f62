/**
 * Which wishes contradict each other: the smallest set of wishes of a fleet's models that keeps a workload from a place
 * although without them there would be one. Owns what counts as a wish; whether a fleet has a plan is planFleet's. Pure.
 */
import type { PlacementWish, Workload, WorkloadName } from '@aim-gpu/core';
import type { FleetProblem } from './fleet-problem.js';
import { planFleet } from './plan-within-rules.js';
import { unknownModel } from './what-if.js';

/** Wishes that a fleet file can drop, by their keys in it. */
export type WishName =
  | 'placement.apart'
  | 'placement.exclusive'
  | 'placement.minShare'
  | 'placement.nodes'
  | 'placement.pin'
  | 'placement.products'
  | 'placement.protected'
  | 'placement.spread'
  | 'gang'
  | 'of';

/** A wish of one model. */
export interface Wish {
  readonly workload: WorkloadName;
  readonly wish: WishName;
}

const NONE: Partial<Record<keyof PlacementWish, PlacementWish[keyof PlacementWish]>> = {
  apart: [],
  exclusive: false,
  minShareBytes: null,
  nodes: [],
  pin: null,
  products: [],
  protected: false,
  spread: null,
};

const KEY_OF = {
  'placement.apart': 'apart',
  'placement.exclusive': 'exclusive',
  'placement.minShare': 'minShareBytes',
  'placement.nodes': 'nodes',
  'placement.pin': 'pin',
  'placement.products': 'products',
  'placement.protected': 'protected',
  'placement.spread': 'spread',
} as const satisfies Partial<Record<WishName, keyof PlacementWish>>;

/** Plans made while single wishes and pairs are tried; larger fleets go straight to leaving one out after the other. */
const MOST_PLANS = 150;

/**
 * The smallest set of wishes that together keep a workload from a place; dropping any one of them gives it one. Empty
 * when all of it is placed, or when no wish is to blame but room. One or two are the smallest there is; of more it is
 * only sure that none can be left out. Throws `ERR_MODEL_UNKNOWN` (missing) and the errors of planFleet.
 */
export function findConflict(problem: FleetProblem, name: string): readonly Wish[] {
  const workload = problem.fleet.models.find((model) => model.name === name);
  if (workload === undefined) throw unknownModel(problem, name);
  const isPlaced = (wishes: readonly Wish[]): boolean =>
    planFleet(keepingOnly(problem, wishes)).unplaced.every((left) => left.workload !== name);
  const all = wishesOf(problem);
  if (isPlaced(all) || !isPlaced([])) return [];
  if (all.length + (all.length * (all.length - 1)) / 2 <= MOST_PLANS) {
    const few = smallSets(all).find((wishes) => !isPlaced(wishes));
    if (few !== undefined) return few;
  }
  let blamed = all;
  for (const wish of all) {
    const fewer = blamed.filter((other) => other !== wish);
    if (!isPlaced(fewer)) blamed = fewer;
  }
  return blamed;
}

function smallSets(wishes: readonly Wish[]): readonly (readonly Wish[])[] {
  const pairs = wishes.flatMap((one, index) =>
    wishes.slice(index + 1).map((other) => [one, other] as const),
  );
  return [...wishes.map((one) => [one] as const), ...pairs];
}

/** Every wish that says something. */
function wishesOf({ fleet }: FleetProblem): readonly Wish[] {
  return fleet.models.flatMap((workload) => {
    const { placement, gang = null, of = null } = workload;
    const named = (Object.keys(KEY_OF) as (keyof typeof KEY_OF)[]).filter((wish) => {
      const value = placement[KEY_OF[wish]];
      return Array.isArray(value) ? value.length > 0 : (value ?? false) !== false;
    });
    return [
      ...named.map((wish): Wish => ({ workload: workload.name, wish })),
      ...(gang === null ? [] : [{ workload: workload.name, wish: 'gang' } as const]),
      ...(of === null ? [] : [{ workload: workload.name, wish: 'of' } as const]),
    ];
  });
}

function keepingOnly(problem: FleetProblem, wishes: readonly Wish[]): FleetProblem {
  const kept = new Set(wishes.map(({ workload, wish }) => `${workload} ${wish}`));
  const models = problem.fleet.models.map((workload): Workload => {
    const has = (wish: WishName): boolean => kept.has(`${workload.name} ${wish}`);
    const dropped = (Object.keys(KEY_OF) as (keyof typeof KEY_OF)[])
      .filter((wish) => !has(wish))
      .map((wish) => [KEY_OF[wish], NONE[KEY_OF[wish]]] as const);
    return {
      ...workload,
      placement: { ...workload.placement, ...Object.fromEntries(dropped) },
      gang: has('gang') ? (workload.gang ?? null) : null,
      of: has('of') ? (workload.of ?? null) : null,
    };
  });
  return { ...problem, fleet: { ...problem.fleet, models } };
}
