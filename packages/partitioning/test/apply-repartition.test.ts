import { AimError, type Layout, type StateStore, toLayout } from '@aim-gpu/core';
import {
  anAssignment,
  aShare,
  createManualClock,
  createMemoryStateStore,
  createRecordingLogger,
} from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  applyRepartition,
  planRepartition,
  type RepartitionOptions,
  type RepartitionPlan,
  type RepartitionProgress,
  readRepartitionHistory,
  recoverRepartition,
} from '../src/index.js';
import { aModel, createModelDriver, type ModelDriver, type ModelMachine } from './model-machine.js';

const layout = (text: string): Layout => toLayout(text) as Layout;
const shown = (machine: ModelMachine): string =>
  machine.map((card) => `${card.compute}/${card.memory}`).join(' ');

async function planFor(
  driver: ModelDriver,
  ...wanted: readonly string[]
): Promise<RepartitionPlan> {
  const inventory = await driver.discover();
  const first = inventory.cards[0];
  if (first === undefined) throw new Error('a card');
  const result = planRepartition({
    inventory,
    desired: inventory.cards.map((card, index) => ({
      card: card.id,
      layout: layout(wanted[index] ?? wanted[0] ?? ''),
    })),
    assignments: [anAssignment({ shares: [aShare({ node: inventory.node, card: first.id })] })],
  });
  if (!result.ok) throw new Error(JSON.stringify(result.reasons));
  return result.plan;
}

function aBench(driver: ModelDriver, store: StateStore = createMemoryStateStore()) {
  const clock = createManualClock();
  const drained: string[] = [];
  const progress: RepartitionProgress[] = [];
  const logger = createRecordingLogger();
  const options: RepartitionOptions = {
    driver,
    store,
    clock,
    logger,
    drain: async ({ instances }) => void drained.push(...instances),
    onProgress: (event) => progress.push(event),
  };
  const run = async <T>(call: Promise<T>): Promise<T> => {
    let ended = false;
    const done = call.finally(() => {
      ended = true;
    });
    done.catch(() => undefined);
    for (let turn = 0; !ended; turn += 1) {
      if (turn > 20_000) throw new Error('the call does not end');
      await clock.advance(500);
    }
    return done;
  };
  return { options, store, clock, drained, progress, run, logger };
}

const ioError = (): AimError =>
  new AimError({ code: 'ERR_DRIVER_IO', kind: 'unavailable', message: 'EIO' });
const busyError = (): AimError =>
  new AimError({
    code: 'ERR_DEVICE_BUSY',
    kind: 'conflict',
    message: 'EBUSY',
    details: { holders: [{ pid: 7 }] },
  });

