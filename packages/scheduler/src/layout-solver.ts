/**
 * The layout search: several starts, then a local search that takes everything off a few cards, chooses layouts for
 * them anew and fills them again, keeping what is not worse. Bounded by rounds, so that the same problem and seed give
 * the same answer everywhere; a caller with a clock may stop it earlier and gets the best so far.
 */
import { createRng, type Rng } from '@aim-gpu/core';
import { bySize, fillCard, fillCards } from './layout-fill.js';
import { type InsertTaste, insertBest } from './layout-insert.js';
import { type LayoutModel, toLayoutModel } from './layout-model.js';
import type { LayoutProblem, LayoutSolution } from './layout-problem.js';
import { compareSums, LayoutState, SUM_LENGTH } from './layout-state.js';
import { compareWorth, type Worth } from './objective.js';

/** How long to search. */
export interface SolveLayoutsOptions {
  /** Seed of the search's choices; 1 when left out. */
  readonly seed?: number;
  /** Rounds of local search; by the size of the problem when left out. */
  readonly rounds?: number;
  /** Asked every few rounds; the best so far is returned when true. */
  readonly shouldStop?: () => boolean;
}

/** The best solution found. */
export interface SolvedLayouts {
  readonly solution: LayoutSolution;
  readonly worth: Worth;
  /** Rounds of local search made. */
  readonly rounds: number;
}

// From here on every byte of a large fleet is packed from the backlog; below, starts from each layout do better.
const LARGE = 64;
const SMALL = 6;
/** Rounds below which a search is not tried again. */
const WORTH_REPEATING = 50;
const CHECK_EVERY = 32;
/** How much worse a score may become in one early round, relative to the whole; less and less later. */
const START_WARMTH = 0.01;
/** Most instances without a place that one round looks at. */
const MOST_WAITING = 24;

/** Chooses a layout for every card and places for the instances. Always returns a solution, if need be an empty one. */
export function solveLayouts(
  problem: LayoutProblem,
  options: SolveLayoutsOptions = {},
): SolvedLayouts {
  const model = toLayoutModel(problem);
  const limit = options.rounds ?? defaultRounds(model);
  // A small problem is searched from several seeds, since one may end in a corner; a large one has no time to.
  const tries = model.cards.length <= SMALL && limit >= WORTH_REPEATING ? 3 : 1;
  const start = startingState(model);
  let best: LayoutState | null = null;
  let rounds = 0;
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const rng = createRng((options.seed ?? 1) + attempt * 7919);
    const found = search(attempt === tries - 1 ? start : start.copy(), rng, {
      limit,
      shouldStop: options.shouldStop,
    });
    rounds += found.rounds;
    if (best === null || compareWorth(found.state.worth(), best.worth()) < 0) best = found.state;
  }
  const state = best ?? start;
  return { solution: state.toSolution(), worth: state.worth(), rounds };
}

/** Local search from a state; the best state it came by. */
function search(
  state: LayoutState,
  rng: Rng,
  options: { readonly limit: number; readonly shouldStop: (() => boolean) | undefined },
): { readonly state: LayoutState; readonly rounds: number } {
  const { limit } = options;
  let waiting: readonly number[] = state.spots.flatMap((spots, index) =>
    spots === null ? [index] : [],
  );
  let best = state.copy();
  let bestWorth = state.worth();
  const cools = state.model.problem.preset === 'latency' && state.model.cards.length < LARGE;
  const warmth = cools ? START_WARMTH * bestWorth.presetScore : 0;
  let rounds = 0;
  for (; rounds < limit; rounds += 1) {
    if (rounds % CHECK_EVERY === 0) {
      if (options.shouldStop?.() === true) break;
      // A large fleet with everybody placed is good enough after a short polish.
      const { length } = state.model.cards;
      if (length >= LARGE && waiting.length === 0 && rounds >= 2 * length) break;
      if (cools && compareWorth(state.worth(), bestWorth) < 0) {
        best = state.copy();
        bestWorth = state.worth();
      }
    }
    waiting = improve(state, waiting, rng, warmth * Math.max(0, 1 - rounds / (0.8 * limit)) ** 2);
  }
  return { state: compareWorth(state.worth(), bestWorth) <= 0 ? state : best, rounds };
}

