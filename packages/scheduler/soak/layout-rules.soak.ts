// Random layout problems against the rules, until the time or the number is up. `--problems N` (1,000,000), `--seed S`.
import { createRng } from '@aim-gpu/core';
import type { Soak } from '../../../tools/soak.js';
import { solveLayouts } from '../src/index.js';
import { brokenRules, smallProblem } from '../test/support/layout-rules.js';

const CHECK_EVERY = 1000;

/** The soak. */
export const soak: Soak = {
  name: 'layout-rules',
  summary: 'random layout problems over mixed fleets keep every rule',
  run: ({ seconds, values, signal, log }) => {
    const { problems, seed, ...unknown } = values;
    const strange = Object.keys(unknown);
    if (strange.length > 0) throw new Error(`unknown option --${strange.join(', --')}`);
    const wanted = Number(problems ?? '1000000');
    const rng = createRng(Number(seed ?? '1'));
    const started = process.hrtime.bigint();
    const passed = (): number => Number(process.hrtime.bigint() - started) / 1e9;
    const failures: string[] = [];
    let done = 0;
    let placed = 0;
    for (; done < wanted && failures.length < 10; done += 1) {
      if (done % CHECK_EVERY === 0 && (signal.aborted || passed() > seconds)) break;
      if (done % 50_000 === 0) log(`${done} problems, ${passed().toFixed(0)} s`);
      const problem = smallProblem(rng);
      const { solution } = solveLayouts(problem, { rounds: 3, seed: done });
      placed += solution.places.length;
      for (const rule of brokenRules(problem, solution)) failures.push(`problem ${done}: ${rule}`);
    }
    return Promise.resolve({ results: [{ problems: done, placed, seconds: passed() }], failures });
  },
};