describe('applyRepartition', () => {
  it('drains, changes, reads back, and tells how far it is', async () => {
    const driver = createModelDriver(aModel(2, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'QPX/NPS4', 'CPX/NPS4');
    const result = await bench.run(applyRepartition({ ...bench.options, plan }));
    expect(result).toMatchObject({ ok: true, outcome: 'applied' });
    expect(shown(driver.machine())).toBe('QPX/NPS4 CPX/NPS4');
    expect(driver.calls).toEqual(['stage-memory NPS4', 'reload', 'set-compute QPX']);
    expect(bench.drained).toEqual(['chat-0']);
    expect(bench.progress.map((event) => event.phase)).toEqual([
      'draining',
      'changing',
      'changing',
      'changing',
      'done',
    ]);
    const history = await readRepartitionHistory(bench.store);
    expect(history.map((record) => record.type)).toEqual([
      'begin',
      'drained',
      'step',
      'step',
      'step',
      'end',
    ]);
  });

  it('holds the lease until it has ended: a second one meanwhile is a conflict', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'CPX/NPS1');
    let drained = (): void => undefined;
    const drain = (): Promise<void> =>
      new Promise((resolve) => {
        drained = resolve;
      });
    const first = applyRepartition({ ...bench.options, drain, plan });
    await bench.clock.advance(0);
    await expect(applyRepartition({ ...bench.options, plan })).rejects.toMatchObject({
      code: 'ERR_STATE_LOCKED',
      kind: 'conflict',
    });
    await expect(recoverRepartition(bench.options)).rejects.toMatchObject({
      code: 'ERR_STATE_LOCKED',
    });
    drained();
    expect((await bench.run(first)).outcome).toBe('applied');
    expect(driver.calls).toEqual(['set-compute CPX']);
  });

  it('repeated does nothing, and after somebody else’s change is refused', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'CPX/NPS1');
    await bench.run(applyRepartition({ ...bench.options, plan }));
    const again = await bench.run(applyRepartition({ ...bench.options, plan }));
    expect(again).toMatchObject({ ok: true, outcome: 'already-applied' });
    expect(driver.calls).toHaveLength(1);
    const { generation, cards } = await driver.discover();
    await driver.setComputeMode(cards[0]?.id as never, 'DPX', { expect: generation });
    await expect(applyRepartition({ ...bench.options, plan })).rejects.toMatchObject({
      code: 'ERR_GENERATION_STALE',
    });
  });

  it('of a plan without steps is done at once', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'SPX/NPS1');
    expect(await applyRepartition({ ...bench.options, plan })).toMatchObject({
      outcome: 'already-applied',
    });
    expect(bench.drained).toEqual([]);
  });

  it('adds the step that an older kernel’s automatic mode needs', async () => {
    const driver = createModelDriver(aModel(1, 1), {
      NPS1: 'SPX',
      NPS2: 'DPX',
      NPS4: 'QPX',
      NPS8: 'CPX',
    });
    const bench = aBench(driver);
    const plan = await planFor(driver, 'CPX/NPS4');
    expect(plan.steps).toHaveLength(2);
    await bench.run(applyRepartition({ ...bench.options, plan }));
    expect(driver.calls).toEqual(['stage-memory NPS4', 'reload', 'set-compute CPX']);
  });

  it('tries a busy device again, and a change without effect once more', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    let tries = 0;
    driver.intercept = () => {
      tries += 1;
      if (tries <= 3) throw busyError();
      return tries === 4 ? driver.machine() : null;
    };
    const plan = await planFor(driver, 'CPX/NPS1');
    expect(await bench.run(applyRepartition({ ...bench.options, plan }))).toMatchObject({
      ok: true,
    });
    expect(tries).toBe(5);
    expect(
      bench.logger.records.filter((record) => record.event === 'repartition-busy'),
    ).toHaveLength(3);
  });

  it('gives up on a device that stays busy, with nothing changed', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    driver.intercept = () => {
      throw busyError();
    };
    const plan = await planFor(driver, 'CPX/NPS1');
    const result = await bench.run(applyRepartition({ ...bench.options, plan }));
    expect(result).toMatchObject({
      ok: false,
      outcome: 'rolled-back',
      error: { code: 'ERR_DEVICE_BUSY', details: { holders: [{ pid: 7 }] } },
    });
    expect(bench.clock.monoMs()).toBeGreaterThanOrEqual(120_000);
    expect(shown(driver.machine())).toBe('SPX/NPS1');
  });

  it('rolls back to the last good layout', async () => {
    const driver = createModelDriver(aModel(3, 1));
    const bench = aBench(driver);
    const last = driver.machine()[2]?.id;
    driver.intercept = (operation) => {
      if (operation.kind === 'set-compute' && operation.card === last && operation.to === 'DPX')
        throw ioError();
      return null;
    };
    const plan = await planFor(driver, 'QPX/NPS1', 'CPX/NPS1', 'DPX/NPS1');
    const result = await bench.run(applyRepartition({ ...bench.options, plan }));
    expect(result).toMatchObject({
      ok: false,
      outcome: 'rolled-back',
      reasons: [{ code: 'ERR_DRIVER_IO' }],
    });
    expect(shown(driver.machine())).toBe('SPX/NPS1 SPX/NPS1 SPX/NPS1');
    expect((await readRepartitionHistory(bench.store)).at(-1)).toMatchObject({
      type: 'end',
      outcome: 'rolled-back',
    });
  });

  it('rolls back a reload that changed half of the cards', async () => {
    const driver = createModelDriver(aModel(2, 1));
    const bench = aBench(driver);
    driver.intercept = (operation) => {
      const target = driver.machine()[0]?.staged;
      if (operation.kind !== 'reload' || target !== 'NPS4') return null;
      return driver
        .machine()
        .map((card, index) =>
          index === 0
            ? { ...card, compute: 'CPX', memory: 'NPS4', staged: null }
            : { ...card, staged: null },
        );
    };
    const plan = await planFor(driver, 'CPX/NPS4');
    const result = await bench.run(applyRepartition({ ...bench.options, plan }));
    expect(result).toMatchObject({
      ok: false,
      outcome: 'rolled-back',
      error: { code: 'ERR_READBACK_MISMATCH' },
    });
    expect(shown(driver.machine())).toBe('SPX/NPS1 SPX/NPS1');
  });

  it.each([
    ['between', 'set-compute', ['QPX/NPS1', 'CPX/NPS1']],
    ['memory-split', 'reload', ['CPX/NPS4', 'CPX/NPS4']],
  ] as const)('stops degraded (%s) when rolling back fails too', async (state, kind, wanted) => {
    const driver = createModelDriver(aModel(2, 1));
    const bench = aBench(driver);
    let broken = false;
    driver.intercept = (operation) => {
      if (broken) throw ioError();
      broken = operation.kind === kind;
      if (operation.kind !== 'reload') return null;
      return driver
        .machine()
        .map((card, index) =>
          index === 0
            ? { ...card, compute: 'CPX', memory: 'NPS4', staged: null }
            : { ...card, staged: null },
        );
    };
    const plan = await planFor(driver, ...wanted);
    const result = await bench.run(
      applyRepartition({
        ...bench.options,
        plan,
        resumeCommand: (seen) => `aim-gpu up f.yaml # ${seen}`,
      }),
    );
    expect(result).toMatchObject({
      ok: false,
      outcome: 'degraded',
      state,
      nextCommand: `aim-gpu up f.yaml # ${state}`,
      error: { details: { state }, hint: `type \`aim-gpu up f.yaml # ${state}\`` },
    });
    expect((await readRepartitionHistory(bench.store)).at(-1)).toMatchObject({
      type: 'end',
      outcome: 'degraded',
    });
  });

  it('says when a memory mode stays staged after rolling back', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    driver.intercept = (operation) => {
      if (operation.kind === 'reload') throw ioError();
      return null;
    };
    const plan = await planFor(driver, 'CPX/NPS4');
    const result = await bench.run(applyRepartition({ ...bench.options, plan }));
    expect(result).toMatchObject({
      outcome: 'rolled-back',
      reasons: [{ code: 'ERR_DRIVER_IO' }, { code: 'MEMORY_MODE_MAY_BE_STAGED' }],
    });
  });

  it('stops degraded (unreadable) when the machine cannot be read any more', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'CPX/NPS1');
    const { discover } = driver;
    let reads = 0;
    const blind: ModelDriver = Object.assign(driver, {
      discover: async () => {
        reads += 1;
        if (reads > 2) throw ioError();
        return discover();
      },
    });
    driver.intercept = () => {
      throw ioError();
    };
    const result = await bench.run(applyRepartition({ ...bench.options, driver: blind, plan }));
    expect(result).toMatchObject({
      outcome: 'degraded',
      state: 'unreadable',
      inventory: null,
      nextCommand: 'aim-gpu doctor',
    });
  });

  it('takes a time-out for what was read back', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'CPX/NPS1');
    const { setComputeMode } = driver;
    const slow = Object.assign(driver, {
      setComputeMode: async (...call: Parameters<typeof setComputeMode>) => {
        await setComputeMode(...call);
        throw new AimError({ code: 'ERR_SWITCH_TIMEOUT', kind: 'timeout', message: 'unknown' });
      },
    });
    expect(
      await bench.run(applyRepartition({ ...bench.options, driver: slow, plan })),
    ).toMatchObject({ ok: true });
  });

  it('leaves the machine alone when draining fails', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'CPX/NPS1');
    const drain = async (): Promise<void> => {
      throw new Error('an engine does not stop');
    };
    const result = await bench.run(applyRepartition({ ...bench.options, plan, drain }));
    expect(result).toMatchObject({
      outcome: 'rolled-back',
      reasons: [{ message: 'an engine does not stop' }],
    });
    expect(driver.calls).toEqual([]);
  });

  it('heeds the signal between steps and puts back what was changed', async () => {
    const driver = createModelDriver(aModel(2, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'QPX/NPS1', 'CPX/NPS1');
    const controller = new AbortController();
    const stopped = new Error('stopped by the user');
    driver.intercept = (_, count) => {
      if (count === 0) controller.abort(stopped);
      return null;
    };
    const call = applyRepartition({ ...bench.options, plan, signal: controller.signal });
    await expect(bench.run(call)).rejects.toBe(stopped);
    expect(driver.calls).toEqual(['set-compute QPX', 'set-compute SPX']);
    expect(shown(driver.machine())).toBe('SPX/NPS1 SPX/NPS1');
  });

  it('is refused to the second of two', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'CPX/NPS1');
    const [first, second] = await bench.run(
      Promise.allSettled([
        applyRepartition({ ...bench.options, plan }),
        applyRepartition({ ...bench.options, plan }),
      ]),
    );
    expect(first).toMatchObject({ status: 'fulfilled', value: { outcome: 'applied' } });
    expect(second).toMatchObject({
      status: 'rejected',
      reason: { code: 'ERR_STATE_LOCKED', kind: 'conflict' },
    });
  });

  it('is refused while another plan is unfinished, and a damaged journal is named', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    const unfinished = await planFor(driver, 'CPX/NPS1');
    await bench.store.journal('repartition').append({ type: 'begin', plan: unfinished, at: 1 });
    const plan = await planFor(driver, 'DPX/NPS1');
    await expect(applyRepartition({ ...bench.options, plan })).rejects.toMatchObject({
      code: 'ERR_REPARTITION_UNFINISHED',
    });
    await bench.store.journal('repartition').append({ type: 'begin', plan: {} });
    await expect(recoverRepartition(bench.options)).rejects.toMatchObject({
      code: 'ERR_STATE_CORRUPT',
    });
  });

  it('stands when the journal cannot be shortened', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    const old = await planFor(driver, 'DPX/NPS1');
    for (let turn = 0; turn < 250; turn += 1) {
      await bench.store.journal('repartition').append({ type: 'begin', plan: old, at: 1 });
      const end = {
        type: 'end',
        id: old.id,
        at: 1,
        outcome: 'rolled-back',
        observed: null,
        error: null,
      };
      await bench.store.journal('repartition').append(end);
    }
    const journal: StateStore['journal'] = (name) => ({
      ...bench.store.journal<never>(name),
      compact: async () => {
        throw new Error('disk full');
      },
    });
    const plan = await planFor(driver, 'CPX/NPS1');
    const options = { ...bench.options, store: { ...bench.store, journal }, plan };
    expect(await applyRepartition(options)).toMatchObject({ outcome: 'applied' });
    expect(bench.logger.records.map((record) => record.event)).toContain(
      'repartition-history-kept',
    );
  });

  it('keeps the journal short', async () => {
    const driver = createModelDriver(aModel(1, 1));
    const bench = aBench(driver);
    for (let turn = 0; turn < 130; turn += 1) {
      const plan = await planFor(driver, turn % 2 === 0 ? 'CPX/NPS1' : 'SPX/NPS1');
      expect(await applyRepartition({ ...bench.options, plan })).toMatchObject({ ok: true });
    }
    expect((await readRepartitionHistory(bench.store)).length).toBeLessThanOrEqual(400);
  });
});

