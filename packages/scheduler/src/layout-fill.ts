/**
 * Filling cards one after the other from the whole backlog: for each card the layout is taken whose partitions can be
 * filled best with what is left, each partition by the subset that leaves least of it unused. The start of the search
 * for fleets where every byte counts.
 */
import { emptySeat, join, type ModelOption, mayJoin, type Seat } from './layout-model.js';
import type { LayoutState } from './layout-state.js';

/** A filled partition counts as full when no more than this share of it is left. */
const FULL = 0.0005;
/** Subsets looked at for one partition. */
const MAX_STEPS = 400;
/** Instances looked at for one partition, the unsuitable ones included. */
const MAX_SCANNED = 4000;
/** Alternatives looked at for each further instance of a subset. */
const BRANCHES = 3;

interface CardFill {
  readonly option: number;
  readonly taken: readonly { readonly index: number; readonly spots: readonly number[] }[];
  readonly filled: number;
}

/** Instances in falling size, those of several ranks apart: what may be put on cards. */
export interface Backlog {
  readonly groups: readonly number[];
  readonly singles: readonly number[];
}

/** The instances of a list that have no place and no pin, largest first. */
export function bySize(state: LayoutState, indices: readonly number[]): Backlog {
  const open = indices
    .filter((index) => !state.isPlaced(index) && state.instance(index).pinCard < 0)
    .sort((a, b) => state.instance(b).bytes - state.instance(a).bytes || a - b);
  return {
    groups: open.filter((index) => state.instance(index).ranks > 1),
    singles: open.filter((index) => state.instance(index).ranks === 1),
  };
}

/** Fills empty cards of a state in their order; only layouts of each card's present memory mode are looked at. */
export function fillCards(state: LayoutState, cards: readonly number[]): void {
  let left = bySize(state, state.waiting());
  for (const card of cards) {
    if (left.groups.length + left.singles.length === 0) return;
    if (state.onCardCount[card] !== 0 || !fillCard(state, card, left)) continue;
    const open = (index: number): boolean => !state.isPlaced(index);
    left = { groups: left.groups.filter(open), singles: left.singles.filter(open) };
  }
}

/** Fills one empty card from a backlog, in the layout that it fills best; false when nothing fits. */
export function fillCard(state: LayoutState, card: number, left: Backlog): boolean {
  const fill = bestFill(state, card, left);
  if (fill === null) return false;
  state.reset(card, fill.option);
  for (const { index, spots } of fill.taken)
    state.add(
      index,
      spots.map((partition) => card * state.seatsPerCard + partition),
    );
  return true;
}

function bestFill(state: LayoutState, card: number, left: Backlog): CardFill | null {
  const { options = [] } = state.model.cards[card] ?? {};
  const { memory } = state.optionOf(card);
  let best: CardFill | null = null;
  const seen = new Set<number>();
  for (const [at, option] of options.entries()) {
    if (option.memory !== memory || seen.has(option.partitions)) continue;
    seen.add(option.partitions);
    const fill = fillOption(state, at, option, left);
    // Of equal fills the one with fewer partitions leaves more room to move.
    if (best === null || fill.filled > best.filled + 1e-9) best = fill;
  }
  return best !== null && best.taken.length > 0 ? best : null;
}

function fillOption(state: LayoutState, at: number, option: ModelOption, left: Backlog): CardFill {
  const used = new Set<number>();
  const taken: { index: number; spots: readonly number[] }[] = [];
  const seats = Array.from({ length: option.partitions }, emptySeat);
  const budget = state.model.neighbourBudget;
  // Groups of ranks first: they need several partitions at once.
  for (const index of left.groups) {
    const instance = state.instance(index);
    if (state.isPlaced(index) || instance.ranks > option.partitions) continue;
    if (instance.bytes < option.usableBytes / 2 || !suits(state, index, option)) continue;
    const open = seats.flatMap((seat, partition) =>
      mayJoin(seat, instance, option, budget) ? [partition] : [],
    );
    if (open.length < instance.ranks) continue;
    const spots = open.slice(0, instance.ranks);
    for (const partition of spots) join(seats[partition] as Seat, instance, option, budget);
    taken.push({ index, spots });
    used.add(index);
  }
  for (const [partition, seat] of seats.entries()) {
    for (const index of bestSubset(state, option, seat, left.singles, used)) {
      join(seat, state.instance(index), option, budget);
      taken.push({ index, spots: [partition] });
      used.add(index);
    }
  }
  const filled =
    seats.reduce((sum, { usedBytes }) => sum + usedBytes, 0) /
    (option.usableBytes * option.partitions);
  const exclusives = seats.filter(({ exclusive }) => exclusive).length / option.partitions;
  // An exclusive instance owns its partition whatever it leaves unused.
  return { option: at, taken, filled: Math.max(filled, exclusives * 0.97) };
}

/** Whether the instance may be on this kind of partition without missing its target and has no wish about company. */
function suits(state: LayoutState, index: number, option: ModelOption): boolean {
  const instance = state.instance(index);
  return (
    instance.allowed[option.kind] === true &&
    (instance.violation[option.kind] ?? 0) === 0 &&
    instance.apart === null &&
    instance.cards === null
  );
}

/** The subset of what is left that fills a partition best, largest first, by a bounded depth-first search. */
function bestSubset(
  state: LayoutState,
  option: ModelOption,
  start: Seat,
  left: readonly number[],
  used: ReadonlySet<number>,
): readonly number[] {
  const budget = state.model.neighbourBudget;
  const chosen: number[] = [];
  let best: readonly number[] = [];
  let most = start.usedBytes;
  let steps = 0;
  let scanned = 0;
  const full = option.usableBytes * (1 - FULL);
  const descend = (seat: Seat, from: number): boolean => {
    if (seat.usedBytes > most) {
      most = seat.usedBytes;
      best = [...chosen];
    }
    if (most >= full || seat.exclusive) return true;
    let branches = 0;
    let lastBytes = -1;
    const room = option.usableBytes - seat.usedBytes;
    for (let at = firstWithin(state, left, room, from); at < left.length; at += 1) {
      const index = left[at] ?? 0;
      scanned += 1;
      if (scanned > MAX_SCANNED) return true;
      if (used.has(index) || state.isPlaced(index)) continue;
      const instance = state.instance(index);
      if (instance.bytes === lastBytes || !suits(state, index, option)) continue;
      if (!mayJoin(seat, instance, option, budget)) continue;
      lastBytes = instance.bytes;
      steps += 1;
      if (steps > MAX_STEPS) return true;
      const next = { ...seat };
      join(next, instance, option, budget);
      chosen.push(index);
      const done = descend(next, at + 1);
      chosen.pop();
      if (done) return true;
      branches += 1;
      if (branches >= BRANCHES) return false;
    }
    return false;
  };
  descend({ ...start }, 0);
  return best;
}

/** Position of the first instance, from largest to smallest, that is not larger than the room. */
function firstWithin(
  state: LayoutState,
  left: readonly number[],
  room: number,
  from: number,
): number {
  let low = from;
  let high = left.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (state.instance(left[middle] ?? 0).bytes > room) low = middle + 1;
    else high = middle;
  }
  return low;
}
