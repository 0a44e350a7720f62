/**
 * Fragmentation: how much of what is idle nobody who is likely to come can use, and how a placement changes that.
 * Knows groups of equal units (the partitions of a card, the GPUs of a host) and a distribution of demands; knows
 * neither fleets nor layouts. The score built on it is fragmentation-score.ts.
 *
 * Generalises FGD (Weng et al., "Beware of Fragmentation", USENIX ATC 2023): its GPU becomes any unit, its CPU any
 * resource beside the units.
 */

import { GRAINS, toUnitWorth, type UnitWorth } from './unit-worth.js';

/** What a demand takes, as far as fragmentation is concerned. */
export interface UnitDemand {
  /** Taken of each unit; all in the one unit of the group's capacity (bytes, milli-GPU). */
  readonly amount: number;
  /** Units of one group it takes at once; 0 when it takes of the side resource only. */
  readonly units: number;
  /** Taken of the group's side resource (CPU of the host); 0 where there is none. */
  readonly side: number;
  /** Kinds of unit it can use; null when any. */
  readonly kinds: readonly string[] | null;
}

/** A demand and how often it comes, relative to the others. */
export interface TypicalDemand extends UnitDemand {
  readonly weight: number;
}

/** Equal units that demands are put on, and what is left of them. */
export interface UnitGroup {
  /** What the units are: a GPU model, or a product in a layout. */
  readonly kind: string;
  /** Left of each unit. */
  readonly free: readonly number[];
  /** Left of the side resource; `Infinity` where none counts. */
  readonly sideFree: number;
  /** What a unit holds when it is empty; without it the group is worth nothing in particular. */
  readonly unitCapacity?: number;
}

/** Demands that come, and what there is to serve them. */
export interface DemandDistributionOptions {
  readonly demands: readonly TypicalDemand[];
  /** Capacity by kind of unit, in the demands' unit. */
  readonly capacityByKind: ReadonlyMap<string, number>;
  /** Share of the demands that the typical ones cover, most frequent first; 0.95 as in FGD. */
  readonly coverage?: number;
}

/** What is likely to come, ready to be asked. Made once, asked for every candidate. */
export interface DemandDistribution {
  /** What of the group's idle capacity a typical demand cannot use, on average over the demands. */
  fragmentation(group: UnitGroup): number;
  /**
   * What the group's idle capacity can serve of the demands when every unit is filled as well as their mix allows: an
   * empty unit counts whole, a part only as much as what fits in it saves elsewhere.
   */
  worth(group: UnitGroup): number;
  /** Side resource asked for each unit of capacity asked, over all demands. */
  readonly sidePerAmount: number;
  /** How much scarcer a kind of unit is than capacity at large: 1 when demand bound to it is in proportion. */
  scarcity(kind: string): number;
}

interface Need {
  readonly amount: number;
  readonly units: number;
  readonly kinds: readonly string[] | null;
  /** Side demands in rising order, and the probability of needing at most that much. */
  readonly sides: readonly { readonly side: number; readonly upTo: number }[];
}

/** Prepares a distribution of demands. */
export function createDemandDistribution(options: DemandDistributionOptions): DemandDistribution {
  const typical = toTypical(options.demands, options.coverage ?? 0.95);
  const needs = toNeeds(typical);
  const needsOf = new Map<string, readonly Need[]>();
  const usableBySide = new Map<string, Map<number, Float64Array>>();
  const worths = new Map<string, Map<number, UnitWorth>>();
  const scarcities = toScarcities(options.demands, options.capacityByKind);
  const { side, amount } = totals(options.demands);

  const permitted = (kind: string): readonly Need[] => {
    const known = needsOf.get(kind);
    if (known !== undefined) return known;
    const list = needs.filter((need) => need.kinds === null || need.kinds.includes(kind));
    needsOf.set(kind, list);
    return list;
  };
  const probabilities = (kind: string, sideFree: number): Float64Array => {
    let bySide = usableBySide.get(kind);
    if (bySide === undefined) {
      bySide = new Map();
      usableBySide.set(kind, bySide);
    }
    const known = bySide.get(sideFree);
    if (known !== undefined) return known;
    const list = Float64Array.from(permitted(kind), (need) => probabilityWithin(need, sideFree));
    bySide.set(sideFree, list);
    return list;
  };
  const worthOf = (kind: string, capacity: number): UnitWorth => {
    let byCapacity = worths.get(kind);
    if (byCapacity === undefined) {
      byCapacity = new Map();
      worths.set(kind, byCapacity);
    }
    const known = byCapacity.get(capacity);
    if (known !== undefined) return known;
    const made = toUnitWorth(
      options.demands
        .filter(({ kinds }) => kinds === null || kinds.includes(kind))
        .map((demand) => ({
          share: demand.amount / capacity,
          weight: demand.weight * demand.units,
        })),
    );
    byCapacity.set(capacity, made);
    return made;
  };
  return {
    sidePerAmount: amount > 0 ? side / amount : 0,
    scarcity: (kind) => scarcities.get(kind) ?? 0,
    worth: ({ kind, free, unitCapacity }) => {
      if (unitCapacity === undefined || unitCapacity <= 0) return 0;
      const worth = worthOf(kind, unitCapacity);
      let sum = 0;
      for (const left of free) {
        const grains = Math.floor((left / unitCapacity) * GRAINS + 1e-9);
        sum += worth[Math.min(GRAINS, Math.max(0, grains))] ?? 0;
      }
      return sum * unitCapacity;
    },
    fragmentation: ({ kind, free, sideFree }) => {
      const list = permitted(kind);
      const chance = probabilities(kind, sideFree);
      let idle = 0;
      for (const left of free) idle += left;
      let usable = 0;
      for (let index = 0; index < list.length; index += 1) {
        const probability = chance[index] ?? 0;
        const need = list[index];
        if (probability === 0 || need === undefined) continue;
        usable += probability * usableBy(need, free);
      }
      return idle - usable;
    },
  };
}

