// kill -9 of the agent at every step of every operation, as the test does it, with the table of what was killed where.
import { createRng } from '@aim-gpu/core';
import type { Soak } from '../../../tools/soak.js';
import { type CrashTable, crashEverywhere } from '../test/support/crash-everywhere.js';
import { CRASH_OPERATIONS } from '../test/support/crash-operations.js';

/** The soak. */
export const soak: Soak = {
  name: 'agent-crash-points',
  summary:
    'kill -9 of the agent at every step of every operation (--only TEXT, --verbose 1); --again SEED kills the one that repairs it too',
  run: async ({ values, signal, log }) => {
    const failures: string[] = [];
    const tables: CrashTable[] = [];
    const { only = '', verbose, again } = values;
    const rng = createRng(Number(again ?? 0));
    for (const operation of CRASH_OPERATIONS.filter(({ name }) => name.includes(only))) {
      try {
        const onStep = (what: string, at: number): void => log(`${operation.name} ${at} ${what}`);
        const table = await crashEverywhere(operation, {
          signal,
          ...(verbose === undefined ? {} : { onStep }),
          ...(again === undefined ? {} : { again: () => Math.floor(rng.next() * 40) }),
        });
        tables.push(table);
        log(`${table.operation}: ${table.points} points`);
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    const points = tables.reduce((sum, table) => sum + table.points, 0);
    return {
      results: [...tables.map((table) => ({ ...table })), { operation: 'all', points }],
      failures,
    };
  },
};
