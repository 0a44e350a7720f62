/**
 * A fleet like the quickstart's (five models, three of them with a partition of their own) on one card: the exact
 * solver proves that no plan is worth more.
 */
import { ratio } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import {
  compareWithBest,
  planFleet,
  solveLayoutsExactly,
  toLayoutProblem,
  worthOfPlan,
} from '../src/index.js';
import { aProblem, type ModelWords } from './support/problems.js';

const MODELS: readonly ModelWords[] = [
  {
    name: 'assistant',
    gib: 36,
    band: 'interactive',
    requestsPerSecond: 0.5,
    placement: { exclusive: true },
  },
  {
    name: 'coder',
    gib: 40,
    band: 'standard',
    requestsPerSecond: 0.3,
    placement: { exclusive: true },
  },
  {
    name: 'writer',
    gib: 40,
    band: 'batch',
    requestsPerSecond: 0.05,
    placement: { exclusive: true },
  },
  { name: 'guard', gib: 5, band: 'critical', requestsPerSecond: 1 },
  { name: 'drafts', gib: 7, band: 'best_effort', requestsPerSecond: 0.1 },
];

describe('the plan of a fleet like the quickstart', () => {
  it.each(['pack', 'spread', 'latency', 'stable'] as const)(
    'is proved optimal with the preset %s',
    { timeout: 60_000 },
    async (objective) => {
      const problem = aProblem({ models: MODELS, policy: { objective, slowdown: ratio(0.1) } });
      const bare = toLayoutProblem(problem);
      const worth = worthOfPlan(bare, planFleet(problem));
      const exact = await solveLayoutsExactly(bare);
      expect(exact.proved).toBe(true);
      expect(worth.placedByBand).toEqual([1, 1, 1, 1, 1]);
      expect(compareWithBest(worth, exact.bound)).toEqual({ level: null, percent: 100 });
    },
  );
});
