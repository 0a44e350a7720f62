// Mutated captures through every reader of driver-rocm: `npm run soak -- rocm-parsers [--mutants 100000] [--seed N]`.
// Ends after so many mutants or after --seconds, whichever is first; a failure names the mutant, which with the seed
// repeats it.
import type { Soak } from '../../../tools/soak.js';
import { flawOf } from '../test/fuzz/every-parser.js';
import { createMutants, SEED } from '../test/fuzz/mutants.js';

const KNOWN = ['mutants', 'seed'];
const MAX_FAILURES = 20;

/** The soak test. */
export const soak: Soak = {
  name: 'rocm-parsers',
  summary: '100,000 mutated captures through every reader of real GPUs',
  run: async ({ seconds, values, signal, log }) => {
    const unknown = Object.keys(values).filter((key) => !KNOWN.includes(key));
    if (unknown.length > 0) throw new Error(`unknown options: ${unknown.join(', ')}`);
    const wanted = Number(values['mutants'] ?? 100_000);
    const seed = Number(values['seed'] ?? SEED);
    const next = createMutants(seed);
    const failures: string[] = [];
    const started = performance.now();
    let done = 0;
    let slowestMs = 0;
    for (; done < wanted && failures.length < MAX_FAILURES; done += 1) {
      if (signal.aborted || performance.now() - started > seconds * 1000) break;
      const before = performance.now();
      const mutant = next();
      try {
        const flaw = await flawOf(mutant);
        if (flaw !== null) failures.push(`mutant ${done} of seed ${seed}: ${flaw}`);
      } catch (error) {
        failures.push(`mutant ${done} of seed ${seed} threw ${String(error)}`);
      }
      slowestMs = Math.max(slowestMs, performance.now() - before);
      if (done % 10_000 === 9999) log(`${done + 1} mutants`);
    }
    if (done < wanted && failures.length === 0)
      failures.push(`only ${done} of ${wanted} mutants in the time given: use --seconds`);
    return { results: [{ seed, mutants: done, slowestMs, failures: failures.length }], failures };
  },
};
