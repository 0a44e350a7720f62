/**
 * Columns of the partition-by-partition relaxation: every permitted set of instances on one kind of partition is a
 * column. Owns which cards are alike, what a set costs on a level, and the search for sets by their prices. Solves
 * nothing; layout-bound.ts does.
 */
import {
  BUSY_TOLERANCE,
  type LayoutModel,
  type ModelInstance,
  type ModelOption,
  moveCostMs,
} from './layout-model.js';
import { usefulOptions } from './layout-options.js';

/** Levels that are held while one is bounded: what the plan reaches on each before it. */
export interface HeldLevels {
  /** By band; null from the first band that is not held. */
  readonly placed: readonly (number | null)[];
  readonly violations: number | null;
  readonly changeCostMs: number | null;
}

/** The level to bound. */
export type BoundedLevel = { readonly band: number } | 'violations' | 'change' | 'score';

/** Cards that differ in nothing that matters, by the first of them. */
export interface CardClass {
  readonly card: number;
  count: number;
}

/** The partitions of an option of alike cards. */
export interface PartitionClass {
  readonly owner: CardClass;
  readonly at: number;
  readonly option: ModelOption;
}

/** What an instance on a kind of partition adds to the level and to the levels held before it. */
export interface ColumnCost {
  readonly own: number;
  readonly violation: number;
  readonly move: number;
}

/** Cards that differ in nothing that matters, together. */
export function toCardClasses(layout: LayoutModel): readonly CardClass[] {
  const special = new Set<number>();
  for (const { pinCard, assignedCard, cards } of layout.instances) {
    special.add(pinCard);
    special.add(assignedCard);
    if (cards !== null && cards.size < layout.cards.length)
      for (const card of layout.cards.keys()) special.add(card);
  }
  const classes = new Map<string, CardClass>();
  for (const [card, { options, current }] of layout.cards.entries()) {
    const alike = options.map(({ kind, changeCostMs }) => `${kind}:${changeCostMs}`).join(' ');
    const useful = [...usefulOptions(layout, card)].join(',');
    const key = special.has(card) ? `card ${card}` : `${alike} ${current} ${useful}`;
    const found = classes.get(key);
    if (found === undefined) classes.set(key, { card, count: 1 });
    else found.count += 1;
  }
  return [...classes.values()];
}

/** Whether an instance may be on a partition of the class, whoever else is there. */
export function suits(
  layout: LayoutModel,
  { owner, option }: PartitionClass,
  instance: ModelInstance,
): boolean {
  if (instance.allowed[option.kind] !== true) return false;
  if (instance.pinCard !== -1 && instance.pinCard !== owner.card) return false;
  if (instance.cards !== null && !instance.cards.has(owner.card)) return false;
  if (instance.ranks === 1) return true;
  if (option.partitions > 1) return option.partitions >= instance.ranks;
  const hive = layout.hives[layout.cards[owner.card]?.hive ?? 0] ?? [];
  return hive.length >= instance.ranks;
}

/** What an instance costs on a partition of the class. */
export function columnCost(
  layout: LayoutModel,
  level: BoundedLevel,
  { owner, at, option }: PartitionClass,
  instance: ModelInstance,
): ColumnCost {
  const violation = (instance.violation[option.kind] ?? 0) / instance.ranks;
  const stays = instance.assignedCard === owner.card && layout.cards[owner.card]?.current === at;
  const move = stays ? 0 : moveCostMs(layout, instance, -1, -1, -1);
  const isScored = layout.problem.preset === 'latency';
  const score = isScored ? (instance.score[option.kind] ?? 0) / instance.ranks : 0;
  const own =
    level === 'violations' ? violation : level === 'change' ? move : level === 'score' ? score : 0;
  return { own, violation, move };
}

/** An instance that may be in a set, with what it brings at the present prices. */
export interface PricedItem {
  readonly index: number;
  readonly instance: ModelInstance;
  readonly profit: number;
  /** Without cost of its own: a set that has room for it can be left out in favour of the larger one. */
  readonly free: boolean;
}

