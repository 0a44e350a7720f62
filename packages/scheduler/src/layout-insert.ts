/**
 * Insertion: finds an instance a place among some cards whose layouts are chosen, the best one by violation, change
 * cost, preset and fit. The inner loop of the layout search.
 */
import { type ModelInstance, moveCostMs } from './layout-model.js';
import type { LayoutState, Spot } from './layout-state.js';

/** How the places of an insertion are ranked after violation and change cost. */
export interface InsertTaste {
  /** 1: tightest partition first; -1: emptiest first; 0: the first that is permitted. */
  readonly fit: number;
  /** How much the preset's score counts beside it. */
  readonly preset: number;
}

const VIOLATION_WEIGHT = 1e6;
const MOVE_WEIGHT = 1e-2;

/** Puts an instance on the best place among the cards; false when there is none. */
export function insertBest(
  state: LayoutState,
  index: number,
  cards: readonly number[],
  taste: InsertTaste,
): boolean {
  const instance = state.instance(index);
  const spots =
    instance.ranks === 1
      ? bestSpot(state, index, instance, cards, taste)
      : bestGroup(state, index, instance, cards, taste);
  if (spots === null) return false;
  state.add(index, spots);
  return true;
}

function bestSpot(
  state: LayoutState,
  index: number,
  instance: ModelInstance,
  cards: readonly number[],
  taste: InsertTaste,
): readonly Spot[] | null {
  let best: Spot | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const card of cards) {
    const { partitions, kind } = state.optionOf(card);
    if (instance.allowed[kind] !== true) continue;
    let emptySeen = false;
    for (let partition = 0; partition < partitions; partition += 1) {
      const empty = state.seats[card]?.[partition]?.count === 0;
      // Empty partitions of a card are alike, but for who is pinned to one or runs on one.
      const special = instance.pinCard >= 0 || instance.assignedCard === card;
      if (empty && emptySeen && !special) continue;
      emptySeen ||= empty;
      if (!state.permits(index, card, partition)) continue;
      const rank = rankOf(state, instance, card, partition, taste);
      if (rank >= least) continue;
      least = rank;
      best = { card, partition };
    }
  }
  return best === null ? null : [best];
}

function rankOf(
  state: LayoutState,
  instance: ModelInstance,
  card: number,
  partition: number,
  taste: InsertTaste,
): number {
  const option = state.optionOf(card);
  const seat = state.seats[card]?.[partition];
  const left = 1 - ((seat?.usedBytes ?? 0) + instance.bytes) / option.usableBytes;
  const { model } = state;
  const move = moveCostMs(model, instance, card, state.option[card] ?? 0, partition);
  const latency = model.problem.preset === 'latency' ? (instance.score[option.kind] ?? 0) : 0;
  const opens =
    model.problem.preset === 'pack' && (state.seats[card] ?? []).every(({ count }) => count === 0)
      ? 1
      : 0;
  return (
    VIOLATION_WEIGHT * (instance.violation[option.kind] ?? 0) +
    MOVE_WEIGHT * move +
    taste.preset * (latency + opens) +
    taste.fit * left
  );
}

/** Partitions of one card, or whole cards of one hive. */
function bestGroup(
  state: LayoutState,
  index: number,
  instance: ModelInstance,
  cards: readonly number[],
  taste: InsertTaste,
): readonly Spot[] | null {
  const groups = new Map<string, Spot[]>();
  for (const card of cards) {
    const { partitions } = state.optionOf(card);
    // Whole cards pool over their hive, partitions over their card.
    const key = partitions === 1 ? `hive ${state.model.cards[card]?.hive}` : `card ${card}`;
    for (let partition = 0; partition < partitions; partition += 1) {
      if (!state.permits(index, card, partition)) continue;
      const list = groups.get(key);
      if (list === undefined) groups.set(key, [{ card, partition }]);
      else list.push({ card, partition });
    }
  }
  let best: readonly Spot[] | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const list of groups.values()) {
    if (list.length < instance.ranks) continue;
    const ranked = list
      .map((spot) => ({ spot, rank: rankOf(state, instance, spot.card, spot.partition, taste) }))
      .sort((a, b) => a.rank - b.rank)
      .slice(0, instance.ranks);
    const rank = ranked.reduce((sum, entry) => sum + entry.rank, 0);
    if (rank >= least) continue;
    least = rank;
    best = ranked.map(({ spot }) => spot);
  }
  return best;
}
