/**
 * Packing: given a layout for every card, put the instances on partitions one after the other, filter → score → pick.
 * Pure; leaves out what does not fit and remembers why. Which layouts to try is layout-search.ts's business.
 */
import { type Bytes, bytes, type InstanceId, type Layout, type Reason } from '@aim-gpu/core';
import { type CardChoice, type Slot, toSlots } from './card-choice.js';
import { type Occupancy, rejectionOf } from './filters.js';
import { toFleetDistribution } from './fleet-demand.js';
import type { DemandDistribution } from './fragmentation.js';
import { type LatencyModel, type PlacedLatency, slowdownOf } from './latency.js';
import { placementScore } from './place-score.js';
import { pluginRejection, pluginScore } from './plugin.js';
import {
  bandRank,
  type Candidate,
  isAssignedTo,
  type Resident,
  type SearchProblem,
} from './problem.js';

/** An instance that found no place, with what stood against each partition. */
export interface Leftover {
  readonly candidate: Candidate;
  readonly rejections: readonly { readonly slot: Slot; readonly reason: Reason }[];
}

/** The outcome of a packing. */
export interface Packing {
  /** The layout of each card, in the problem's order of cards. */
  readonly layouts: readonly Layout[];
  readonly slots: readonly Slot[];
  readonly residents: readonly Resident[];
  readonly leftovers: readonly Leftover[];
  readonly latencies: ReadonlyMap<InstanceId, PlacedLatency>;
}

const distributions = new WeakMap<SearchProblem, DemandDistribution>();

/** The distribution of a problem's demands, made once for all packings tried. */
function distributionOf(problem: SearchProblem): DemandDistribution {
  const known = distributions.get(problem);
  if (known !== undefined) return known;
  const made = toFleetDistribution(problem.candidates, problem.cards);
  distributions.set(problem, made);
  return made;
}

/**
 * Packs every candidate of the problem into the given layouts. With `runningFirst`, all that runs keeps its place before
 * any newcomer, however urgent, chooses: the packing that changes least.
 */
export function planPacking(
  problem: SearchProblem,
  layouts: readonly Layout[],
  latency: LatencyModel,
  options: { readonly runningFirst?: boolean } = {},
): Packing {
  const slots = problem.cards.flatMap((card, index) =>
    toSlots(card, layouts[index] ?? card.current, problem.fleet),
  );
  const progress = new Progress(problem, slots, latency);
  const leftovers: Leftover[] = [];
  for (const candidate of inOrder(problem.candidates, options.runningFirst ?? false)) {
    const rejections = progress.place(candidate);
    if (rejections !== null) leftovers.push({ candidate, rejections });
  }
  return {
    layouts,
    slots,
    residents: progress.residents,
    leftovers,
    latencies: progress.latencies(),
  };
}

/** Within a band, or over all of them, whoever runs already keeps its place before newcomers choose. */
function inOrder(candidates: readonly Candidate[], runningFirst: boolean): readonly Candidate[] {
  const running = (a: Candidate, b: Candidate): number =>
    Number(b.assigned !== null) - Number(a.assigned !== null);
  return candidates.toSorted(
    (a, b) =>
      Number(b.isProtected) - Number(a.isProtected) ||
      (runningFirst ? running(a, b) : 0) ||
      bandRank(a.workload.band) - bandRank(b.workload.band) ||
      running(a, b),
  );
}

/** A packing in progress: who is where, and the search for the next one's place. */
class Progress implements Occupancy {
  readonly residents: Resident[] = [];
  private readonly bySlot = new Map<Slot, Resident[]>();
  private readonly byCard = new Map<CardChoice, Resident[]>();
  private readonly problem: SearchProblem;
  private readonly slots: readonly Slot[];
  private readonly latency: LatencyModel;
  private readonly slotsByCard = new Map<CardChoice, Slot[]>();
  private readonly distribution: DemandDistribution;

  constructor(problem: SearchProblem, slots: readonly Slot[], latency: LatencyModel) {
    this.problem = problem;
    this.slots = slots;
    this.latency = latency;
    this.distribution = distributionOf(problem);
    for (const slot of slots) append(this.slotsByCard, slot.card, slot);
  }

  usedBytes(slot: Slot): number {
    return (this.bySlot.get(slot) ?? []).reduce((sum, resident) => sum + resident.memoryBytes, 0);
  }

  onSlot(slot: Slot): readonly Candidate[] {
    return (this.bySlot.get(slot) ?? []).map((resident) => resident.candidate);
  }

  onCard(slot: Slot): readonly Candidate[] {
    return (this.byCard.get(slot.card) ?? []).map((resident) => resident.candidate);
  }

  latencies(): ReadonlyMap<InstanceId, PlacedLatency> {
    const all = new Map<InstanceId, PlacedLatency>();
    for (const residents of this.byCard.values()) {
      for (const [instance, predicted] of this.latency.predictCard(residents))
        all.set(instance, predicted);
    }
    return all;
  }

