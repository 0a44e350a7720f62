/**
 * One round of local search: takes everything off a few cards, chooses layouts for them anew and fills them again,
 * keeping what is not worse. Chance comes from the generator it is given.
 */
import type { Rng } from '@aim-gpu/core';
import { bySize, fillCard } from './layout-fill.js';
import { hollowness, unevenness } from './layout-gathering.js';
import { type InsertTaste, insertBest } from './layout-insert.js';
import type { LayoutModel, ModelOption } from './layout-model.js';
import type { LayoutState } from './layout-state.js';
import { CHANGE, compareSums, SUM_LENGTH, VIOLATION } from './layout-sums.js';

/** From here on every byte of a large fleet is packed from the backlog; below, starts from each layout do better. */
export const LARGE = 64;
/** Share of the rounds of a large fleet that place the least urgent in rising size: the largest are best left over. */
const SMALL_FIRST = 0.5;
/** Most instances without a place that one round looks at. */
const MOST_WAITING = 24;
/** Lists up to this length are sorted by insertion. */
const FEW = 24;
/** Share of the rounds with instances waiting that fill whole partitions at once: what is left over may still fit. */
const FILLS = 0.1;
/** Share of the rounds of a large fleet with instances waiting that may not scatter what is idle. */
const GATHERS = 0.8;

/**
 * Most urgent band first; within it pinned, those that run already, exclusive and large ones first, shaken by the
 * noise. `free` leaves the bands aside: who gains most from a good place chooses first.
 */
export function inOrder(
  state: LayoutState,
  indices: readonly number[],
  rng: Rng,
  how: {
    readonly noise: number;
    readonly keep: boolean;
    readonly free: boolean;
    readonly smallFirst?: boolean;
  },
): readonly number[] {
  const { noise, keep, free, smallFirst = false } = how;
  const last = smallFirst ? Math.max(...indices.map((index) => state.instance(index).band)) : -1;
  const keys = new Float64Array(indices.length);
  const bands = new Int8Array(indices.length);
  const order: number[] = [];
  for (let at = 0; at < indices.length; at += 1) {
    const instance = state.instance(indices[at] ?? 0);
    const shaken = 1 + noise * (rng.next() - 0.5);
    const { ranks, exclusive, pinCard, assignedCard, band, weight } = instance;
    if (free) {
      keys[at] = (instance.score[0] ?? 0) * shaken + (pinCard >= 0 ? 1e9 : 0);
    } else {
      keys[at] =
        (pinCard >= 0 ? 1e18 : 0) +
        (exclusive ? 1e15 : 0) * (1 - noise / 4) +
        ranks * weight * shaken * (band === last ? -1 : 1);
      // A newcomer, however urgent, may do as well elsewhere; where it does not, the round is undone.
      bands[at] = keep && assignedCard >= 0 ? -1 : band;
    }
    order.push(at);
  }
  const compare = (a: number, b: number): number =>
    (bands[a] ?? 0) - (bands[b] ?? 0) || (keys[b] ?? 0) - (keys[a] ?? 0) || a - b;
  sortInPlace(order, compare);
  return order.map((at) => indices[at] ?? 0);
}

/** Insertion sort for the few of a round, where it is fastest. */
function sortInPlace(list: number[], compare: (a: number, b: number) => number): void {
  if (list.length > FEW) {
    list.sort(compare);
    return;
  }
  for (let at = 1; at < list.length; at += 1) {
    const one = list[at] ?? 0;
    let to = at;
    for (; to > 0 && compare(list[to - 1] ?? 0, one) > 0; to -= 1) list[to] = list[to - 1] ?? 0;
    list[to] = one;
  }
}

/**
 * One round: empties a few cards, lays them out anew, fills them again, and goes back if that is worse. Takes and
 * returns the instances without a place.
 */
