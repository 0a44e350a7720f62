// A million random operations on partitions and shares against a plain model:
// `npm run soak -- partition-operations [--operations 1000000] [--seed 1]`.
import type { Soak } from '../../../tools/soak.js';
import { runOperations } from '../test/random-operations.js';

const KNOWN = ['operations', 'seed'];
const CHUNK = 20_000;

/** The soak test. */
export const soak: Soak = {
  name: 'partition-operations',
  summary: '1,000,000 random operations on partitions and shares, each checked',
  run: async ({ seconds, values, signal, log }) => {
    const unknown = Object.keys(values).filter((key) => !KNOWN.includes(key));
    if (unknown.length > 0) throw new Error(`unknown options: ${unknown.join(', ')}`);
    const wanted = Number(values['operations'] ?? 1_000_000);
    const seed = Number(values['seed'] ?? 1);
    const started = performance.now();
    const late = (): boolean => signal.aborted || performance.now() - started > seconds * 1000;
    const totals = { granted: 0, refused: 0, switches: 0, merges: 0, crashes: 0 };
    const failures: string[] = [];
    let operations = 0;
    for (let part = 0; operations < wanted && failures.length === 0 && !late(); part += 1) {
      const count = Math.min(CHUNK, wanted - operations);
      const report = runOperations({ seed: seed + part, count, cards: 1 + (part % 4), stop: late });
      operations += report.operations;
      for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += report[key];
      if (report.broken !== null) failures.push(report.broken);
      if (part % 10 === 9) log(`${operations} operations`);
    }
    if (operations < wanted && failures.length === 0)
      failures.push(`only ${operations} of ${wanted} operations in the time given: use --seconds`);
    return { results: [{ seed, operations, ...totals }], failures };
  },
};
