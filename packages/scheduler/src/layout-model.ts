/**
 * A layout problem compiled for speed: instances and kinds of partition by number, figures in arrays, and the one rule
 * of who may share a partition. Owns what is permitted; search and worth are other files.
 */
import { BANDS } from '@aim-gpu/core';
import { DEFAULT_ASSUMPTIONS } from '@aim-gpu/performance';
import { usefulModes } from './layout-options.js';
import type { LayoutOption, LayoutProblem } from './layout-problem.js';

/** Cost of stopping and starting an engine elsewhere: about a minute (vLLM 0.9 on MI300X without download: 62 s). */
const MOVE_MS = 60_000;

/** What an engine that is always busy adds to the steps of another on its partition, as the speed model assumes it. */
const NEIGHBOUR_COST = DEFAULT_ASSUMPTIONS.samePartition.value;
/** Ranks of the bands whose slowdown the policy limits: critical and interactive. */
const LAST_URGENT = 1;

/** An option of a card with its kind of partition. */
export interface ModelOption {
  readonly kind: number;
  readonly partitions: number;
  readonly usableBytes: number;
  readonly speed: number;
  /** `NPS1`: what all cards of the hive must agree on. */
  readonly memory: string;
  /** Milliseconds, once for the change and once more for each instance it stops. */
  readonly changeCostMs: number;
}

/** A card in numbers. */
export interface ModelCard {
  readonly hive: number;
  readonly options: readonly ModelOption[];
  readonly current: number | null;
}

/** An instance in numbers. */
export interface ModelInstance {
  readonly band: number;
  readonly value: number;
  readonly ranks: number;
  readonly bytes: number;
  /** How early it chooses among those of its band: bytes, more when its value is more. */
  readonly weight: number;
  readonly exclusive: boolean;
  readonly urgent: boolean;
  /** By kind of partition: whether it may be there, and what it is there. */
  readonly allowed: readonly boolean[];
  readonly busy: readonly number[];
  readonly violation: readonly number[];
  readonly score: readonly number[];
  readonly apart: ReadonlySet<number> | null;
  /** Cards it may be on; null when any. */
  readonly cards: ReadonlySet<number> | null;
  readonly pinCard: number;
  readonly pinPartition: number;
  readonly assignedCard: number;
  readonly assignedPartitions: readonly number[];
}

/** A compiled problem. */
export interface LayoutModel {
  readonly problem: LayoutProblem;
  readonly cards: readonly ModelCard[];
  readonly instances: readonly ModelInstance[];
  /** Cards of each hive. */
  readonly hives: readonly (readonly number[])[];
  /** Memory modes that each hive may be in to advantage. */
  readonly hiveModes: readonly (readonly string[])[];
  readonly kinds: number;
  /** Most partitions that a card can have, and most ranks of an instance; at least 1. */
  readonly seatsPerCard: number;
  readonly maxRanks: number;
  /** Whether the last level counts cards in use; else it is latency. */
  readonly isPack: boolean;
  /** Busy time that neighbours of an urgent instance may have together. */
  readonly neighbourBudget: number;
}