/** Idle capacity in units that are large enough, or nothing when too few are. */
function usableBy(need: Need, free: readonly number[]): number {
  let units = 0;
  let amount = 0;
  for (const left of free) {
    if (left < need.amount) continue;
    units += 1;
    amount += left;
  }
  return units >= need.units ? amount : 0;
}

function probabilityWithin({ sides }: Need, sideFree: number): number {
  let probability = 0;
  for (const { side, upTo } of sides) {
    if (side > sideFree) break;
    probability = upTo;
  }
  return probability;
}

/** The most frequent demands up to the coverage, their weights normalised to 1. */
function toTypical(demands: readonly TypicalDemand[], coverage: number): readonly TypicalDemand[] {
  const all = demands.reduce((sum, demand) => sum + demand.weight, 0);
  const chosen: TypicalDemand[] = [];
  let covered = 0;
  for (const demand of demands.toSorted((a, b) => b.weight - a.weight)) {
    if (covered >= coverage * all) break;
    chosen.push(demand);
    covered += demand.weight;
  }
  return chosen.map((demand) => ({ ...demand, weight: demand.weight / covered }));
}

/** Demands that differ in the side resource only become one need; those of no units can use no idle capacity. */
function toNeeds(typical: readonly TypicalDemand[]): readonly Need[] {
  const groups = new Map<string, TypicalDemand[]>();
  for (const demand of typical) {
    if (demand.units === 0) continue;
    const key = `${demand.amount} ${demand.units} ${demand.kinds?.join('|') ?? ''}`;
    const list = groups.get(key);
    if (list === undefined) groups.set(key, [demand]);
    else list.push(demand);
  }
  return [...groups.values()].flatMap((list) => {
    const [first] = list;
    if (first === undefined) return [];
    let upTo = 0;
    const sides = list
      .toSorted((a, b) => a.side - b.side)
      .map(({ side, weight }) => {
        upTo += weight;
        return { side, upTo };
      });
    return [{ amount: first.amount, units: first.units, kinds: first.kinds, sides }];
  });
}

function totals(demands: readonly TypicalDemand[]): { side: number; amount: number } {
  let side = 0;
  let amount = 0;
  for (const demand of demands) {
    side += demand.weight * demand.side;
    amount += demand.weight * demand.amount * demand.units;
  }
  return { side, amount };
}

/** Demand bound to each kind over the kind's share of capacity; a choice of kinds is split by their capacity. */
function toScarcities(
  demands: readonly TypicalDemand[],
  capacityByKind: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  const capacity = [...capacityByKind.values()].reduce((sum, value) => sum + value, 0);
  const { amount } = totals(demands);
  const bound = new Map<string, number>();
  for (const demand of demands) {
    if (demand.kinds === null) continue;
    const asked = demand.weight * demand.amount * demand.units;
    const choice = demand.kinds.reduce((sum, kind) => sum + (capacityByKind.get(kind) ?? 0), 0);
    if (choice === 0) continue;
    for (const kind of demand.kinds) {
      const part = (asked * (capacityByKind.get(kind) ?? 0)) / choice;
      bound.set(kind, (bound.get(kind) ?? 0) + part);
    }
  }
  return new Map(
    [...capacityByKind].map(([kind, own]) => {
      const share = own / Math.max(1, capacity);
      const part = (bound.get(kind) ?? 0) / Math.max(Number.MIN_VALUE, amount);
      return [kind, share > 0 ? part / share : 0] as const;
    }),
  );
}
