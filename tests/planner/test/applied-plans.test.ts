/** Plans of random fleets, applied on the simulated machine: what is read back is what was planned. */
import { expect, it } from 'vitest';
import { applyRandomPlan } from './support/applied-plans.js';

const FLEETS = 60;

it(`reads back what was planned, ${FLEETS} times`, { timeout: 120_000 }, async () => {
  let stable = 0;
  for (let seed = 1; seed <= FLEETS; seed += 1) {
    const { wrong, changedAgain } = await applyRandomPlan(seed);
    expect({ seed, wrong }).toEqual({ seed, wrong: [] });
    if (changedAgain.length === 0) stable += 1;
  }
  // A second plan may be better, since it starts from other layouts; that has to stay rare.
  expect(stable / FLEETS).toBeGreaterThan(0.95);
});
