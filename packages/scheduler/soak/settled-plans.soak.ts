// Random fleets that change beneath what runs: planning again changes nothing. `--fleets N` (10,000), `--seed S`.
import fc from 'fast-check';
import type { Soak } from '../../../tools/soak.js';
import { changedAgain, changingFleets } from '../test/support/settled-plans.js';

/** The soak. */
export const soak: Soak = {
  name: 'settled-plans',
  summary: 'planning again, with nothing else changed, changes nothing',
  run: ({ seconds, values, signal, log }) => {
    const { fleets, seed, ...unknown } = values;
    const strange = Object.keys(unknown);
    if (strange.length > 0) throw new Error(`unknown option --${strange.join(', --')}`);
    const wanted = Number(fleets ?? '10000');
    const first = Number(seed ?? '1');
    const started = process.hrtime.bigint();
    const passed = (): number => Number(process.hrtime.bigint() - started) / 1e9;
    const failures: string[] = [];
    let done = 0;
    for (; done < wanted && failures.length < 10; done += 1) {
      if (signal.aborted || passed() > seconds) break;
      if (done % 500 === 0) log(`${done} fleets, ${passed().toFixed(0)} s`);
      const [fleet] = fc.sample(changingFleets, { numRuns: 1, seed: first + done });
      if (fleet === undefined) continue;
      for (const what of changedAgain(fleet)) failures.push(`seed ${first + done}: ${what}`);
    }
    return Promise.resolve({ results: [{ fleets: done, seconds: passed() }], failures });
  },
};
