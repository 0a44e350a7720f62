/**
 * Mutated captures through every reader: none throws, and whatever they answer keeps the contract's forms. The same runs
 * longer as `npm run soak -- rocm-parsers`.
 */
import { expect, test } from 'vitest';
import { flawOf } from './every-parser.js';
import { createMutants, SEED } from './mutants.js';

const MUTANTS = 4000;

test(`${MUTANTS} mutants of the captures, seed ${SEED}`, async () => {
  const next = createMutants(SEED);
  for (let number = 0; number < MUTANTS; number += 1)
    expect(await flawOf(next()), `mutant ${number}`).toBeNull();
});