function defaultRounds({ cards, instances }: LayoutModel): number {
  if (cards.length === 0 || instances.length === 0) return 0;
  if (cards.length < LARGE) return Math.min(2500, 200 + 150 * cards.length);
  return Math.min(100 * cards.length, 24_000);
}

/** The best of: layouts as they are, each layout everywhere, and filling from the backlog. */
function startingState(model: LayoutModel): LayoutState {
  const cards = [...model.cards.keys()];
  const current = model.cards.map(({ current: at }) => at ?? 0);
  const starts: LayoutState[] = [];
  const tastes: readonly InsertTaste[] = [
    { fit: 1, preset: 1 },
    { fit: 0.01, preset: 1 },
  ];
  const filled = new LayoutState(model, current);
  placePinned(filled, cards);
  fillCards(filled, cards);
  insertAll(filled, cards, tastes[0] as InsertTaste);
  starts.push(filled);
  const uniform = cards.length >= LARGE ? [] : [current, ...uniformStarts(model)];
  for (const options of uniform) {
    for (const taste of tastes) {
      const state = new LayoutState(model, options);
      insertAll(state, cards, taste);
      starts.push(state);
    }
  }
  return starts.reduce((best, state) =>
    compareWorth(state.worth(), best.worth()) < 0 ? state : best,
  );
}

function placePinned(state: LayoutState, cards: readonly number[]): void {
  for (const [index, { pinCard }] of state.model.instances.entries()) {
    if (pinCard >= 0) insertBest(state, index, cards, { fit: 1, preset: 1 });
  }
}

/** For each memory mode and number of partitions: every card as near to it as its options allow. */
function uniformStarts(model: LayoutModel): readonly (readonly number[])[] {
  const wanted = new Map<string, { memory: string; partitions: number }>();
  for (const { memory, partitions } of model.cards.flatMap((card) => card.options))
    wanted.set(`${memory} ${partitions}`, { memory, partitions });
  return [...wanted.values()].map(({ memory, partitions }) => {
    const fitting = model.hives.map((cards) =>
      cards.every((card) => model.cards[card]?.options.some((option) => option.memory === memory)),
    );
    return model.cards.map(({ options, current, hive }) => {
      const now = options[current ?? 0]?.memory;
      const mode = fitting[hive] === true ? memory : now;
      const exact = options.findIndex((o) => o.memory === mode && o.partitions === partitions);
      if (exact >= 0) return exact;
      return Math.max(
        0,
        options.findIndex((option) => option.memory === mode),
      );
    });
  });
}

function insertAll(state: LayoutState, cards: readonly number[], taste: InsertTaste): void {
  const rng = createRng(1);
  const waiting = state.spots.flatMap((spots, index) => (spots === null ? [index] : []));
  for (const index of inOrder(state, waiting, rng, { noise: 0, keep: true, free: false }))
    insertBest(state, index, cards, taste);
}

/**
 * Most urgent band first; within it pinned, those that run already, exclusive and large ones first, shaken by the
 * noise. `free` leaves the bands aside: who gains most from a good place chooses first.
 */
function inOrder(
  state: LayoutState,
  indices: readonly number[],
  rng: Rng,
  how: { readonly noise: number; readonly keep: boolean; readonly free: boolean },
): readonly number[] {
  return indices
    .map((index) => {
      const instance = state.instance(index);
      const shaken = 1 + how.noise * (rng.next() - 0.5);
      if (how.free) {
        const gain = (instance.score[0] ?? 0) * shaken;
        return { index, band: 0, key: gain + (instance.pinCard >= 0 ? 1e9 : 0) };
      }
      const { bytes, ranks, exclusive, pinCard, assignedCard, band, value } = instance;
      const key =
        (pinCard >= 0 ? 1e18 : 0) +
        (exclusive ? 1e15 : 0) * (1 - how.noise / 4) +
        bytes * ranks * shaken * Math.sqrt(value);
      // A newcomer, however urgent, may do as well elsewhere; where it does not, the round is undone.
      return { index, band: how.keep && assignedCard >= 0 ? -1 : band, key };
    })
    .sort((a, b) => a.band - b.band || b.key - a.key || a.index - b.index)
    .map(({ index }) => index);
}

