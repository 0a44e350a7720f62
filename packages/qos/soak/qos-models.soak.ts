/**
 * A million random operations on the queue and a million on limits, each step compared with a plain slow oracle.
 * `--seed N`, `--operations N`.
 */
import type { Soak } from '../../../tools/soak.js';
import { compareLimits, compareQueue } from './models.js';

export const soak: Soak = {
  name: 'qos-models',
  summary: 'queue with fairness, and limits, beside slow oracles: 1,000,000 operations each',
  run: async ({ values, signal, log }) => {
    const { seed: seedText = '7', operations: text = '1000000', ...unknown } = values;
    const [surplus] = Object.keys(unknown);
    if (surplus !== undefined) throw new Error(`there is no option --${surplus}`);
    const options = { seed: Number(seedText), operations: Number(text), signal };
    const queue = compareQueue(options);
    log(`queue: ${options.operations} operations, ${queue.length} differences`);
    const limits = compareLimits(options);
    log(`limits: ${options.operations} operations, ${limits.length} differences`);
    return {
      results: [
        {
          model: 'queue and VTC',
          seed: options.seed,
          operations: options.operations,
          differences: queue.length,
        },
        {
          model: 'limits',
          seed: options.seed,
          operations: options.operations,
          differences: limits.length,
        },
      ],
      failures: [...queue, ...limits],
    };
  },
};
