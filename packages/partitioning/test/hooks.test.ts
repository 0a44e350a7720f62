import { type Layout, type StateStore, toLayout } from '@aim-gpu/core';
import { createManualClock, createMemoryStateStore } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  applyRepartition,
  explainTargets,
  type HookRunner,
  planRepartition,
  type RepartitionHook,
  readRepartitionHistory,
  recoverRepartition,
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

describe('hooks of a repartition that another process has to finish', () => {
  const hooks = [hook('exporter', 'before', true), hook('device-plugin', 'after', true)];

  /** A repartition that died when it wrote a record, or inside a hook. */
  async function die(at: { readonly record: string } | { readonly hook: string }) {
    const driver = createModelDriver(aModel(1, 1));
    const store = createMemoryStateStore();
    const inventory = await driver.discover();
    const planned = planRepartition({
      inventory,
      desired: [{ card: inventory.cards[0]?.id as never, layout: toLayout('CPX/NPS1') as Layout }],
      assignments: [],
    });
    if (!planned.ok) throw new Error('a plan');
    let dead = false;
    const dying: StateStore = {
      ...store,
      journal: (name) => {
        const whole = store.journal<never>(name);
        return {
          ...whole,
          append: (record) => {
            dead ||= 'record' in at && (record as { readonly type: string }).type === at.record;
            return dead ? Promise.reject(new Error('dead')) : whole.append(record as never);
          },
        };
      },
    };
    const order: string[] = [];
    const common = { driver, clock: createManualClock(), drain: async () => undefined };
    await applyRepartition({
      ...common,
      plan: planned.plan,
      store: dying,
      hooks: {
        hooks,
        runner: {
          run: ({ name }) => {
            dead ||= 'hook' in at && name === at.hook;
            if (!dead) order.push(name);
            return Promise.resolve(dead ? { ok: false, message: 'dead' } : { ok: true });
          },
        },
      },
    }).catch(() => undefined);
    order.length = 0;
    const runner: HookRunner = {
      run: ({ name, argv }) => {
        order.push(`${name}: ${argv.join(' ')}`);
        return Promise.resolve({ ok: true });
      },
    };
    return { options: { ...common, store }, runner, order, plan: planned.plan, driver };
  }

  it.each([
    ['before it had drained', { record: 'drained' }, 'rolled-back'],
    ['in the hook before', { hook: 'exporter' }, 'rolled-back'],
    ['before its step', { record: 'step' }, 'applied'],
    ['in the hook after', { hook: 'device-plugin' }, 'applied'],
    ['between the hook and the end', { record: 'end' }, 'applied'],
  ] as const)('%s: run by the runner alone, from the journal', async (_, at, outcome) => {
    const { options, runner, order } = await die(at);
    const result = await recoverRepartition({ ...options, hookRunner: runner });
    expect(result).toMatchObject({ outcome });
    expect(order).toEqual(['device-plugin: systemctl restart device-plugin']);
    expect(await recoverRepartition({ ...options, hookRunner: runner })).toBeNull();
    expect(order).toHaveLength(1);
  });

  it('are told with their command where nothing can run them', async () => {
    const { options } = await die({ record: 'step' });
    expect(await recoverRepartition(options)).toMatchObject({
      outcome: 'applied',
      warnings: [
        {
          code: 'HOOK_NOT_RUN',
          message: 'device-plugin: nothing here can run it; type `systemctl restart device-plugin`',
        },
      ],
    });
    const back = await die({ record: 'drained' });
    expect(await recoverRepartition(back.options)).toMatchObject({
      outcome: 'rolled-back',
      reasons: [{ code: 'ERR_REPARTITION_INTERRUPTED' }, { code: 'HOOK_NOT_RUN' }],
    });
  });

  it('a required one before it keeps it from going forward where nothing can run it', async () => {
    const { options, plan, driver } = await die({ record: 'drained' });
    expect(await applyRepartition({ ...options, plan })).toMatchObject({
      outcome: 'rolled-back',
      error: { code: 'ERR_HOOK_FAILED' },
    });
    expect(driver.machine()[0]?.compute).toBe('SPX');
  });

  it('are joined with those given now, each once', async () => {
    const { options, runner, order } = await die({ record: 'step' });
    const now = [...hooks, hook('monitor', 'after', false)];
    await recoverRepartition({ ...options, hooks: { hooks: now, runner } });
    expect(order).toEqual([
      'device-plugin: systemctl restart device-plugin',
      'monitor: systemctl restart monitor',
    ]);
  });

  it('a runner that throws undoes nothing', async () => {
    const { options, driver } = await die({ record: 'step' });
    const hookRunner: HookRunner = { run: () => Promise.reject(new Error('no such program')) };
    expect(await recoverRepartition({ ...options, hookRunner })).toMatchObject({
      outcome: 'applied',
      warnings: [{ code: 'HOOK_FAILED', message: 'device-plugin: no such program' }],
    });
    expect(driver.machine()[0]?.compute).toBe('CPX');
  });

  it('a journal of before they were kept is still read', async () => {
    const { options, runner, order } = await die({ record: 'step' });
    const journal = options.store.journal<Record<string, unknown>>('repartition');
    await journal.compact((await journal.read()).map(({ hooks: _, ...record }) => record));
    expect(await recoverRepartition({ ...options, hookRunner: runner })).toMatchObject({
      outcome: 'applied',
      warnings: [],
    });
    expect(order).toEqual([]);
  });
});

describe('the history', () => {
  it('says what was changed and how it ended', async () => {
    const { past } = await apply([]);
    expect(past).toMatchObject([{ outcome: 'applied', steps: 1, stopped: 0, error: null }]);
    expect(past.flatMap(explainTargets)).toEqual(['0000:10:00.0 SPX/NPS1 to CPX/NPS1']);
  });
});
