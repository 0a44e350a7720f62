/**
 * The layout search against the exact solver on small generated problems, and its invariants on all of them.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { generateLayoutProblem } from '../bench/layouts/generator.js';
import { generatePlanted } from '../bench/layouts/planted.js';
import {
  compareWithBest,
  compareWorth,
  type LayoutProblem,
  type LayoutSolution,
  layoutProblemsJsonSchema,
  parseLayoutProblems,
  solveLayouts,
  solveLayoutsExactly,
} from '../src/index.js';

/** Throws where a solution breaks a rule; written against the problem's words, not the solver's model. */
function check(problem: LayoutProblem, { layouts, places }: LayoutSolution): void {
  const cards = new Map(problem.cards.map((card, index) => [card.id, { card, index }]));
  const instances = new Map(problem.instances.map((instance) => [instance.id, instance]));
  const modes = new Map<string, Set<string>>();
  for (const [index, card] of problem.cards.entries()) {
    const memory = card.options[layouts[index] ?? -1]?.layout.split('/')[1] ?? '?';
    modes.set(card.hive, (modes.get(card.hive) ?? new Set()).add(memory));
  }
  for (const set of modes.values()) expect(set.size).toBe(1);
  const used = new Map<string, { bytes: number; busy: number; who: string[] }>();
  const onCard = new Map<string, string[]>();
  expect(new Set(places.map(({ instance }) => instance)).size).toBe(places.length);
  for (const { instance, shares } of places) {
    const wanted = instances.get(instance);
    if (wanted === undefined) throw new Error(`unknown ${instance}`);
    expect(shares).toHaveLength(wanted.ranks);
    expect(new Set(shares.map(({ card, partition }) => `${card}/${partition}`)).size).toBe(
      wanted.ranks,
    );
    const homes = new Set(shares.map(({ card }) => card));
    if (homes.size > 1) {
      const hives = new Set([...homes].map((home) => cards.get(home)?.card.hive));
      expect(hives.size).toBe(1);
    }
    for (const { card, partition } of shares) {
      const home = cards.get(card);
      const option = home?.card.options[layouts[home.index] ?? -1];
      expect(partition).toBeLessThan(option?.partitions ?? 0);
      if (homes.size > 1) expect(option?.partitions).toBe(1);
      const key = `${card}/${partition}`;
      const entry = used.get(key) ?? { bytes: 0, busy: 0, who: [] };
      entry.bytes += wanted.bytes;
      entry.busy += Math.min(1, wanted.busy / (option?.speed ?? 1));
      entry.who.push(instance);
      used.set(key, entry);
      expect(entry.bytes).toBeLessThanOrEqual(option?.usableBytes ?? 0);
      expect(entry.busy).toBeLessThanOrEqual(1 + 1e-6);
    }
    for (const home of homes) onCard.set(home, [...(onCard.get(home) ?? []), instance]);
  }
  for (const { who } of used.values()) {
    if (who.some((id) => instances.get(id)?.exclusive === true)) expect(who).toHaveLength(1);
  }
  for (const list of onCard.values()) {
    for (const id of list)
      expect(list.filter((other) => instances.get(id)?.apart.includes(other) === true)).toEqual([]);
  }
}

describe('the layout search', () => {
  it('keeps every rule on the committed problems', { timeout: 60_000 }, () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const problem = generateLayoutProblem(seed);
      check(problem, solveLayouts(problem, { rounds: 200 }).solution);
    }
  });

  it('is repeatable, and stops when told to with a solution', () => {
    const problem = generateLayoutProblem(9);
    expect(solveLayouts(problem)).toEqual(solveLayouts(problem));
    const stopped = solveLayouts(problem, { shouldStop: () => true });
    expect(stopped.rounds).toBe(0);
    check(problem, stopped.solution);
  });

  it('places nearly all of a planted fleet', { timeout: 60_000 }, () => {
    const { problem, planted } = generatePlanted(100, 1);
    const { solution } = solveLayouts(problem, { rounds: 2000 });
    check(problem, solution);
    expect(solution.places.length / planted).toBeGreaterThan(0.97);
  });

  it('has an answer without cards and without instances', () => {
    const problem = generateLayoutProblem(1);
    expect(solveLayouts({ ...problem, cards: [] }).solution.places).toEqual([]);
    expect(solveLayouts({ ...problem, instances: [] }).worth.placedByBand).toEqual([0, 0, 0, 0, 0]);
  });
});

describe('the exact solver', () => {
  const SMALL = [1, 5, 11, 18];
  it.each(SMALL)(
    'proves seed %i, and the search is not better',
    { timeout: 60_000 },
    async (seed) => {
      const problem = generateLayoutProblem(seed);
      const exact = await solveLayoutsExactly(problem);
      expect(exact.proved).toBe(true);
      expect(exact.provedLevels).toBe(8);
      if (exact.solution === null) throw new Error('no solution');
      check(problem, exact.solution);
      const { worth } = solveLayouts(problem);
      expect(compareWorth(exact.bound, worth)).toBeLessThanOrEqual(0);
      expect(compareWithBest(worth, exact.bound)).toEqual({ level: null, percent: 100 });
    },
  );

  it('starts from a solution and agrees with a run without one', { timeout: 60_000 }, async () => {
    const problem = generateLayoutProblem(5);
    const start = solveLayouts(problem);
    const [warm, cold] = [
      await solveLayoutsExactly(problem, { start }),
      await solveLayoutsExactly(problem),
    ];
    expect(compareWorth(warm.bound, cold.bound)).toBe(0);
  });

  it('gives a bound when there is no time', async () => {
    const problem = generateLayoutProblem(24);
    const exact = await solveLayoutsExactly(problem, {
      timeLimitS: 0,
      start: solveLayouts(problem),
    });
    expect(compareWorth(exact.bound, solveLayouts(problem).worth)).toBeLessThanOrEqual(0);
  });
});

describe('files of layout problems', () => {
  it('are read back as written', () => {
    const problems = [generateLayoutProblem(2), generateLayoutProblem(3)];
    expect(parseLayoutProblems(JSON.stringify({ problems }), { file: 'f.json' })).toEqual(problems);
  });

  it.each([
    ['{', /f\.json: is not JSON/],
    ['{"problems":[]}', /problems/],
    ['{"problems":[{"name":"a"}]}', /problems\.0/],
  ])('%s is refused with the place', (text, message) => {
    expect(() => parseLayoutProblems(text, { file: 'f.json' })).toThrow(message);
  });

  it('have the committed schema', () => {
    const file = path.resolve(import.meta.dirname, '../schema/layout-problems.v1.json');
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(layoutProblemsJsonSchema());
  });
});
