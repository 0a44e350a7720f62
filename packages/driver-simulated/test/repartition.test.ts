/** The transaction of `partitioning` over the simulated machine, with its timing, faults, crashes and power cuts. */
import {
  type CardId,
  createRng,
  formatLayout,
  type GpuDriver,
  gib,
  instanceId,
  nodeName,
  type StateStore,
  toLayout,
  workloadName,
} from '@aim-gpu/core';
import { PRODUCTS } from '@aim-gpu/core/products';
import {
  applyRepartition,
  type CardTarget,
  expectedLoadMode,
  planRepartition,
  type RepartitionOptions,
  type RepartitionPlan,
  recoverRepartition,
} from '@aim-gpu/partitioning';
import { describe, expect, it } from 'vitest';
import type { FaultRule, SimulatedDriverOptions } from '../src/index.js';
import { NEWEST_KERNEL } from '../src/index.js';
import { loadedComputeMode } from '../src/kernel.js';
import { type Bench, CARD, createBench, someSimulatedCards } from './simulated-machine.js';

const OLD = 'SPX/NPS1 SPX/NPS1';

async function planFor(bench: Bench, wanted: readonly string[]): Promise<RepartitionPlan> {
  const inventory = await bench.driver.discover();
  const desired = inventory.cards.map((card, index) => {
    const layout = toLayout(wanted[index] ?? '');
    if (layout === null) throw new Error('a layout for each card');
    return { card: card.id, layout };
  });
  const result = planRepartition({ inventory, desired, assignments: [] });
  if (!result.ok) throw new Error(JSON.stringify(result.reasons));
  return result.plan;
}

const optionsOf = (bench: Bench): RepartitionOptions => ({
  driver: bench.driver,
  store: bench.store,
  clock: bench.clock,
  drain: async () => undefined,
});

async function shown(bench: Bench): Promise<string> {
  const { cards } = await bench.again({ faults: [] }).discover();
  return cards.map(({ layout }) => `${layout.compute}/${layout.memory}`).join(' ');
}

const twoCards = (more: Partial<SimulatedDriverOptions> = {}): Bench =>
  createBench({ cards: someSimulatedCards(2), ...more });

describe('a repartition of the simulated machine', () => {
  it.each([
    ['driver', 'short'],
    ['caller', 'short'],
    ['caller', 'realistic'],
  ] as const)('settled by the %s, %s timing', async (settle, timing) => {
    const bench = twoCards({ settle, timing, kernel: { loadMode: 'pairs' } });
    const plan = await planFor(bench, ['QPX/NPS4', 'CPX/NPS4']);
    const result = await bench.run(applyRepartition({ ...optionsOf(bench), plan }));
    expect(result).toMatchObject({ ok: true, outcome: 'applied' });
    expect(await shown(bench)).toBe('QPX/NPS4 CPX/NPS4');
  });

  it.each<[string, FaultRule, string]>([
    ['EBUSY for five tries', { on: 'set-compute', times: 5, effect: { kind: 'busy' } }, 'applied'],
    ['EBUSY for ever', { on: 'set-compute', times: 1e6, effect: { kind: 'busy' } }, 'rolled-back'],
    ['EIO once', { on: 'set-compute', effect: { kind: 'io' } }, 'applied'],
    ['EIO of a reload, twice', { on: 'reload', times: 2, effect: { kind: 'io' } }, 'rolled-back'],
    ['EPERM', { on: 'stage-memory', effect: { kind: 'permission' } }, 'rolled-back'],
    [
      'stage says ok, nothing changed',
      { on: 'stage-memory', effect: { kind: 'no-change' } },
      'applied',
    ],
    [
      'reload says ok, nothing changed, twice',
      { on: 'reload', times: 2, effect: { kind: 'no-change' } },
      'rolled-back',
    ],
    [
      'switch says ok, nothing changed',
      { on: 'set-compute', effect: { kind: 'no-change' } },
      'applied',
    ],
    ['half of the cards changed', { on: 'reload', effect: { kind: 'half' } }, 'applied'],
    [
      'half of the cards changed, twice',
      { on: 'reload', times: 2, effect: { kind: 'half' } },
      'rolled-back',
    ],
    [
      'hang that works in the end',
      { on: 'set-compute', effect: { kind: 'hang', ms: 150_000, applies: true } },
      'applied',
    ],
    [
      'hang without effect',
      { on: 'set-compute', effect: { kind: 'hang', ms: 150_000, applies: false } },
      'applied',
    ],
  ])('%s', async (_, fault, outcome) => {
    const bench = twoCards({ faults: [fault] });
    const wanted = ['QPX/NPS4', 'CPX/NPS4'];
    const plan = await planFor(bench, wanted);
    const result = await bench.run(applyRepartition({ ...optionsOf(bench), plan }));
    expect(result.outcome).toBe(outcome);
    expect(await shown(bench)).toBe(outcome === 'applied' ? wanted.join(' ') : OLD);
  });

  it('waits for an engine that is still going', async () => {
    const bench = twoCards();
    const instance = instanceId(workloadName('chat'), 0);
    const tenancy = await bench.driver.sharedDevice.attach({
      instance,
      pid: 100,
      card: CARD,
      partition: 0,
      memoryBytes: gib(1),
    });
    const plan = await planFor(bench, ['CPX/NPS1', 'SPX/NPS1']);
    bench.clock.timer(7000, () => void tenancy.release());
    const result = await bench.run(applyRepartition({ ...optionsOf(bench), plan }));
    expect(result.outcome).toBe('applied');
  });
});

