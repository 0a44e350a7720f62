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
import { brokenRules } from './support/layout-rules.js';

const check = (problem: LayoutProblem, solution: LayoutSolution): void =>
  expect(brokenRules(problem, solution)).toEqual([]);

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
