/**
 * Insertion: finds an instance a place among some cards whose layouts are chosen, the best one by violation, change
 * cost, preset and fit. The inner loop of the layout search.
 */
import { type ModelInstance, type ModelOption, moveCostMs } from './layout-model.js';
import type { LayoutState } from './layout-state.js';

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
  if (instance.ranks > 1) {
    const seats = bestGroup(state, index, instance, cards, taste);
    if (seats === null) return false;
    state.add(index, seats);
    return true;
  }
  const seat = bestSeat(state, index, instance, cards, taste);
  if (seat < 0) return false;
  state.add(index, [seat]);
  return true;
}

function bestSeat(
  state: LayoutState,
  index: number,
  instance: ModelInstance,
  cards: readonly number[],
  taste: InsertTaste,
): number {
  let best = -1;
  let least = Number.POSITIVE_INFINITY;
  for (const card of cards) {
    if (!state.permitsCard(index, card)) continue;
    const option = state.optionOf(card);
    // Empty partitions of a card are alike, but for who is pinned to one or runs on one.
    const special = instance.pinCard >= 0 || instance.assignedCard === card;
    const base = baseRank(state, instance, card, option, taste);
    const from = card * state.seatsPerCard;
    let emptySeen = false;
    for (let partition = 0; partition < option.partitions; partition += 1) {
      const seat = from + partition;
      if (state.count[seat] === 0 && !special) {
        if (emptySeen) continue;
        emptySeen = true;
      }
      if (instance.pinPartition !== -1 && instance.pinPartition !== partition) continue;
      if (!state.permitsSeat(instance, option, seat)) continue;
      const rank = base + seatRank(state, instance, card, option, partition, taste);
      if (rank >= least) continue;
      least = rank;
      best = seat;
    }
  }
  return best;
}

/** What all partitions of a card have in common. */
function baseRank(
  state: LayoutState,
  instance: ModelInstance,
  card: number,
  option: ModelOption,
  taste: InsertTaste,
): number {
  const preset = state.model.isPack
    ? state.onCardCount[card] === 0
      ? 1
      : 0
    : (instance.score[option.kind] ?? 0);
  return VIOLATION_WEIGHT * (instance.violation[option.kind] ?? 0) + taste.preset * preset;
}

function seatRank(
  state: LayoutState,
  instance: ModelInstance,
  card: number,
  option: ModelOption,
  partition: number,
  taste: InsertTaste,
): number {
  const used = state.usedBytes[card * state.seatsPerCard + partition] ?? 0;
  const fit = taste.fit * (1 - (used + instance.bytes) / option.usableBytes);
  if (instance.assignedCard < 0) return fit;
  const { model } = state;
  return fit + MOVE_WEIGHT * moveCostMs(model, instance, card, state.option[card] ?? 0, partition);
}

/** Partitions of one card, or whole cards of one hive. */
function bestGroup(
  state: LayoutState,
  index: number,
  instance: ModelInstance,
  cards: readonly number[],
  taste: InsertTaste,
): readonly number[] | null {
  const groups = new Map<number, { seat: number; rank: number }[]>();
  for (const card of cards) {
    if (!state.permitsCard(index, card)) continue;
    const option = state.optionOf(card);
    // Whole cards pool over their hive, partitions over their card.
    const key = option.partitions === 1 ? -1 - (state.model.cards[card]?.hive ?? 0) : card;
    const base = baseRank(state, instance, card, option, taste);
    for (let partition = 0; partition < option.partitions; partition += 1) {
      if (instance.pinPartition !== -1 && instance.pinPartition !== partition) continue;
      const seat = card * state.seatsPerCard + partition;
      if (!state.permitsSeat(instance, option, seat)) continue;
      const rank = base + seatRank(state, instance, card, option, partition, taste);
      const list = groups.get(key);
      if (list === undefined) groups.set(key, [{ seat, rank }]);
      else list.push({ seat, rank });
    }
  }
  let best: readonly number[] | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const list of groups.values()) {
    if (list.length < instance.ranks) continue;
    const chosen = list.sort((a, b) => a.rank - b.rank).slice(0, instance.ranks);
    const rank = chosen.reduce((sum, entry) => sum + entry.rank, 0);
    if (rank >= least) continue;
    least = rank;
    best = chosen.map(({ seat }) => seat);
  }
  return best;
}
