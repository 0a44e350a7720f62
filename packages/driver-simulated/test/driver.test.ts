import { AimError, cardId, nodeName } from '@aim-gpu/core';
import { PRODUCTS } from '@aim-gpu/core/products';
import { describe, expect, it } from 'vitest';
import { readSimulatedNodes } from '../src/index.js';
import { CARD, createBench, someSimulatedCards } from './simulated-machine.js';

const codeOf = async (call: Promise<unknown>): Promise<string> => {
  const error = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!AimError.is(error)) throw new Error('expected an AimError', { cause: error });
  return error.code;
};

describe('a new machine', () => {
  it.each(PRODUCTS.map((product) => [product.name]))(
    '%s starts in its initial layout',
    async (name) => {
      const { driver } = createBench({ cards: someSimulatedCards(8, name) });
      const inventory = await driver.discover();
      expect(inventory.cards).toHaveLength(8);
      for (const card of inventory.cards) {
        expect(card.layout).toEqual({ compute: 'SPX', memory: 'NPS1' });
        expect(card.partitions).toHaveLength(1);
      }
      expect(inventory.cards.map((card) => card.partitions[0]?.renderMinor)).toEqual([
        128, 136, 144, 152, 160, 168, 176, 184,
      ]);
      expect(inventory.cards.map((card) => card.partitions[0]?.kfdNode)).toEqual([
        2, 3, 4, 5, 6, 7, 8, 9,
      ]);
    },
  );

  it('writes nothing before the first change, and reads the same twice', async () => {
    const { driver, store, again } = createBench();
    const first = await driver.discover();
    expect(await readSimulatedNodes(store)).toEqual([]);
    expect(await again().discover()).toEqual(first);
  });

  it('refuses an unknown product', async () => {
    const { driver } = createBench({ cards: someSimulatedCards(1, 'MI999') });
    expect(await codeOf(driver.discover())).toBe('ERR_CONFIG_INVALID');
  });
});

describe('compute switch', () => {
  it('takes its time, shows nothing meanwhile, and reads back', async () => {
    const { driver, clock, run, again } = createBench();
    const before = await driver.discover();
    const started = clock.monoMs();
    const call = driver.setComputeMode(CARD, 'CPX', { expect: before.generation });
    await clock.advance(100);
    const during = await again().discover();
    expect(during.cards[0]?.layout.compute).toBeNull();
    expect(during.cards[0]?.partitions).toEqual([]);
    expect(during.problems.map((problem) => problem.code)).toEqual(['DEVICE_IN_RESET']);
    const after = await run(call);
    expect(clock.monoMs() - started).toBeLessThanOrEqual(8000);
    expect(after.cards[0]?.layout).toEqual({ compute: 'CPX', memory: 'NPS1' });
    expect(after.cards[0]?.partitions).toHaveLength(8);
    expect(after.cards[0]?.partitions[3]).toMatchObject({
      computeUnits: 38,
      memoryBytes: 25_767_706_624,
      renderMinor: 131,
    });
    expect(after.generation).not.toBe(before.generation);
    expect(await again().discover()).toEqual(after);
  });

  it('returns before all partitions appear when the caller settles', async () => {
    const { driver, clock, run } = createBench({ settle: 'caller' });
    const { generation } = await driver.discover();
    const early = await run(driver.setComputeMode(CARD, 'DPX', { expect: generation }));
    expect(early.cards[0]?.layout.compute).toBe('DPX');
    expect(early.cards[0]?.partitions).toHaveLength(1);
    await clock.advance(2000);
    expect((await driver.discover()).cards[0]?.partitions).toHaveLength(2);
  });

  it('takes the next change while devices are still appearing, after a reload as well', async () => {
    const { driver, run, clock } = createBench({ settle: 'caller' });
    const start = await driver.discover();
    const dpx = await run(driver.setComputeMode(CARD, 'DPX', { expect: start.generation }));
    const qpx = await run(driver.setComputeMode(CARD, 'QPX', { expect: dpx.generation }));
    expect(qpx.cards[0]?.layout.compute).toBe('QPX');
    const loaded = await run(driver.reload({ expect: qpx.generation }));
    const staged = await driver.stageMemoryMode(CARD, 'NPS2', { expect: loaded.generation });
    const cpx = await run(driver.setComputeMode(CARD, 'CPX', { expect: staged.generation }));
    await clock.advance(3000);
    const after = await driver.discover();
    expect(after.cards[0]?.partitions).toHaveLength(8);
    expect(cpx.cards[0]?.layout.compute).toBe('CPX');
    const nps2 = await run(driver.reload({ expect: after.generation }));
    expect(nps2.cards[0]?.layout.memory).toBe('NPS2');
  });

  it('is finished by the machine when the process that asked for it is gone', async () => {
    const { driver, clock, again } = createBench();
    const { generation } = await driver.discover();
    const controller = new AbortController();
    const call = driver.setComputeMode(CARD, 'QPX', {
      expect: generation,
      signal: controller.signal,
    });
    await clock.advance(50);
    controller.abort(new Error('killed'));
    await expect(call).rejects.toThrow('killed');
    await clock.advance(8000);
    expect((await again().discover()).cards[0]?.layout.compute).toBe('QPX');
  });

  it('ends also when the wall clock is set back', async () => {
    const { driver, clock, run, again } = createBench();
    const { generation } = await driver.discover();
    const call = driver.setComputeMode(CARD, 'QPX', { expect: generation });
    await clock.advance(50);
    clock.stepWall(-3_600_000);
    expect((await run(call)).cards[0]?.layout.compute).toBe('QPX');
    expect((await again().discover()).cards[0]?.partitions).toHaveLength(4);
  });

  it('lists a switched card anew, behind the others', async () => {
    const { driver, run } = createBench({ cards: someSimulatedCards(3) });
    const { generation } = await driver.discover();
    const after = await run(driver.setComputeMode(CARD, 'DPX', { expect: generation }));
    expect(after.cards.map((card) => card.partitions.map((entry) => entry.kfdNode))).toEqual([
      [4, 5],
      [2],
      [3],
    ]);
  });

  it('does nothing for the mode the card has', async () => {
    const { driver } = createBench();
    const before = await driver.discover();
    expect(await driver.setComputeMode(CARD, 'SPX', { expect: before.generation })).toEqual(before);
  });

  it.each([
    ['MI300X', 'TPX', 'EINVAL'],
    ['MI300A', 'DPX', 'EINVAL'],
    ['MI300A', 'QPX', 'EINVAL'],
    ['MI308X', 'QPX', 'EINVAL'],
  ] as const)('%s refuses %s', async (product, mode, errno) => {
    const { driver } = createBench({ cards: someSimulatedCards(1, product) });
    const { generation } = await driver.discover();
    await expect(driver.setComputeMode(CARD, mode, { expect: generation })).rejects.toMatchObject({
      code: 'ERR_LAYOUT_UNSUPPORTED',
      kind: 'refused',
      details: { errno },
    });
  });

  it('refuses a stale generation and an unknown card', async () => {
    const { driver } = createBench();
    const { generation } = await driver.discover();
    expect(await codeOf(driver.setComputeMode(CARD, 'CPX', { expect: 'other' }))).toBe(
      'ERR_GENERATION_STALE',
    );
    const other = cardId('0000:ff:00.0');
    expect(await codeOf(driver.setComputeMode(other, 'CPX', { expect: generation }))).toBe(
      'ERR_DEVICE_UNKNOWN',
    );
    expect(await codeOf(driver.holders(other))).toBe('ERR_DEVICE_UNKNOWN');
  });

  it('refuses a caller without the right', async () => {
    const { driver } = createBench({ privileged: false });
    const { generation } = await driver.discover();
    expect(await codeOf(driver.reload({ expect: generation }))).toBe('ERR_DRIVER_PERMISSION');
  });
});

