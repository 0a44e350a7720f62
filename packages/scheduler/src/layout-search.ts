/**
 * Layout search: which layout every card gets. Starts from the current layouts and from each uniform layout, then
 * changes one card or one hive at a time while that is worth more; stops at a bound of packings, never of time, so
 * that the same problem gives the same plan everywhere. For one card the starts are every layout: exhaustive.
 */
import { type Layout, sameLayout } from '@aim-gpu/core';
import type { CardChoice } from './card-choice.js';
import { changeCostMs } from './changes.js';
import { createLatencyModel, type LatencyModel } from './latency.js';
import { settle } from './layout-settle.js';
import { compareWorth, type Worth } from './objective.js';
import { type Packing, planPacking } from './packing.js';
import { packingWorth } from './packing-worth.js';
import { planLarge } from './plan-large.js';
import type { SearchProblem } from './problem.js';

/** The best packing found and what it is worth. */
export interface SearchResult {
  readonly packing: Packing;
  readonly worth: Worth;
  /** Packings looked at. */
  readonly evaluated: number;
}

/** Most packings looked at; 8 cards need about 200. */
const MAX_PACKINGS = 600;

/**
 * Finds layouts and places for a problem. Always returns a packing, if need be an empty one. Searching again from what
 * it leads to finds nothing better, unless the policy allows only a part of the way at once.
 */
export function searchLayouts(problem: SearchProblem): SearchResult {
  const latency = createLatencyModel(problem.calibrations);
  return settle(problem, {
    search: (state) => searchFrom(state, latency),
    better: (packing, than) => {
      const worth = packingWorth(packing, {
        objective: problem.fleet.policy.objective,
        changeCostMs: changeCostMs(problem, packing),
      });
      if (compareWorth(worth, than.worth) >= 0 || !isAllowed(problem, packing)) return null;
      return { packing, worth, evaluated: than.evaluated };
    },
  });
}

function searchFrom(problem: SearchProblem, latency: LatencyModel): SearchResult {
  // The bare layout problem knows no plug-ins: with any, packings are tried one by one however long it takes.
  const { filters = [], scores = [] } = problem.plugins;
  const plain = filters.length + scores.length === 0;
  if (plain && problem.cards.length * problem.candidates.length > LARGE_FLEET)
    return searchLarge(problem, latency);
  const search = new Search(problem, latency);
  search.startFromRunning();
  for (const start of startingLayouts(problem.cards)) search.climbFrom(start);
  return search.result();
}

// Above this many pairs of card and instance, trying packings one by one takes seconds.
const LARGE_FLEET = 400;

/** One packing by the layout search; with the layouts as they are when its changes are more than the policy allows. */
function searchLarge(problem: SearchProblem, latency: LatencyModel): SearchResult {
  const packing = planLarge(problem, latency);
  const { objective, repartition } = problem.fleet.policy;
  const worthOf = (made: Packing, costMs: number): Worth =>
    packingWorth(made, { objective, changeCostMs: costMs });
  const downtimeMs = changeCostMs(problem, packing, { downtimeOnly: true });
  if (downtimeMs <= repartition.maxDowntimeMs)
    return { packing, worth: worthOf(packing, changeCostMs(problem, packing)), evaluated: 1 };
  const fixed = problem.cards.map((card) => ({ ...card, layouts: [card.current] }));
  const still = planLarge({ ...problem, cards: fixed }, latency);
  return { packing: still, worth: worthOf(still, changeCostMs(problem, still)), evaluated: 2 };
}

class Search {
  private best: { packing: Packing; worth: Worth } | null = null;
  private readonly seen = new Map<string, { packing: Packing; worth: Worth }>();
  private readonly problem: SearchProblem;
  private readonly latency: LatencyModel;

  constructor(problem: SearchProblem, latency: LatencyModel) {
    this.problem = problem;
    this.latency = latency;
  }

  result(): SearchResult {
    const best = this.best ?? this.evaluate(this.problem.cards.map((card) => card.current));
    return { ...best, evaluated: this.seen.size };
  }

  /** The packing that changes least; what changes more has to be worth more. */
  startFromRunning(): void {
    const layouts = this.problem.cards.map((card) => card.current);
    this.consider(planPacking(this.problem, layouts, this.latency, { runningFirst: true }));
  }

  climbFrom(start: readonly Layout[]): void {
    let here = this.evaluate(start);
    for (;;) {
      let better: typeof here | null = null;
      for (const next of neighbours(this.problem.cards, here.packing.layouts)) {
        if (this.seen.size >= MAX_PACKINGS) break;
        const there = this.evaluate(next);
        if (compareWorth(there.worth, (better ?? here).worth) < 0) better = there;
      }
      if (better === null) return;
      here = better;
    }
  }

