import { type Layout, toLayout } from '@aim-gpu/core';
import { createManualClock, createMemoryStateStore } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  applyRepartition,
  explainTargets,
  planRepartition,
  type RepartitionHook,
  readRepartitionHistory,
  toRepartitionHistory,
} from '../src/index.js';
import { aModel, createModelDriver } from './model-machine.js';

const hook = (name: string, when: RepartitionHook['when'], required: boolean): RepartitionHook => ({
  name,
  when,
  argv: ['systemctl', when === 'before' ? 'stop' : 'restart', name],
  timeoutMs: 1000,
  required,
});

async function apply(failing: readonly string[]) {
  const driver = createModelDriver(aModel(1, 1));
  const store = createMemoryStateStore();
  const inventory = await driver.discover();
  const planned = planRepartition({
    inventory,
    desired: [{ card: inventory.cards[0]?.id as never, layout: toLayout('CPX/NPS1') as Layout }],
    assignments: [],
  });
  if (!planned.ok) throw new Error('a plan');
  const order: string[] = [];
  const result = await applyRepartition({
    plan: planned.plan,
    driver: {
      ...driver,
      setComputeMode: (card, mode, options) => {
        order.push(`set ${mode}`);
        return driver.setComputeMode(card, mode, options);
      },
    },
    store,
    clock: createManualClock(),
    drain: async () => void order.push('drain'),
    hooks: {
      hooks: [
        hook('exporter', 'before', true),
        hook('monitor', 'before', false),
        hook('device-plugin', 'after', true),
      ],
      runner: {
        run: ({ name }) => {
          order.push(name);
          return Promise.resolve(
            failing.includes(name) ? { ok: false, message: 'exit 1' } : { ok: true },
          );
        },
      },
    },
  });
  return { result, order, driver, past: toRepartitionHistory(await readRepartitionHistory(store)) };
}

describe('hooks around a repartition', () => {
  it('run when all has drained, and when it is over', async () => {
    const { result, order } = await apply([]);
    expect(order).toEqual(['drain', 'exporter', 'monitor', 'set CPX', 'device-plugin']);
    expect(result).toMatchObject({ ok: true, outcome: 'applied', warnings: [] });
  });

  it('a required one that fails keeps it from beginning', async () => {
    const { result, order, driver, past } = await apply(['exporter']);
    expect(order).toEqual(['drain', 'exporter', 'device-plugin']);
    expect(result).toMatchObject({
      ok: false,
      outcome: 'rolled-back',
      error: { code: 'ERR_HOOK_FAILED' },
    });
    expect(driver.machine()[0]?.compute).toBe('SPX');
    expect(past).toMatchObject([
      { outcome: 'rolled-back', steps: 0, error: { code: 'ERR_HOOK_FAILED' } },
    ]);
  });

  it('one that is not required is told and passed over', async () => {
    const { result } = await apply(['monitor', 'device-plugin']);
    expect(result).toMatchObject({ ok: true, warnings: [{ code: 'HOOK_FAILED' }] });
  });
});

describe('the history', () => {
  it('says what was changed and how it ended', async () => {
    const { past } = await apply([]);
    expect(past).toMatchObject([{ outcome: 'applied', steps: 1, stopped: 0, error: null }]);
    expect(past.flatMap(explainTargets)).toEqual(['0000:10:00.0 SPX/NPS1 to CPX/NPS1']);
  });
});