describe('memory mode', () => {
  it('is staged until a reload, which resets every compute mode', async () => {
    const { driver, clock, run } = createBench({ cards: someSimulatedCards(4, 'MI300X', 2) });
    const start = await driver.discover();
    const staged = await driver.stageMemoryMode(CARD, 'NPS4', { expect: start.generation });
    expect(staged.cards).toEqual(start.cards);
    expect(staged.generation).not.toBe(start.generation);
    const began = clock.monoMs();
    const call = driver.reload({ expect: staged.generation });
    await clock.advance(200);
    expect(await driver.discover()).toMatchObject({
      cards: [],
      problems: [{ code: 'DRIVER_RELOADING' }],
    });
    const after = await run(call);
    expect(clock.monoMs() - began).toBeLessThanOrEqual(20_000);
    expect(after.cards.map((card) => card.layout)).toEqual([
      { compute: 'CPX', memory: 'NPS4' },
      { compute: 'CPX', memory: 'NPS4' },
      { compute: 'SPX', memory: 'NPS1' },
      { compute: 'SPX', memory: 'NPS1' },
    ]);
    const spx = driver.setComputeMode(CARD, 'SPX', { expect: after.generation });
    await expect(spx).rejects.toMatchObject({
      code: 'ERR_LAYOUT_UNSUPPORTED',
      details: {
        machine:
          'Invalid compute partition mode requested, requested: SPX, available memory partitions: 4',
      },
    });
  });

  it('comes up in pairs on an older kernel', async () => {
    const { driver, run } = createBench({ kernel: { loadMode: 'pairs' } });
    const start = await driver.discover();
    const staged = await driver.stageMemoryMode(CARD, 'NPS4', { expect: start.generation });
    const after = await run(driver.reload({ expect: staged.generation }));
    expect(after.cards[0]?.layout).toEqual({ compute: 'QPX', memory: 'NPS4' });
  });

  it('asking for the current mode does not take back what was asked for', async () => {
    const { driver, run } = createBench();
    const start = await driver.discover();
    const staged = await driver.stageMemoryMode(CARD, 'NPS4', { expect: start.generation });
    const same = await driver.stageMemoryMode(CARD, 'NPS1', { expect: staged.generation });
    expect(same.generation).toBe(staged.generation);
    const after = await run(driver.reload({ expect: same.generation }));
    expect(after.cards[0]?.layout.memory).toBe('NPS4');
  });

  it.each([
    ['MI300A', 'NPS1', 'EOPNOTSUPP'],
    ['MI355X', 'NPS4', 'EINVAL'],
    ['MI300X', 'NPS8', 'EINVAL'],
  ] as const)('%s refuses %s', async (product, mode, errno) => {
    const { driver } = createBench({ cards: someSimulatedCards(1, product) });
    const { generation } = await driver.discover();
    await expect(driver.stageMemoryMode(CARD, mode, { expect: generation })).rejects.toMatchObject({
      code: 'ERR_LAYOUT_UNSUPPORTED',
      details: { errno },
    });
  });

  it('is lost by a power cut, as every layout is', async () => {
    const { driver, run } = createBench();
    const start = await driver.discover();
    const cpx = await run(driver.setComputeMode(CARD, 'CPX', { expect: start.generation }));
    await driver.stageMemoryMode(CARD, 'NPS4', { expect: cpx.generation });
    const cold = await driver.reboot();
    expect(cold.cards[0]?.layout).toEqual({ compute: 'SPX', memory: 'NPS1' });
    const after = await run(driver.reload({ expect: cold.generation }));
    expect(after.cards[0]?.layout).toEqual({ compute: 'SPX', memory: 'NPS1' });
  });
});