  /** Places a candidate; null when it worked, else what stood against every slot. */
  place(candidate: Candidate): Leftover['rejections'] | null {
    const rejections: { readonly slot: Slot; readonly reason: Reason }[] = [];
    const open = this.slots.filter((slot) => {
      const reason =
        rejectionOf(candidate, slot, this) ??
        pluginRejection(this.problem.plugins, candidate, slot, this);
      if (reason !== null) rejections.push({ slot, reason });
      return reason === null;
    });
    const options = this.slotSets(candidate, open)
      .map((slots) => ({ slots, score: this.scoreOf(candidate, slots) }))
      .toSorted((a, b) => a.score - b.score);
    for (const { slots } of options) {
      const resident: Resident = {
        candidate,
        slots,
        memoryBytes: this.memoryFor(candidate, slots),
      };
      const harmed = this.harmedBy(resident);
      if (harmed === null) {
        this.add(resident);
        return null;
      }
      for (const slot of slots) rejections.push({ slot, reason: harmed });
    }
    if (open.length > 0 && options.length === 0) {
      const message = `needs ${candidate.demand.ranks} partitions of one card or whole cards of one hive at once`;
      for (const slot of open) rejections.push({ slot, reason: { code: 'ranks', message } });
    }
    return rejections;
  }

  /** Sets of slots that could take all ranks; of equal empty partitions only the first of a card is looked at. */
  private slotSets(candidate: Candidate, open: readonly Slot[]): readonly (readonly Slot[])[] {
    const { ranks } = candidate.demand;
    if (ranks === 1) return this.withoutTwins(candidate, open).map((slot) => [slot]);
    return [...slotGroups(open).values()].flatMap((group) => {
      if (group.length < ranks) return [];
      const emptiest = group.toSorted((a, b) => this.usedBytes(a) - this.usedBytes(b));
      // In the order of its ranks.
      const now = (candidate.assigned?.shares ?? []).flatMap((share) =>
        group.filter(
          ({ card, index }) =>
            card.node === share.node && card.id === share.card && index === share.partition,
        ),
      );
      return [...(now.length === ranks ? [now] : []), emptiest.slice(0, ranks)];
    });
  }

  private withoutTwins(candidate: Candidate, open: readonly Slot[]): readonly Slot[] {
    const seen = new Set<string>();
    return open.filter((slot) => {
      if (this.onSlot(slot).length > 0 || isAssignedTo(candidate, slot)) return true;
      const key = `${slot.card.node} ${slot.card.id} ${slot.memoryBytes}`;
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    });
  }

  private scoreOf(candidate: Candidate, slots: readonly Slot[]): number {
    const own = pluginScore(this.problem.plugins, candidate, slots, this);
    return (
      own +
      placementScore({
        candidate,
        slots,
        occupancy: this,
        objective: this.problem.fleet.policy.objective,
        cardSlots: (slot) => this.slotsByCard.get(slot.card) ?? [],
        distribution: this.distribution,
        ownTpotMs: () => this.latency.aloneTpotMs(candidate, slots),
      })
    );
  }

  private memoryFor(candidate: Candidate, slots: readonly Slot[]): Bytes {
    if (!candidate.workload.placement.exclusive) return candidate.shareBytes;
    // An exclusive instance has nobody to leave memory for: all of the partition becomes its KV cache.
    return bytes(Math.min(...slots.map((slot) => slot.usableBytes)));
  }

  /**
   * The first critical or interactive instance of the cards that shares a partition and would be slowed down beyond the
   * policy. A newcomer on another partition of the card may be the last straw, so all of the card are looked at.
   */
  private harmedBy(resident: Resident): Reason | null {
    const limit = this.problem.fleet.policy.slowdown;
    for (const card of new Set(resident.slots.map((slot) => slot.card))) {
      const here = unique([...(this.byCard.get(card) ?? []), resident]);
      const endangered = here.filter(
        (one) => isUrgent(one) && here.some((other) => sharePartition(one, other)),
      );
      if (endangered.length === 0) continue;
      const predicted = this.latency.predictCard(here);
      for (const { candidate } of endangered) {
        const figures = predicted.get(candidate.instance);
        if (figures === undefined || slowdownOf(figures) <= limit) continue;
        const percent = (slowdownOf(figures) * 100).toFixed(0);
        return {
          code: 'slowdown',
          message: `${candidate.instance} would be ${percent} % slower there than alone, more than the policy's ${(limit * 100).toFixed(0)} %`,
        };
      }
    }
    return null;
  }

  private add(resident: Resident): void {
    this.residents.push(resident);
    for (const slot of resident.slots) append(this.bySlot, slot, resident);
    for (const card of new Set(resident.slots.map((slot) => slot.card)))
      append(this.byCard, card, resident);
  }
}

/** Partitions that may form one tensor-parallel group: those of one card, or whole cards of one hive. */
function slotGroups(open: readonly Slot[]): ReadonlyMap<string, readonly Slot[]> {
  const groups = new Map<string, Slot[]>();
  for (const slot of open) {
    const whole = slot.layout.compute === 'SPX';
    const key = whole
      ? `hive ${slot.card.node} ${slot.card.hive ?? slot.card.id}`
      : `card ${slot.card.node} ${slot.card.id}`;
    append(groups, key, slot);
  }
  return groups;
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function unique<T>(items: readonly T[]): readonly T[] {
  return [...new Set(items)];
}

const indexes = new WeakMap<Packing, ReadonlyMap<Slot, readonly Resident[]>>();

/** Who is on each slot of a packing; made once for each packing. */
export function residentsBySlot(packing: Packing): ReadonlyMap<Slot, readonly Resident[]> {
  const known = indexes.get(packing);
  if (known !== undefined) return known;
  const index = new Map<Slot, Resident[]>();
  for (const resident of packing.residents)
    for (const slot of resident.slots) append(index, slot, resident);
  indexes.set(packing, index);
  return index;
}

function isUrgent({ candidate }: Resident): boolean {
  return bandRank(candidate.workload.band) <= bandRank('interactive');
}

function sharePartition(one: Resident, other: Resident): boolean {
  return one !== other && one.slots.some((slot) => other.slots.includes(slot));
}