/** A store and a driver that die together at the effect number `point`, before it or behind it. */
function mortal(bench: Bench, point: number, behind: boolean) {
  let effects = 0;
  let died = false;
  const effect = async <T>(work: () => Promise<T>): Promise<T> => {
    if (died) throw new Error('dead');
    effects += 1;
    died = effects === point;
    if (died && !behind) throw new Error('killed');
    const value = work();
    if (died) {
      value.catch(() => undefined);
      // The call has gone to the machine; its process does not live to see the answer.
      await Promise.resolve();
      throw new Error('killed');
    }
    return value;
  };
  const journal: StateStore['journal'] = (name) => {
    const inner = bench.store.journal<never>(name);
    return { ...inner, append: (record) => effect(() => inner.append(record as never)) };
  };
  const driver: GpuDriver = {
    ...bench.driver,
    discover: (call) => (died ? Promise.reject(new Error('dead')) : bench.driver.discover(call)),
    setComputeMode: (...call) => effect(() => bench.driver.setComputeMode(...call)),
    stageMemoryMode: (...call) => effect(() => bench.driver.stageMemoryMode(...call)),
    reload: (...call) => effect(() => bench.driver.reload(...call)),
  };
  return { options: { store: { ...bench.store, journal }, driver }, died: () => died };
}

describe.each([
  ['compute switch', ['QPX/NPS1', 'CPX/NPS1']],
  ['memory switch', ['CPX/NPS4', 'CPX/NPS4']],
  ['both', ['QPX/NPS4', 'DPX/NPS1']],
] as const)('killed at every effect of a %s', (name, layouts) => {
  const hives = name === 'both' ? 2 : 1;
  it.each([
    ['before it', false, false],
    ['behind it', true, false],
    ['behind it, with a power cut', true, true],
  ] as const)('%s: the old or the new layouts', async (_, behind, powerCut) => {
    const wanted = layouts.join(' ');
    for (let point = 1; ; point += 1) {
      const bench = createBench({ cards: someSimulatedCards(2, 'MI300X', hives) });
      const plan = await planFor(bench, layouts);
      const killed = mortal(bench, point, behind);
      const call = applyRepartition({ ...optionsOf(bench), ...killed.options, plan });
      await bench.run(call.catch(() => undefined));
      if (powerCut && killed.died()) await bench.driver.reboot();
      const restarted = { ...bench, driver: bench.again() };
      await bench.run(recoverRepartition(optionsOf(restarted)));
      // Whoever plans next reads whole cards, not ones whose partitions are still appearing.
      expect((await restarted.driver.discover()).problems).toEqual([]);
      expect([OLD, wanted]).toContain(await shown(bench));
      expect(await bench.run(recoverRepartition(optionsOf(restarted)))).toBeNull();
      if (!killed.died()) break;
    }
  });
});

it('the forecast of the planner is the newest kernel’s choice', async () => {
  for (const product of PRODUCTS) {
    const bench = createBench({ cards: someSimulatedCards(1, product.name) });
    const [card] = (await bench.driver.discover()).cards;
    if (card === undefined) throw new Error('a card');
    for (const memory of new Set(product.layouts.map((layout) => layout.memory))) {
      expect(expectedLoadMode(card, memory)).toBe(
        loadedComputeMode(product, NEWEST_KERNEL, memory),
      );
    }
  }
});

it('random wishes over random faults end in the old or the new layouts, or in a named stop', async () => {
  const rng = createRng(20_261_125);
  const outcomes = new Map<string, number>();
  const effects = [
    { kind: 'busy' },
    { kind: 'io' },
    { kind: 'no-change' },
    { kind: 'permission' },
  ] as const;
  for (let round = 0; round < 120; round += 1) {
    const bench = createBench({
      node: nodeName('node-a'),
      cards: someSimulatedCards(3, 'MI300X', 2),
      rng,
    });
    for (let turn = 0; turn < 5; turn += 1) {
      const inventory = await bench.driver.discover();
      const desired = inventory.cards.map((card) => {
        const offered = card.offered ?? [];
        const layout = offered[Math.floor(rng.next() * offered.length)];
        if (layout === undefined) throw new Error('a layout');
        return { card: card.id, layout };
      });
      const planned = planRepartition({ inventory, desired, assignments: [] });
      if (!planned.ok) continue;
      bench.driver.faults.script(
        (['set-compute', 'stage-memory', 'reload'] as const).map((on) => ({
          on,
          after: Math.floor(rng.next() * 3),
          times: 1 + Math.floor(rng.next() * 3),
          effect: effects[Math.floor(rng.next() * effects.length)] ?? effects[0],
        })),
      );
      const result = await bench.run(applyRepartition({ ...optionsOf(bench), plan: planned.plan }));
      outcomes.set(result.outcome, (outcomes.get(result.outcome) ?? 0) + 1);
      const { cards } = await bench.again({ faults: [] }).discover();
      const are = cards.map(({ id, layout }) => `${id} ${layout.compute}/${layout.memory}`);
      if (result.outcome === 'applied') expect(are).toEqual(written(planned.plan.to));
      if (result.outcome === 'rolled-back') expect(are).toEqual(written(planned.plan.from));
    }
  }
  expect(outcomes.get('applied')).toBeGreaterThan(20);
  expect(outcomes.get('rolled-back')).toBeGreaterThan(5);
});

function written(targets: readonly CardTarget[]): readonly string[] {
  return targets.map(
    ({ card, layout }: { card: CardId; layout: CardTarget['layout'] }) =>
      `${card} ${formatLayout(layout)}`,
  );
}