/** Compiles a problem. */
export function toLayoutModel(problem: LayoutProblem): LayoutModel {
  const kindOf = new Map<string, number>();
  const kinds: { product: string; option: LayoutOption }[] = [];
  const hiveIndex = new Map<string, number>();
  const hives: number[][] = [];
  const cardIndex = new Map(problem.cards.map(({ id }, index) => [id, index]));
  const residents = new Map<string, number>();
  for (const { assigned } of problem.instances) {
    if (assigned !== null) residents.set(assigned.card, (residents.get(assigned.card) ?? 0) + 1);
  }
  const cards = problem.cards.map((card, index): ModelCard => {
    let hive = hiveIndex.get(card.hive);
    if (hive === undefined) {
      hive = hives.push([]) - 1;
      hiveIndex.set(card.hive, hive);
    }
    hives[hive]?.push(index);
    const victims = residents.get(card.id) ?? 0;
    const options = card.options.map((option): ModelOption => {
      const key = `${card.product} ${option.layout} ${option.usableBytes} ${option.speed}`;
      let kind = kindOf.get(key);
      if (kind === undefined) {
        kind = kinds.push({ product: card.product, option }) - 1;
        kindOf.set(key, kind);
      }
      return {
        kind,
        partitions: option.partitions,
        usableBytes: option.usableBytes,
        speed: option.speed,
        memory: option.layout.split('/')[1] ?? '',
        changeCostMs: option.changeMs * (1 + victims),
      };
    });
    return { hive, options, current: card.current };
  });
  const instanceIndex = new Map(problem.instances.map(({ id }, index) => [id, index]));
  const apart = toApart(problem, instanceIndex);
  const instances = problem.instances.map((instance, index): ModelInstance => {
    const band = BANDS.indexOf(instance.band);
    const measured = ({ product, option }: (typeof kinds)[0]): { busy: number; tpotMs: number } =>
      instance.measured?.[`${product} ${option.layout}`] ?? {
        busy: instance.busy / option.speed,
        tpotMs: instance.tpotMs / option.speed,
      };
    const tpots = kinds.map((kind) => measured(kind).tpotMs);
    const target = instance.targetTpotMs;
    return {
      band,
      value: instance.value,
      ranks: instance.ranks,
      bytes: instance.bytes,
      weight: instance.bytes * Math.sqrt(instance.value),
      exclusive: instance.exclusive,
      urgent: band <= LAST_URGENT,
      allowed: kinds.map(
        ({ product, option }) =>
          instance.bytes <= option.usableBytes &&
          (instance.products.length === 0 || instance.products.includes(product)),
      ),
      busy: kinds.map((kind) => Math.min(1, measured(kind).busy)),
      violation: tpots.map((tpot) => (target === null ? 0 : Math.max(0, tpot / target - 1))),
      score: tpots.map((tpot) => tpot / (target ?? 50) / 2 ** band),
      apart: apart[index] ?? null,
      cards:
        instance.cards === undefined
          ? null
          : new Set(instance.cards.map((id) => cardIndex.get(id) ?? -2)),
      pinCard: instance.pin === null ? -1 : (cardIndex.get(instance.pin.card) ?? -2),
      pinPartition: instance.pin?.partition ?? -1,
      assignedCard: instance.assigned === null ? -1 : (cardIndex.get(instance.assigned.card) ?? -1),
      assignedPartitions: instance.assigned?.partitions ?? [],
    };
  });
  return {
    problem,
    cards,
    instances,
    hives,
    hiveModes: hives.map((members) => usefulModes(cards, members)),
    kinds: kinds.length,
    seatsPerCard: kinds.reduce((most, { option }) => Math.max(most, option.partitions), 1),
    maxRanks: instances.reduce((most, { ranks }) => Math.max(most, ranks), 1),
    isPack: problem.preset === 'pack',
    neighbourBudget: problem.slowdown / NEIGHBOUR_COST,
  };
}

function toApart(
  problem: LayoutProblem,
  index: ReadonlyMap<string, number>,
): readonly (ReadonlySet<number> | null)[] {
  const sets = problem.instances.map(() => new Set<number>());
  for (const [own, { apart }] of problem.instances.entries()) {
    for (const id of apart) {
      const other = index.get(id);
      if (other === undefined || other === own) continue;
      sets[own]?.add(other);
      sets[other]?.add(own);
    }
  }
  return sets.map((set) => (set.size === 0 ? null : set));
}

/** One partition being filled. */
export interface Seat {
  usedBytes: number;
  busy: number;
  /** Most that `busy` may be: 1, or less for the sake of an urgent instance here. */
  limit: number;
  count: number;
  exclusive: boolean;
}

/** An empty partition. */
export function emptySeat(): Seat {
  return { usedBytes: 0, busy: 0, limit: 1, count: 0, exclusive: false };
}

/** Sums of busy shares carry rounding; a budget met to the last digit is met. */
export const BUSY_TOLERANCE = 1e-9;

/** Whether an instance may join a partition, by memory, exclusiveness, load and slowdown. */
export function mayJoin(
  seat: Seat,
  instance: ModelInstance,
  option: ModelOption,
  neighbourBudget: number,
): boolean {
  if (seat.usedBytes + instance.bytes > option.usableBytes) return false;
  if (seat.count > 0 && (seat.exclusive || instance.exclusive)) return false;
  const own = instance.busy[option.kind] ?? 1;
  const limit = instance.urgent ? Math.min(seat.limit, neighbourBudget + own) : seat.limit;
  return seat.busy + own <= limit + BUSY_TOLERANCE;
}

/** Puts an instance on a partition. */
export function join(
  seat: Seat,
  instance: ModelInstance,
  option: ModelOption,
  neighbourBudget: number,
): void {
  const own = instance.busy[option.kind] ?? 1;
  seat.usedBytes += instance.bytes;
  seat.busy += own;
  if (instance.urgent) seat.limit = Math.min(seat.limit, neighbourBudget + own);
  seat.count += 1;
  seat.exclusive ||= instance.exclusive;
}

/** What it costs in milliseconds that an instance is not where it runs now. */
export function moveCostMs(
  model: LayoutModel,
  instance: ModelInstance,
  card: number,
  option: number,
  partition: number,
): number {
  if (instance.assignedCard < 0) return 0;
  const stays =
    instance.assignedCard === card &&
    model.cards[card]?.current === option &&
    instance.assignedPartitions.includes(partition);
  return stays ? 0 : MOVE_MS / instance.ranks;
}