/** How to search for sets. */
interface SetSearch {
  /** Sets that bring at least this are wanted. */
  readonly least: number;
  /** Raise what is wanted to the best found so far. */
  readonly climb: boolean;
  /** Sets looked at before the search gives up. */
  readonly limit: number;
  found(set: readonly number[], profit: number): void;
}

/** Finds sets for one partition by depth-first search; false when it gave up before it had seen all. */
export function searchSets(
  layout: LayoutModel,
  option: ModelOption,
  items: readonly PricedItem[],
  search: SetSearch,
): boolean {
  const sorted = [...items].sort(
    (a, b) => b.profit / b.instance.bytes - a.profit / a.instance.bytes || a.index - b.index,
  );
  const count = sorted.length;
  const size = Float64Array.from(sorted, ({ instance }) => instance.bytes);
  const gain = Float64Array.from(sorted, ({ profit }) => profit);
  const busy = Float64Array.from(sorted, ({ instance }) => instance.busy[option.kind] ?? 1);
  const chosen: number[] = [];
  let { least } = search;
  let looked = 0;
  /** Most that what comes from `from` on can still bring: the knapsack with its last piece cut. */
  const most = (from: number, room: number, load: number): number => {
    let left = room;
    let sum = 0;
    for (let at = from; at < count; at += 1) {
      const bytes = size[at] ?? 0;
      const profit = gain[at] ?? 0;
      if (profit <= 0) break;
      if (bytes > room || (busy[at] ?? 0) > load) continue;
      if (bytes >= left) return sum + (profit * left) / bytes;
      left -= bytes;
      sum += profit;
    }
    return sum;
  };
  const descend = (
    from: number,
    room: number,
    load: number,
    limit: number,
    all: number,
  ): boolean => {
    looked += 1;
    if (looked > search.limit) return false;
    const alone = chosen.length > 0 && sorted[chosen[0] ?? 0]?.instance.exclusive === true;
    if (all >= least && chosen.length > 0) {
      if (search.climb) least = all + 1e-9;
      search.found(
        chosen.map((at) => sorted[at]?.index ?? 0),
        all,
      );
    }
    if (alone) return true;
    for (let at = from; at < count; at += 1) {
      if (all + most(at, room, limit - load + BUSY_TOLERANCE) < least) return true;
      const item = sorted[at];
      if (item === undefined) return true;
      const { instance } = item;
      const own = busy[at] ?? 1;
      if (instance.bytes > room || (instance.exclusive && chosen.length > 0)) continue;
      const next = instance.urgent ? Math.min(limit, layout.neighbourBudget + own) : limit;
      if (load + own > next + BUSY_TOLERANCE) continue;
      if (instance.apart !== null && chosen.some((one) => isApart(instance, sorted[one]))) continue;
      chosen.push(at);
      const goes = descend(at + 1, room - instance.bytes, load + own, next, all + item.profit);
      chosen.pop();
      if (!goes) return false;
    }
    return true;
  };
  return descend(0, option.usableBytes, 0, 1, 0);
}

function isApart(instance: ModelInstance, other: PricedItem | undefined): boolean {
  return other !== undefined && instance.apart?.has(other.index) === true;
}

/** Whether an item without cost could join a set: then the larger set does as well. */
export function hasRoomFor(
  layout: LayoutModel,
  option: ModelOption,
  items: readonly PricedItem[],
  set: readonly number[],
): boolean {
  let room = option.usableBytes;
  let load = 0;
  let limit = 1;
  for (const index of set) {
    const instance = layout.instances[index];
    if (instance === undefined) continue;
    const own = instance.busy[option.kind] ?? 1;
    room -= instance.bytes;
    load += own;
    if (instance.urgent) limit = Math.min(limit, layout.neighbourBudget + own);
    if (instance.exclusive) return false;
  }
  return items.some(({ free, index, instance }) => {
    if (!free || instance.exclusive || instance.bytes > room || set.includes(index)) return false;
    const own = instance.busy[option.kind] ?? 1;
    const next = instance.urgent ? Math.min(limit, layout.neighbourBudget + own) : limit;
    if (load + own > next + BUSY_TOLERANCE) return false;
    return instance.apart === null || !set.some((other) => instance.apart?.has(other));
  });
}
