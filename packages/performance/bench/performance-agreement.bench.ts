/** Bench: closed form against discrete-event form on the whole grid. */
import type { Bench } from '../../../tools/bench.js';
import { compareForms } from './agreement.js';

export const bench: Bench = {
  name: 'performance-agreement',
  summary: 'closed form against discrete-event form over a grid of 208 settings',
  run: async () => {
    const grid = compareForms(1);
    const results = (['tpot', 'throughput', 'busy', 'ttft'] as const).map((value) => {
      const sizes = grid.map((entry) => Math.abs(entry[value])).sort((a, b) => a - b);
      return {
        value,
        settings: sizes.length,
        within10Percent: sizes.filter((size) => size <= 0.1).length,
        medianPercent: 100 * (sizes[Math.floor(sizes.length / 2)] ?? 0),
        largestPercent: 100 * (sizes.at(-1) ?? 0),
        worst: grid.find((entry) => Math.abs(entry[value]) === sizes.at(-1))?.setting ?? '',
      };
    });
    const failures = results
      .filter((row) => row.value !== 'ttft' && row.within10Percent < row.settings)
      .map((row) => `${row.value} differs by more than 10 % at ${row.worst}`);
    return { results, failures };
  },
};