export function improve(
  state: LayoutState,
  waiting: readonly number[],
  rng: Rng,
  how: {
    /** How much worse the score may become. */
    readonly warmth: number;
    /** Only layouts that the cards have now. */
    readonly keepsLayouts: boolean;
  },
): readonly number[] {
  const { model } = state;
  const change = chooseCards(state, rng, how.keepsLayouts);
  const cards = state.withPartners(change.cards);
  const before = new Float64Array(SUM_LENGTH);
  state.addWorth(cards, before);
  const isLarge = model.cards.length >= LARGE;
  const gathers = waiting.length > 0 ? isLarge && rng.next() < GATHERS : model.isPack;
  const gathered = (): number =>
    waiting.length > 0 ? hollowness(state, cards) : unevenness(state, cards);
  const together = gathers ? gathered() : 0;
  const lifted = state.lift(cards);
  const candidates = sample(waiting, rng);
  const pool = candidates.length === 0 ? lifted.instances : [...lifted.instances, ...candidates];
  // Where all is placed and in time, no change of layout can be worth more than those it replaces.
  const isServed = waiting.length === 0 && (before[VIOLATION] ?? 0) === 0;
  const budgetMs = how.keepsLayouts
    ? 0
    : isServed
      ? (before[CHANGE] ?? 0)
      : Number.POSITIVE_INFINITY;
  for (const card of cards) {
    const memory = change.memory ?? state.optionOf(card).memory;
    const present = state.option[card] ?? 0;
    state.reset(card, chooseOption(model, card, present, { memory, budgetMs, rng }));
  }
  const taste: InsertTaste = {
    fit: rng.next() < 0.8 ? 1 : rng.next() - 0.5,
    preset: rng.next() < 0.4 ? 1 : 300 ** rng.next(),
  };
  const noise = rng.next() < 0.3 ? 0 : 2 * rng.next();
  const order = inOrder(state, pool, rng, {
    noise,
    keep: rng.next() < 0.4,
    free: waiting.length === 0 && rng.next() < 0.5,
    smallFirst: waiting.length > 0 && isLarge && rng.next() < SMALL_FIRST,
  });
  if (waiting.length > 0 && rng.next() < FILLS) {
    for (const card of cards) fillCard(state, card, bySize(state, pool));
  }
  let isLost = false;
  for (const index of order) {
    if (state.isPlaced(index) || insertBest(state, index, cards, taste)) continue;
    // Nobody waits who could make up for it.
    isLost = waiting.length === 0;
    if (isLost) break;
  }
  if (!isLost) {
    const after = new Float64Array(SUM_LENGTH);
    state.addWorth(cards, after);
    const difference = compareSums(after, before, how.warmth);
    // Of equals the one that fills some cards and empties others: one may become free later, or take one that waits.
    isLost = difference > 0 || (difference === 0 && gathers && gathered() < together);
  }
  if (isLost) {
    state.putBack(lifted);
    return waiting;
  }
  if (waiting.length === 0) return waiting;
  const looked = new Set(candidates);
  return [
    ...waiting.filter((index) => !looked.has(index)),
    ...pool.filter((index) => !state.isPlaced(index)),
  ];
}

interface CardChange {
  readonly cards: readonly number[];
  /** The hive's new memory mode, when that is what changes. */
  readonly memory: string | null;
}

const LARGEST_HIVE_CHANGE = 16;
/** Share of the rounds that start from the card of a few that weighs most on the objective. */
const FOCUS = 0.4;
const FOCUS_DRAWS = 8;

function chooseCards(state: LayoutState, rng: Rng, keepsLayouts: boolean): CardChange {
  const { cards, hives, hiveModes } = state.model;
  const draw = (limit: number): number => Math.floor(rng.next() * limit);
  const dice = rng.next();
  if (dice < 0.06 && !keepsLayouts) {
    const hive = draw(hives.length);
    const members = hives[hive] ?? [];
    const modes = hiveModes[hive] ?? [];
    const memory = modes[draw(modes.length)];
    if (memory !== undefined && modes.length > 1 && members.length <= LARGEST_HIVE_CHANGE)
      return { cards: members, memory };
  }
  const count = dice < 0.25 ? 1 : dice < 0.65 ? 2 : dice < 0.85 ? 3 : dice < 0.95 ? 4 : 6;
  const chosen = new Set<number>();
  if (rng.next() < FOCUS) {
    let worst = draw(cards.length);
    for (let more = 1; more < FOCUS_DRAWS; more += 1) {
      const other = draw(cards.length);
      if (state.needsChange(other) > state.needsChange(worst)) worst = other;
    }
    chosen.add(worst);
  }
  // What has most idle memory of a few drawn at random: there is most to gain, and every card has its chance.
  const isLarge = cards.length >= LARGE;
  const draws = rng.next() < (isLarge ? 0.2 : 0.5) ? 1 : isLarge ? 12 : 3;
  for (let at = chosen.size; at < count; at += 1) {
    let most = draw(cards.length);
    for (let more = 1; more < draws; more += 1) {
      const other = draw(cards.length);
      if (state.idleBytes(other) > state.idleBytes(most)) most = other;
    }
    chosen.add(most);
  }
  return { cards: [...chosen], memory: null };
}

/** A stretch of a list at a random place, as long as one round looks at. */
function sample(waiting: readonly number[], rng: Rng): readonly number[] {
  if (waiting.length <= MOST_WAITING) return waiting;
  const start = Math.floor(rng.next() * waiting.length);
  return Array.from(
    { length: MOST_WAITING },
    (_, at) => waiting[(start + at) % waiting.length] ?? 0,
  );
}

function chooseOption(
  model: LayoutModel,
  card: number,
  present: number,
  how: { readonly memory: string; readonly budgetMs: number; readonly rng: Rng },
): number {
  const { options = [], current = null } = model.cards[card] ?? {};
  const { memory, budgetMs, rng } = how;
  const dice = rng.next();
  if (dice < 0.35 && options[present]?.memory === memory) return present;
  if (dice < 0.45 && current !== null && options[current]?.memory === memory) return current;
  const isOpen = (option: ModelOption, at: number): boolean =>
    option.memory === memory && (at === current || option.changeCostMs <= budgetMs);
  let open = 0;
  for (let at = 0; at < options.length; at += 1)
    if (isOpen(options[at] as ModelOption, at)) open += 1;
  let left = Math.floor(rng.next() * open);
  for (let at = 0; at < options.length; at += 1) {
    if (!isOpen(options[at] as ModelOption, at)) continue;
    if (left === 0) return at;
    left -= 1;
  }
  return present;
}