  private evaluate(layouts: readonly Layout[]): { packing: Packing; worth: Worth } {
    const key = layouts.map((layout) => `${layout.compute}${layout.memory}`).join(' ');
    const known = this.seen.get(key);
    if (known !== undefined) return known;
    const entry = this.consider(planPacking(this.problem, layouts, this.latency));
    this.seen.set(key, entry);
    return entry;
  }

  private consider(packing: Packing): { packing: Packing; worth: Worth } {
    const worth = packingWorth(packing, {
      objective: this.problem.fleet.policy.objective,
      changeCostMs: changeCostMs(this.problem, packing),
    });
    const entry = { packing, worth };
    if (
      isAllowed(this.problem, packing) &&
      (this.best === null || compareWorth(worth, this.best.worth) < 0)
    )
      this.best = entry;
    return entry;
  }
}

/** A plan whose running instances would be down longer than the policy allows is no plan. */
function isAllowed(problem: SearchProblem, packing: Packing): boolean {
  const { allow, maxDowntimeMs } = problem.fleet.policy.repartition;
  const unchanged = packing.layouts.every((layout, index) => {
    const card = problem.cards[index];
    return card !== undefined && sameLayout(layout, card.current);
  });
  if (unchanged) return true;
  return allow && changeCostMs(problem, packing, { downtimeOnly: true }) <= maxDowntimeMs;
}

function startingLayouts(cards: readonly CardChoice[]): readonly (readonly Layout[])[] {
  const uniform = new Map<string, Layout>();
  for (const layout of cards.flatMap((card) => card.layouts)) {
    uniform.set(`${layout.compute}/${layout.memory}`, layout);
  }
  return [
    cards.map((card) => card.current),
    ...[...uniform.values()].map((wanted) => everywhere(cards, wanted)),
  ];
}

/** The wanted layout on every card that has it; elsewhere the nearest one that keeps a hive on one memory mode. */
function everywhere(cards: readonly CardChoice[], wanted: Layout): readonly Layout[] {
  const hives = groupByHive(cards);
  return cards.map((card) => {
    const members = hives.get(hiveKey(card)) ?? [card];
    const possible = members.every((member) =>
      member.layouts.some((layout) => layout.memory === wanted.memory),
    );
    const memory = possible ? wanted.memory : card.current.memory;
    return (
      card.layouts.find(
        (layout) => layout.memory === memory && layout.compute === wanted.compute,
      ) ??
      card.layouts.find((layout) => layout.memory === memory) ??
      card.current
    );
  });
}

/** One card with another compute mode, or one hive with another memory mode. Twin cards are tried once. */
function* neighbours(
  cards: readonly CardChoice[],
  layouts: readonly Layout[],
): Generator<readonly Layout[]> {
  const tried = new Set<string>();
  for (const [index, card] of cards.entries()) {
    const here = layouts[index] ?? card.current;
    for (const other of card.layouts) {
      if (sameLayout(other, here) || other.memory !== here.memory) continue;
      const twin = `${card.product.name} ${hiveKey(card)} ${here.compute} ${sameLayout(card.current, here)} ${other.compute}`;
      if (tried.has(twin)) continue;
      tried.add(twin);
      yield layouts.map((layout, at) => (at === index ? other : layout));
    }
  }
  for (const [hive, members] of groupByHive(cards)) {
    const first = members[0];
    if (first === undefined || groupByHive(cards).size === 1) continue;
    const modes = new Set(first.layouts.map((layout) => layout.memory));
    for (const memory of modes) {
      const possible = members.every((member) =>
        member.layouts.some((layout) => layout.memory === memory),
      );
      if (!possible) continue;
      yield layouts.map((layout, at) => {
        const card = cards[at];
        if (card === undefined || hiveKey(card) !== hive || layout.memory === memory) return layout;
        return (
          card.layouts.find(
            (option) => option.memory === memory && option.compute === layout.compute,
          ) ??
          card.layouts.find((option) => option.memory === memory) ??
          layout
        );
      });
    }
  }
}

function hiveKey(card: CardChoice): string {
  return `${card.node}/${card.hive ?? card.id}`;
}

function groupByHive(cards: readonly CardChoice[]): ReadonlyMap<string, readonly CardChoice[]> {
  const groups = new Map<string, CardChoice[]>();
  for (const card of cards) {
    const members = groups.get(hiveKey(card));
    if (members === undefined) groups.set(hiveKey(card), [card]);
    else members.push(card);
  }
  return groups;
}
