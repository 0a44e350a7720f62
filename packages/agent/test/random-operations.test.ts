import { describe, expect, test } from 'vitest';
import { runRandomOperations } from './support/random-operations.js';

describe('after every random operation', () => {
  test.each([1, 2, 3])(
    'agent, devices, processes and directory are what the last fleet asks for (seed %i)',
    async (seed) => {
      const run = await runRandomOperations({ seed, steps: 40 });
      expect(run.steps).toBe(40);
      expect(run.wrongRefusals).toBe(0);
      expect(run.slowestRecoveryMs).toBeLessThan(30_000);
    },
    60_000,
  );
});
