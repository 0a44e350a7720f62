// The agent's journal cut off at every byte and every byte of it flipped, with engines that run meanwhile.
import type { Soak } from '../../../tools/soak.js';
import { breakJournal } from '../test/support/broken-journal.js';

/** The soak. */
export const soak: Soak = {
  name: 'agent-journal-bytes',
  summary: 'starts an agent with its journal cut off or damaged at every byte (--stride N)',
  run: async ({ values, signal, log }) => {
    try {
      const run = await breakJournal({ stride: Number(values['stride'] ?? 1), signal, log });
      return { results: [{ ...run }], failures: [] };
    } catch (error) {
      return { results: [], failures: [error instanceof Error ? error.message : String(error)] };
    }
  },
};