describe('identity', () => {
  it.each([
    ['partition', true],
    ['card', false],
  ] as const)('uuid by %s', async (uuid, own) => {
    const { driver, run } = createBench({ kernel: { uuid } });
    const start = await driver.discover();
    expect(start.cards[0]?.partitions[0]?.uuid).toMatch(/^GPU-[0-9a-f]{16}$/);
    const after = await run(driver.setComputeMode(CARD, 'CPX', { expect: start.generation }));
    const uuids = after.cards[0]?.partitions.map((partition) => partition.uuid) ?? [];
    expect(new Set(uuids).size).toBe(own ? 8 : 1);
    expect(uuids.every((entry) => entry === null)).toBe(!own);
  });
});

describe('another card list', () => {
  it('starts the machine anew', async () => {
    const { driver, run, again } = createBench();
    const start = await driver.discover();
    await run(driver.setComputeMode(CARD, 'CPX', { expect: start.generation }));
    const other = await again({ cards: someSimulatedCards(2) }).discover();
    expect(other.cards.map((card) => card.layout.compute)).toEqual(['SPX', 'SPX']);
  });

  it('is refused while a process uses the machine', async () => {
    const { driver, again, processes } = createBench();
    await driver.hold({ card: CARD, pid: 100, command: 'exporter' });
    const other = again({ cards: someSimulatedCards(2) });
    expect(await codeOf(other.discover())).toBe('ERR_DEVICE_BUSY');
    processes.alive.delete(100);
    expect((await other.discover()).cards).toHaveLength(2);
  });

  it('may be left out for the machine that is stored', async () => {
    const { driver, run, store, again, clock } = createBench();
    const start = await driver.discover();
    const after = await run(driver.setComputeMode(CARD, 'CPX', { expect: start.generation }));
    const { createSimulatedDriver } = await import('../src/index.js');
    const { createRng } = await import('@aim-gpu/core');
    const options = { store, clock, rng: createRng(1), timing: 'short' } as const;
    expect(await readSimulatedNodes(store)).toEqual(['node-a']);
    const stored = createSimulatedDriver({ node: nodeName('node-a'), ...options });
    expect(await stored.discover()).toEqual(after);
    const none = createSimulatedDriver({ node: nodeName('node-b'), ...options });
    expect(await codeOf(none.discover())).toBe('ERR_DEVICE_UNKNOWN');
    expect(again().id).toBe('simulated');
  });

  it('says so when the stored machine is unreadable', async () => {
    const { driver, store } = createBench();
    await store
      .snapshot('simulated-machines')
      .write({ format: 1, machines: { 'node-a': { cards: 3 } } });
    expect(await codeOf(driver.discover())).toBe('ERR_STATE_CORRUPT');
    await store.snapshot('simulated-machines').write({ format: 2 });
    expect(await codeOf(driver.discover())).toBe('ERR_STATE_CORRUPT');
  });
});

describe('watch', () => {
  it('tells each change until it is stopped', async () => {
    const { driver, clock, run } = createBench();
    const seen: string[] = [];
    const stop = driver.watch(({ after }) => seen.push(after.cards[0]?.layout.compute ?? 'none'));
    await clock.advance(1000);
    const { generation } = await driver.discover();
    await run(driver.setComputeMode(CARD, 'CPX', { expect: generation }));
    await clock.advance(1000);
    expect(seen[0]).toBe('none');
    expect(seen.at(-1)).toBe('CPX');
    stop();
    expect(clock.pending()).toBe(0);
  });

  it('is stopped by close', async () => {
    const { driver, clock } = createBench();
    driver.watch(() => undefined);
    await clock.advance(600);
    await driver.close();
    await driver.close();
    expect(clock.pending()).toBe(0);
  });
});
