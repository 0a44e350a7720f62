import { describe, expect, it } from 'vitest';
import type { FaultRule } from '../src/index.js';
import { CARD, createBench, someSimulatedCards } from './simulated-machine.js';

describe('faults', () => {
  it.each([
    ['busy', 'ERR_DEVICE_BUSY'],
    ['io', 'ERR_DRIVER_IO'],
    ['permission', 'ERR_DRIVER_PERMISSION'],
  ] as const)('%s for two tries, after one that went well', async (kind, code) => {
    const rule: FaultRule = { on: 'set-compute', card: CARD, after: 1, times: 2, effect: { kind } };
    const { driver, run } = createBench({ faults: [rule] });
    const start = await driver.discover();
    const well = await run(driver.setComputeMode(CARD, 'DPX', { expect: start.generation }));
    for (let turn = 0; turn < 2; turn += 1) {
      const call = driver.setComputeMode(CARD, 'CPX', { expect: well.generation });
      await expect(call).rejects.toMatchObject({ code });
    }
    const after = await run(driver.setComputeMode(CARD, 'CPX', { expect: well.generation }));
    expect(after.cards[0]?.layout.compute).toBe('CPX');
    expect(driver.faults.fired()).toEqual([rule, rule]);
  });

  it('a set that says ok and changes nothing', async () => {
    const { driver, run } = createBench({
      faults: [
        { on: 'set-compute', effect: { kind: 'no-change' } },
        { on: 'stage-memory', effect: { kind: 'no-change' } },
      ],
    });
    const start = await driver.discover();
    const same = await run(driver.setComputeMode(CARD, 'CPX', { expect: start.generation }));
    expect(same.cards[0]?.layout.compute).toBe('SPX');
    const staged = await driver.stageMemoryMode(CARD, 'NPS4', { expect: same.generation });
    const after = await run(driver.reload({ expect: staged.generation }));
    expect(after.cards[0]?.layout.memory).toBe('NPS1');
  });

  it('a reload that changes half of the cards', async () => {
    const { driver, run } = createBench({
      cards: someSimulatedCards(4),
      faults: [{ on: 'reload', effect: { kind: 'half' } }],
    });
    const start = await driver.discover();
    const staged = await driver.stageMemoryMode(CARD, 'NPS4', { expect: start.generation });
    const after = await run(driver.reload({ expect: staged.generation }));
    expect(after.cards.map((card) => `${card.layout.compute}/${card.layout.memory}`)).toEqual([
      'CPX/NPS4',
      'CPX/NPS4',
      'SPX/NPS1',
      'SPX/NPS1',
    ]);
  });

  it.each([
    [true, 'CPX'],
    [false, 'SPX'],
  ] as const)('a hang whose outcome is unknown (applies: %s)', async (applies, mode) => {
    const effect = { kind: 'hang', ms: 200_000, applies } as const;
    const { driver, run, clock } = createBench({ faults: [{ on: 'set-compute', effect }] });
    const start = await driver.discover();
    const call = run(driver.setComputeMode(CARD, 'CPX', { expect: start.generation }));
    await expect(call).rejects.toMatchObject({ code: 'ERR_SWITCH_TIMEOUT', kind: 'timeout' });
    const during = await driver.discover();
    expect(during.cards[0]?.layout.compute).toBeNull();
    for (const again of [
      driver.setComputeMode(CARD, 'DPX', { expect: during.generation }),
      driver.stageMemoryMode(CARD, 'NPS4', { expect: during.generation }),
      driver.reload({ expect: during.generation }),
    ]) {
      await expect(again).rejects.toMatchObject({ code: 'ERR_DEVICE_BUSY' });
    }
    await clock.advance(100_000);
    expect((await driver.discover()).cards[0]?.layout.compute).toBe(mode);
  });

  it('a machine that cannot be read, and a script replaced on the way', async () => {
    const { driver } = createBench({ faults: [{ on: 'discover', effect: { kind: 'io' } }] });
    await expect(driver.discover()).rejects.toMatchObject({
      code: 'ERR_DRIVER_IO',
      kind: 'unavailable',
    });
    await expect(driver.discover()).resolves.toMatchObject({ node: 'node-a' });
    driver.faults.script([{ on: 'discover', effect: { kind: 'io' } }]);
    expect(driver.faults.fired()).toEqual([]);
    await expect(driver.discover()).rejects.toMatchObject({ code: 'ERR_DRIVER_IO' });
  });
});

describe('what is worse than a refusal', () => {
  it('a card that says another mode than it has, until it is switched again', async () => {
    const { driver, run } = createBench({
      faults: [{ on: 'set-compute', effect: { kind: 'wrong-report', compute: 'SPX' } }],
    });
    const { generation } = await driver.discover();
    const after = await run(driver.setComputeMode(CARD, 'CPX', { expect: generation }));
    expect(after.cards[0]?.layout.compute).toBe('SPX');
    expect(after.cards[0]?.partitions).toHaveLength(8);
    expect(after.problems.map((problem) => problem.code)).toEqual(['LAYOUT_DISAGREES']);
    const next = await run(driver.setComputeMode(CARD, 'QPX', { expect: after.generation }));
    expect(next.cards[0]?.layout.compute).toBe('QPX');
    expect(next.problems).toEqual([]);
  });

  it.each([0, 1, 500, 1500, 6000])(
    'a power cut %i ms into a reload: everything is as after switching on',
    async (afterMs) => {
      const { driver, run } = createBench({ cards: someSimulatedCards(2) });
      const start = await driver.discover();
      const staged = await driver.stageMemoryMode(CARD, 'NPS4', { expect: start.generation });
      driver.faults.script([{ on: 'reload', effect: { kind: 'power-cut', afterMs } }]);
      const call = run(driver.reload({ expect: staged.generation }));
      await expect(call).rejects.toMatchObject({ code: 'ERR_DRIVER_IO', kind: 'unavailable' });
      const after = await driver.discover();
      expect(after.cards.map((card) => card.layout)).toEqual(start.cards.map((c) => c.layout));
      // What was staged is lost with it.
      const again = await run(driver.reload({ expect: after.generation }));
      expect(again.cards.map((card) => card.layout.memory)).toEqual(['NPS1', 'NPS1']);
    },
  );
});

describe('faults by chance', () => {
  const play = async (seed: number): Promise<readonly string[]> => {
    const { driver, run } = createBench();
    driver.faults.random({ seed, probability: 0.6, most: 5 });
    for (let turn = 0; turn < 20; turn += 1) {
      const seen = await driver.discover().catch(() => null);
      if (seen === null) continue;
      const to = turn % 2 === 0 ? 'CPX' : 'SPX';
      await run(driver.setComputeMode(CARD, to, { expect: seen.generation }).catch(() => null));
    }
    return driver.faults.fired().map((rule) => `${rule.on} ${rule.effect.kind}`);
  };

  it('are the same for the same seed, others for another, and not more than were allowed', async () => {
    const first = await play(1);
    expect(first).toHaveLength(5);
    expect(await play(1)).toEqual(first);
    expect(await play(2)).not.toEqual(first);
  });
});
