/**
 * Planning again changes nothing: a plan of what a plan leads to has no layout change and no move. Also after the fleet
 * has changed beneath what runs. More of them run in the soak `settled-plans`.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { changedAgain, changingFleets } from './support/settled-plans.js';

it('has nothing to change once it is applied, at first and for another fleet', {
  timeout: 120_000,
}, () => {
  fc.assert(
    fc.property(changingFleets, (fleet) => {
      expect(changedAgain(fleet)).toEqual([]);
    }),
    { numRuns: 60, seed: 20_261_125 },
  );
});
