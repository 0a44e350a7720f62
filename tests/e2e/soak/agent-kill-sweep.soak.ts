// kill -9 of the built agent after each number of records of a repartition, with simulated engines as real processes.
import type { Soak } from '../../../tools/soak.js';
import { sweepKills } from '../test/support/kill-sweep.js';

/** The soak. */
export const soak: Soak = {
  name: 'agent-kill-sweep',
  summary: 'kill -9 of the built agent when its journals have grown by 1, 2, … records (--most N)',
  run: async ({ values, signal, log }) => {
    // Each number once in either direction, unless a kill has already turned the direction around.
    const numbers = Array.from({ length: Number(values['most'] ?? 16) }, (_, index) => index + 1);
    try {
      const kills = await sweepKills(
        numbers.flatMap((number) => [number, number]),
        { signal, log },
      );
      return { results: kills.map((kill) => ({ ...kill })), failures: [] };
    } catch (error) {
      return { results: [], failures: [error instanceof Error ? error.message : String(error)] };
    }
  },
};
