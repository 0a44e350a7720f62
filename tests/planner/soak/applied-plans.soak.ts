// Plans of random fleets applied on the simulated machine and read back. `--fleets N` (10,000), `--seed S`.
import type { Soak } from '../../../tools/soak.js';
import { applyRandomPlan } from '../test/support/applied-plans.js';

/** The soak. */
export const soak: Soak = {
  name: 'applied-plans',
  summary: 'plans applied on driver-simulated, read back and made again equal the plan',
  run: async ({ seconds, values, signal, log }) => {
    const { fleets, seed, ...unknown } = values;
    const strange = Object.keys(unknown);
    if (strange.length > 0) throw new Error(`unknown option --${strange.join(', --')}`);
    const wanted = Number(fleets ?? '10000');
    const first = Number(seed ?? '1');
    const started = process.hrtime.bigint();
    const passed = (): number => Number(process.hrtime.bigint() - started) / 1e9;
    const failures: string[] = [];
    let done = 0;
    let changed = 0;
    for (; done < wanted && failures.length < 10; done += 1) {
      if (signal.aborted || passed() > seconds) break;
      if (done % 500 === 0) log(`${done} fleets, ${passed().toFixed(0)} s`);
      const { wrong, changedAgain } = await applyRandomPlan(first + done);
      for (const what of wrong) failures.push(`seed ${first + done}: ${what}`);
      for (const what of changedAgain) failures.push(`seed ${first + done}: ${what}`);
      if (changedAgain.length > 0) changed += 1;
    }
    return {
      results: [{ fleets: done, changedBySecondPlan: changed, seconds: passed() }],
      failures,
    };
  },
};
