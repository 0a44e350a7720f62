/**
 * Plans of random fleets, applied on the simulated machine: what is read back is what was planned, and planning again
 * changes nothing.
 */
import { expect, it } from 'vitest';
import { applyRandomPlan } from './support/applied-plans.js';

const FLEETS = 60;

it(`reads back what was planned, ${FLEETS} times`, { timeout: 120_000 }, async () => {
  for (let seed = 1; seed <= FLEETS; seed += 1) {
    const { wrong, changedAgain } = await applyRandomPlan(seed);
    expect({ seed, wrong, changedAgain }).toEqual({ seed, wrong: [], changedAgain: [] });
  }
});

// A search that starts from what the first plan leads to finds better plans for these.
it.each([94, 294])('plans seed %i at once as well as a second plan would', async (seed) => {
  expect(await applyRandomPlan(seed)).toEqual({ wrong: [], changedAgain: [] });
});
