/**
 * The layout search: several starts, then a local search that takes everything off a few cards, chooses layouts for
 * them anew and fills them again, keeping what is not worse. Bounded by rounds, so that the same problem and seed give
 * the same answer everywhere; a caller with a clock may stop it earlier and gets the best so far.
 */
import { createRng, type Rng } from '@aim-gpu/core';
import { fillCards } from './layout-fill.js';
import { type InsertTaste, insertBest } from './layout-insert.js';
import { type LayoutModel, toLayoutModel } from './layout-model.js';
import type { LayoutProblem, LayoutSolution } from './layout-problem.js';
import { improve, inOrder, LARGE } from './layout-rounds.js';
import { LayoutState } from './layout-state.js';
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

/** Rounds below which a search is not tried again. */
const WORTH_REPEATING = 50;
const CHECK_EVERY = 32;
/** Searches of a small problem. */
const TRIES = 4;
/** How much worse a score may become in one early round, relative to the whole; less and less later. */
const START_WARMTH = 0.01;

/** Chooses a layout for every card and places for the instances. Always returns a solution, if need be an empty one. */
export function solveLayouts(
  problem: LayoutProblem,
  options: SolveLayoutsOptions = {},
): SolvedLayouts {
  const model = toLayoutModel(problem);
  const limit = options.rounds ?? defaultRounds(model);
  const { best: start, present } = startingStates(model);
  // A small problem is searched several times, since one search may end in a corner; a large one has no time to.
  const tries = limit < WORTH_REPEATING || model.cards.length >= LARGE ? 1 : TRIES;
  let best = start;
  let rounds = 0;
  for (let attempt = 0; attempt < tries; attempt += 1) {
    // First without any change of layout: where that serves all, changes need not be looked at.
    const keepsLayouts = tries > 1 && present !== null && (attempt === 0 || isServed(best));
    const from = keepsLayouts ? present : start;
    const found = search(tries === 1 ? from : from.copy(), {
      rng: createRng((options.seed ?? 1) + attempt * 7919),
      limit,
      keepsLayouts,
      shouldStop: options.shouldStop,
    });
    rounds += found.rounds;
    if (compareWorth(found.state.worth(), best.worth()) < 0) best = found.state;
  }
  return { solution: best.toSolution(), worth: best.worth(), rounds };
}

/** Whether all are placed and in time without any change. */
function isServed(state: LayoutState): boolean {
  const { violations, changeCostMs } = state.worth();
  return violations === 0 && changeCostMs === 0 && state.waiting().length === 0;
}

/** Local search from a state; the best state it came by. */
function search(
  state: LayoutState,
  options: {
    readonly rng: Rng;
    readonly limit: number;
    readonly keepsLayouts: boolean;
    readonly shouldStop: (() => boolean) | undefined;
  },
): { readonly state: LayoutState; readonly rounds: number } {
  const { rng, limit, keepsLayouts } = options;
  let waiting: readonly number[] = state.waiting();
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
    waiting = improve(state, waiting, rng, {
      warmth: warmth * Math.max(0, 1 - rounds / (0.8 * limit)) ** 2,
      keepsLayouts,
    });
  }
  return { state: compareWorth(state.worth(), bestWorth) <= 0 ? state : best, rounds };
}

function defaultRounds({ cards, instances }: LayoutModel): number {
  if (cards.length === 0 || instances.length === 0) return 0;
  if (cards.length < LARGE) return Math.min(1400, 600 + 100 * cards.length);
  return Math.min(500 * cards.length, 50_000);
}

/**
 * The best of: layouts as they are, each layout everywhere, and filling from the backlog. Of small problems also the
 * best that keeps the layouts as they are, where every card has one.
 */
function startingStates(model: LayoutModel): {
  readonly best: LayoutState;
  readonly present: LayoutState | null;
} {
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
  if (model.instances.some(({ assignedCard }) => assignedCard >= 0))
    starts.push(fromRunning(model, current, tastes[0] as InsertTaste));
  const uniform = cards.length >= LARGE ? [] : [current, ...uniformStarts(model)];
  for (const options of uniform) {
    for (const taste of tastes) {
      const state = new LayoutState(model, options);
      insertAll(state, cards, taste);
      starts.push(state);
    }
  }
  const betterOf = (one: LayoutState, other: LayoutState): LayoutState =>
    compareWorth(other.worth(), one.worth()) < 0 ? other : one;
  const still = starts.filter((state) =>
    model.cards.every((card, at) => state.option[at] === card.current),
  );
  return {
    best: starts.reduce(betterOf),
    present: still.length === 0 ? null : still.reduce(betterOf),
  };
}

/** What runs stays exactly where it is; then all others, most urgent first. */
function fromRunning(
  model: LayoutModel,
  current: readonly number[],
  taste: InsertTaste,
): LayoutState {
  const state = new LayoutState(model, current);
  for (const [index, instance] of model.instances.entries()) {
    const { assignedCard, assignedPartitions, ranks } = instance;
    if (assignedCard < 0 || ranks > 1) continue;
    const [partition = 0] = assignedPartitions;
    const option = state.optionOf(assignedCard);
    const seat = assignedCard * state.seatsPerCard + partition;
    if (model.cards[assignedCard]?.current === null || partition >= option.partitions) continue;
    if (instance.pinPartition !== -1 && instance.pinPartition !== partition) continue;
    if (state.permitsCard(index, assignedCard) && state.permitsSeat(instance, option, seat))
      state.add(index, [seat]);
  }
  insertAll(state, [...model.cards.keys()], taste);
  return state;
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
  for (const index of inOrder(state, state.waiting(), rng, { noise: 0, keep: true, free: false }))
    insertBest(state, index, cards, taste);
}