/**
 * One round: empties a few cards, lays them out anew, fills them again, and goes back if that is worse. Takes and
 * returns the instances without a place.
 */
function improve(
  state: LayoutState,
  waiting: readonly number[],
  rng: Rng,
  warmth: number,
): readonly number[] {
  const { model } = state;
  const change = chooseCards(state, rng);
  const cards = withPartners(state, change.cards);
  const before = new Float64Array(SUM_LENGTH);
  state.addWorth(cards, before);
  const together = state.unevenness(cards);
  const removed = [...new Set(cards.flatMap((card) => state.onCard(card)))];
  const candidates = sample(waiting, rng);
  const pool = [...removed, ...candidates];
  const snapshot = state.snapshot(cards, pool);
  for (const card of cards) {
    const memory = change.memory ?? state.optionOf(card).memory;
    state.reset(card, chooseOption(model, card, state.option[card] ?? 0, memory, rng));
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
  });
  if (rng.next() < (waiting.length > 0 ? 0.3 : 0.05)) {
    // Packs to the last byte; what that leaves over may still fit somewhere.
    for (const card of cards) fillCard(state, card, bySize(state, pool));
  }
  for (const index of order)
    if (state.spots[index] === null) insertBest(state, index, cards, taste);
  const after = new Float64Array(SUM_LENGTH);
  state.addWorth(cards, after);
  const difference = compareSums(after, before, warmth);
  const packs = model.problem.preset === 'pack' && waiting.length === 0;
  // Of equals that use as many cards, the one that fills some and empties others: one may become free later.
  if (difference > 0 || (difference === 0 && packs && state.unevenness(cards) < together)) {
    state.restore(snapshot);
    return waiting;
  }
  const looked = new Set(candidates);
  return [
    ...waiting.filter((index) => !looked.has(index)),
    ...pool.filter((index) => state.spots[index] === null),
  ];
}

interface CardChange {
  readonly cards: readonly number[];
  /** The hive's new memory mode, when that is what changes. */
  readonly memory: string | null;
}

const LARGEST_HIVE_CHANGE = 16;

function chooseCards(state: LayoutState, rng: Rng): CardChange {
  const { cards, hives } = state.model;
  const draw = (limit: number): number => Math.floor(rng.next() * limit);
  const dice = rng.next();
  if (dice < 0.06) {
    const members = hives[draw(hives.length)] ?? [];
    const modes = [
      ...new Set(members.flatMap((card) => cards[card]?.options.map(({ memory }) => memory) ?? [])),
    ].filter((memory) =>
      members.every((card) => cards[card]?.options.some((option) => option.memory === memory)),
    );
    const memory = modes[draw(modes.length)];
    if (memory !== undefined && members.length <= LARGEST_HIVE_CHANGE)
      return { cards: members, memory };
  }
  const count = dice < 0.25 ? 1 : dice < 0.65 ? 2 : dice < 0.85 ? 3 : dice < 0.95 ? 4 : 6;
  const chosen = new Set<number>();
  // What has most idle memory of a few drawn at random: there is most to gain, and every card has its chance.
  const draws = rng.next() < 0.5 ? 1 : 3;
  for (let at = 0; at < count; at += 1) {
    let most = draw(cards.length);
    for (let more = 1; more < draws; more += 1) {
      const other = draw(cards.length);
      if (state.idleBytes(other) > state.idleBytes(most)) most = other;
    }
    chosen.add(most);
  }
  return { cards: [...chosen], memory: null };
}

/** The cards with all others that an instance on them also has. */
function withPartners(state: LayoutState, cards: readonly number[]): readonly number[] {
  const all = new Set(cards);
  for (const card of all) {
    for (const index of state.onCard(card))
      for (const spot of state.spots[index] ?? []) all.add(spot.card);
  }
  return [...all];
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
  memory: string,
  rng: Rng,
): number {
  const { options = [], current = null } = model.cards[card] ?? {};
  const dice = rng.next();
  if (dice < 0.35 && options[present]?.memory === memory) return present;
  if (dice < 0.45 && current !== null && options[current]?.memory === memory) return current;
  const open = options.flatMap((option, at) => (option.memory === memory ? [at] : []));
  return open[Math.floor(rng.next() * open.length)] ?? present;
}
