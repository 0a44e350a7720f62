// kill -9 of the agent in every operation, with devices, processes and files that outlive it: at every fifth step here,
// at every single one in `npm run soak -- agent-crash-points`.
import { expect, test } from 'vitest';
import { crashEverywhere } from './support/crash-everywhere.js';
import { CRASH_OPERATIONS } from './support/crash-operations.js';

test.each(CRASH_OPERATIONS)(
  '$name: killed at its steps',
  { timeout: 60_000 },
  async (operation) => {
    const table = await crashEverywhere(operation, { stride: 5 });
    expect(table.points).toBeGreaterThan(1);
    expect(table.slowestRecoveryMs).toBeLessThan(30_000);
  },
);

test('the agent that repairs a repartition is killed as well', { timeout: 60_000 }, async () => {
  const repartition = CRASH_OPERATIONS.find(({ name }) => name === 'repartition of the only card');
  if (repartition === undefined) throw new Error('there is no such operation');
  const table = await crashEverywhere(repartition, { stride: 7, again: (at) => (at * 7) % 23 });
  expect(table.slowestRecoveryMs).toBeLessThan(30_000);
});
