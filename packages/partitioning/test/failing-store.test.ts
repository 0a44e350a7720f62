/** A state store that cannot be written, read or locked: the node is not touched, and the error says what failed. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AimError, type Layout, type StateStore, systemClock, toLayout } from '@aim-gpu/core';
import { createFileStateStore } from '@aim-gpu/core/node';
import { createManualClock, createMemoryStateStore } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  applyRepartition,
  planRepartition,
  type RepartitionOptions,
  type RepartitionPlan,
  recoverRepartition,
} from '../src/index.js';
import { aModel, createModelDriver, type ModelDriver } from './model-machine.js';

const io = (what: string): Promise<never> =>
  Promise.reject(
    new AimError({ code: 'ERR_STATE_IO', kind: 'unavailable', message: `EROFS: ${what}` }),
  );

async function bench(store: StateStore) {
  const driver = createModelDriver(aModel(2, 1));
  const drained: string[] = [];
  const ran: string[] = [];
  const options: RepartitionOptions = {
    driver,
    store,
    clock: createManualClock(),
    drain: async () => void drained.push('drain'),
    hooks: {
      hooks: [
        { name: 'plugin', when: 'before', argv: ['stop'], timeoutMs: 1000, required: true },
        { name: 'plugin', when: 'after', argv: ['start'], timeoutMs: 1000, required: true },
      ],
      runner: {
        run: ({ argv }) => {
          ran.push(argv[0]);
          return Promise.resolve({ ok: true });
        },
      },
    },
  };
  return { driver, drained, ran, options, plan: await planFor(driver) };
}

async function planFor(driver: ModelDriver): Promise<RepartitionPlan> {
  const inventory = await driver.discover();
  const layout = toLayout('CPX/NPS4') as Layout;
  const desired = inventory.cards.map(({ id }) => ({ card: id, layout }));
  const planned = planRepartition({ inventory, desired, assignments: [] });
  if (!planned.ok) throw new Error('a plan');
  return planned.plan;
}

/** A store whose journal has one method that fails. */
function failing(method: 'append' | 'read' | 'lock'): StateStore {
  const store = createMemoryStateStore();
  if (method === 'lock') return { ...store, lock: () => io('lock') };
  return {
    ...store,
    journal: (name) => ({ ...store.journal(name), [method]: () => io(method) }),
  };
}

describe('a store that fails', () => {
  it.each(['append', 'read', 'lock'] as const)('in %s: nothing is begun', async (method) => {
    const { driver, drained, ran, options, plan } = await bench(failing(method));
    await expect(applyRepartition({ ...options, plan })).rejects.toMatchObject({
      code: 'ERR_STATE_IO',
      kind: 'unavailable',
    });
    expect([driver.calls, drained, ran]).toEqual([[], [], []]);
  });

  it.each(['read', 'lock'] as const)('in %s: nothing is recovered', async (method) => {
    const { driver, ran, options } = await bench(failing(method));
    await expect(recoverRepartition(options)).rejects.toMatchObject({ code: 'ERR_STATE_IO' });
    expect([driver.calls, ran]).toEqual([[], []]);
  });

  it('a state directory that is a file', async () => {
    const directory = path.join(mkdtempSync(path.join(tmpdir(), 'aim-gpu-no-dir-')), 'state');
    writeFileSync(directory, '');
    const store = createFileStateStore({ directory, clock: systemClock });
    const { driver, drained, options, plan } = await bench(store);
    await expect(applyRepartition({ ...options, plan })).rejects.toMatchObject({
      code: 'ERR_STATE_IO',
    });
    expect([driver.calls, drained]).toEqual([[], []]);
    rmSync(path.dirname(directory), { recursive: true });
  });
});