/** A store and a driver that die together after `after` effects, as a process that is killed does. */
function mortal(store: StateStore, driver: ModelDriver, after: number) {
  let effects = 0;
  const dead = (): boolean => effects > after;
  const effect = async <T>(work: () => Promise<T>): Promise<T> => {
    if (dead()) throw new Error('dead');
    effects += 1;
    // Dies before the last effect when `after` is even, behind it when it is odd.
    if (dead() && after % 2 === 0) throw new Error('killed');
    const value = await work();
    if (dead()) throw new Error('killed');
    return value;
  };
  const journal: StateStore['journal'] = (name) => {
    const inner = store.journal<never>(name);
    return { ...inner, append: (record) => effect(() => inner.append(record as never)) };
  };
  return {
    dead,
    store: { ...store, journal },
    driver: {
      ...driver,
      discover: async () => {
        if (dead()) throw new Error('dead');
        return driver.discover();
      },
      setComputeMode: (...call) => effect(() => driver.setComputeMode(...call)),
      stageMemoryMode: (...call) => effect(() => driver.stageMemoryMode(...call)),
      reload: (...call) => effect(() => driver.reload(...call)),
    } satisfies Partial<ModelDriver> as ModelDriver,
  };
}

describe('a crash', () => {
  it.each([
    ['a compute switch', ['QPX/NPS1', 'CPX/NPS1']],
    ['a memory switch', ['CPX/NPS4', 'CPX/NPS4']],
    ['both', ['QPX/NPS4', 'CPX/NPS4']],
  ] as const)('at any point of %s leaves the old or the new layouts', async (_, wanted) => {
    const outcomes = new Set<string>();
    for (const fails of [false, true]) {
      for (let point = 0; ; point += 1) {
        const driver = createModelDriver(aModel(2, 1));
        const bench = aBench(driver);
        const plan = await planFor(driver, ...wanted);
        const last = plan.steps.at(-1)?.change;
        driver.intercept = (operation) => {
          const target = operation.kind === 'reload' ? driver.machine()[0]?.staged : operation.to;
          const wantedTarget = last?.kind === 'reload' ? 'NPS4' : last?.to;
          if (fails && operation.kind === last?.kind && target === wantedTarget) throw ioError();
          return null;
        };
        const process = mortal(bench.store, driver, point);
        const call = applyRepartition({ ...bench.options, ...process, plan });
        const died = await bench.run(
          call.then(
            () => false,
            () => process.dead(),
          ),
        );
        driver.intercept = () => null;
        const recovered = await bench.run(recoverRepartition(bench.options));
        const machine = shown(driver.machine());
        expect([wanted.join(' '), 'SPX/NPS1 SPX/NPS1']).toContain(machine);
        expect(await recoverRepartition(bench.options)).toBeNull();
        if (recovered !== null) outcomes.add(recovered.outcome);
        if (!died) break;
      }
    }
    expect([...outcomes].sort()).toEqual(['applied', 'rolled-back']);
  });

  it('is taken up again by the same plan', async () => {
    const driver = createModelDriver(aModel(2, 1));
    const bench = aBench(driver);
    const plan = await planFor(driver, 'QPX/NPS4', 'CPX/NPS4');
    const process = mortal(bench.store, driver, 5);
    await expect(
      bench.run(applyRepartition({ ...bench.options, ...process, plan })),
    ).rejects.toThrow();
    expect(await bench.run(applyRepartition({ ...bench.options, plan }))).toMatchObject({
      outcome: 'applied',
    });
    expect(shown(driver.machine())).toBe('QPX/NPS4 CPX/NPS4');
  });
});
