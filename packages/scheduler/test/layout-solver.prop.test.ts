/**
 * 20,000 random problems over mixed fleets: never oversubscribed, no tensor-parallel group split wrongly, no modes mixed,
 * nothing pinned moved. A million of them run in the soak `layout-rules`.
 */
import { createRng } from '@aim-gpu/core';
import { expect, it } from 'vitest';
import { solveLayouts } from '../src/index.js';
import { brokenRules, smallProblem } from './support/layout-rules.js';

const PROBLEMS = 20_000;

it(`keeps every rule on ${PROBLEMS} random problems`, { timeout: 120_000 }, () => {
  const rng = createRng(20_261_125);
  for (let round = 0; round < PROBLEMS; round += 1) {
    const problem = smallProblem(rng);
    const { solution } = solveLayouts(problem, { rounds: 3, seed: round });
    const broken = brokenRules(problem, solution);
    if (broken.length > 0) expect({ round, problem, broken }).toEqual({ broken: [] });
  }
});
