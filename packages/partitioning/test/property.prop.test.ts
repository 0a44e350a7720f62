/** A few thousand random operations on a node whose driver fails at random: the layouts are always old, new or named. */
import { AimError, createRng, type Layout } from '@aim-gpu/core';
import { createManualClock, createMemoryStateStore } from '@aim-gpu/core/testing';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  applyRepartition,
  assertLayout,
  planRepartition,
  recoverRepartition,
} from '../src/index.js';
import { aModel, createModelDriver, MI300X, toInventory } from './model-machine.js';

const layouts = MI300X.layouts.map(({ compute, memory }): Layout => ({ compute, memory }));
const limits = { busyRetryMs: 0, busyWaitMs: 0, settlePollMs: 0, settleWaitMs: 0, attempts: 2 };

it('whatever fails, the layouts are the old or the new ones, or the stop is named', async () => {
  let operations = 0;
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.integer(),
      fc.array(fc.array(fc.constantFrom(...layouts), { minLength: 3, maxLength: 3 }), {
        minLength: 1,
        maxLength: 8,
      }),
      async (seed, wishes) => {
        const rng = createRng(seed);
        const driver = createModelDriver(aModel(3, 2));
        // A quarter of the changes fails and a tenth has no effect.
        driver.intercept = () => {
          const draw = rng.next();
          if (draw < 0.25)
            throw new AimError({ code: 'ERR_DRIVER_IO', kind: 'unavailable', message: 'EIO' });
          return draw < 0.35 ? driver.machine() : null;
        };
        const options = {
          driver,
          store: createMemoryStateStore(),
          clock: Object.assign(createManualClock(), { sleep: async () => undefined }),
          drain: async () => undefined,
          limits,
        };
        for (const wish of wishes) {
          const inventory = toInventory(driver.machine(), (await driver.discover()).generation);
          const desired = inventory.cards.map((card, index) => ({
            card: card.id,
            layout: wish[index] as Layout,
          }));
          const planned = planRepartition({ inventory, desired, assignments: [] });
          if (!planned.ok) continue;
          const result = await applyRepartition({ ...options, plan: planned.plan });
          const after = await driver.discover();
          operations += 1;
          seen.add(result.outcome);
          if (result.ok) expect(assertLayout(after, planned.plan.to)).toEqual([]);
          else if (result.outcome === 'rolled-back')
            expect(assertLayout(after, planned.plan.from)).toEqual([]);
          else expect(result.nextCommand).not.toBe('');
          expect(await recoverRepartition(options)).toBeNull();
        }
      },
    ),
    { numRuns: 1500, seed: 20_261_125 },
  );
  expect(operations).toBeGreaterThan(2000);
  expect([...seen].sort()).toEqual(['already-applied', 'applied', 'degraded', 'rolled-back']);
});
