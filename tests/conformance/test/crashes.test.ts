/**
 * The transaction of `partitioning` over both drivers: killed, or the power cut, at every effect it has (each record of
 * the journal, each call of the driver), and every fault of the machine. Prints what came of each.
 */
import { type GpuDriver, type Layout, type StateStore, toLayout } from '@aim-gpu/core';
import {
  type ConformanceFault,
  type ConformanceMachine,
  createMemoryStateStore,
} from '@aim-gpu/core/testing';
import {
  applyRepartition,
  planRepartition,
  type RepartitionOptions,
  type RepartitionPlan,
  recoverRepartition,
} from '@aim-gpu/partitioning';
import { afterAll, describe, expect, it } from 'vitest';
import { type OpenConformance, openRocm, openSimulated } from './support/subjects.js';

const DRIVERS: readonly (readonly [string, OpenConformance])[] = [
  ['simulated', openSimulated],
  ['rocm over a materialized tree', openRocm],
];
const OLD = 'SPX/NPS1 SPX/NPS1';
const MACHINE: ConformanceMachine = { product: 'MI300X', cards: 2, hives: 1, busyScope: 'card' };

const table: string[] = [];
afterAll(() => {
  console.log(['what was done: where it ended', ...table].join('\n'));
});

async function planFor(driver: GpuDriver, wanted: readonly string[]): Promise<RepartitionPlan> {
  const inventory = await driver.discover();
  const desired = inventory.cards.map((card, index) => ({
    card: card.id,
    layout: toLayout(wanted[index] ?? '') as Layout,
  }));
  const planned = planRepartition({ inventory, desired, assignments: [] });
  if (!planned.ok) throw new Error(JSON.stringify(planned.reasons));
  return planned.plan;
}

async function shown(driver: GpuDriver): Promise<string> {
  const { cards } = await driver.discover();
  return cards.map(({ layout }) => `${layout.compute}/${layout.memory}`).join(' ');
}

/** Into how many partitions each card is divided: what it does, whatever mode it says it is in. */
async function divided(driver: GpuDriver): Promise<readonly number[]> {
  const { cards } = await driver.discover();
  return cards.map(({ partitions }) => partitions.length);
}

/** A store and a driver that die together at the effect number `point`: behind it, when the machine has been told. */
function mortal(inner: { readonly store: StateStore; readonly driver: GpuDriver }, point: number) {
  let effects = 0;
  let died = false;
  const effect = async <T>(work: () => Promise<T>): Promise<T> => {
    if (died) throw new Error('dead');
    effects += 1;
    died = effects === point;
    const value = work();
    if (!died) return value;
    value.catch(() => undefined);
    // The call is on its way to the machine; its process does not live to see the answer.
    await new Promise((resolve) => setTimeout(resolve, 5));
    throw new Error('killed');
  };
  const journal: StateStore['journal'] = (name) => {
    const whole = inner.store.journal<never>(name);
    return { ...whole, append: (record) => effect(() => whole.append(record as never)) };
  };
  const { driver } = inner;
  const dying: GpuDriver = {
    ...driver,
    discover: (call) => (died ? Promise.reject(new Error('dead')) : driver.discover(call)),
    setComputeMode: (...call) => effect(() => driver.setComputeMode(...call)),
    stageMemoryMode: (...call) => effect(() => driver.stageMemoryMode(...call)),
    reload: (...call) => effect(() => driver.reload(...call)),
  };
  return { store: { ...inner.store, journal }, driver: dying, died: () => died };
}

describe.each(DRIVERS)('%s', (name, open) => {
  describe.each([
    ['a compute switch', ['QPX/NPS1', 'CPX/NPS1']],
    ['a memory switch', ['CPX/NPS4', 'CPX/NPS4']],
    ['both', ['QPX/NPS4', 'CPX/NPS4']],
  ] as const)('%s', (what, layouts) => {
    it.each([
      ['killed', false],
      ['power cut', true],
    ] as const)('%s at every effect', { timeout: 120_000 }, async (how, powerCut) => {
      const wanted = layouts.join(' ');
      const ends: string[] = [];
      for (let point = 1; ; point += 1) {
        const subject = await open(MACHINE);
        try {
          const store = createMemoryStateStore();
          const options = (more: Pick<RepartitionOptions, 'driver' | 'store'>) => ({
            ...more,
            clock: subject.clock,
            drain: async () => undefined,
          });
          const plan = await planFor(subject.driver, layouts);
          const killed = mortal({ store, driver: subject.driver }, point);
          await applyRepartition({ ...options(killed), plan }).catch(() => undefined);
          if (powerCut && killed.died()) await subject.reboot();
          const next = options({ driver: subject.reopen(), store });
          const recovered = await recoverRepartition(next);
          const end = await shown(next.driver);
          expect([OLD, wanted], `effect ${point}`).toContain(end);
          expect((await next.driver.discover()).problems, `effect ${point}`).toEqual([]);
          expect(await recoverRepartition(next), `effect ${point}`).toBeNull();
          ends.push(`${point} ${end === wanted ? 'new' : 'old'}`);
          if (!killed.died()) {
            expect(recovered).toBeNull();
            break;
          }
        } finally {
          await subject.close();
        }
      }
      table.push(`${name}, ${what}, ${how} at effect: ${ends.join(', ')}`);
    });
  });

  const faults: readonly (readonly [string, ConformanceFault, string])[] = [
    ['EIO once', { on: 'set-compute', effect: { kind: 'io' } }, 'applied'],
    ['EBUSY once', { on: 'set-compute', effect: { kind: 'busy' } }, 'applied'],
    ['EBUSY for ever', { on: 'set-compute', times: 1e6, effect: { kind: 'busy' } }, 'rolled-back'],
    [
      'EPERM for ever',
      { on: 'set-compute', times: 1e6, effect: { kind: 'permission' } },
      'rolled-back',
    ],
    ['nothing changed once', { on: 'set-compute', effect: { kind: 'no-change' } }, 'applied'],
    [
      'nothing changed twice',
      { on: 'set-compute', times: 2, effect: { kind: 'no-change' } },
      'rolled-back',
    ],
    ['half of the hive', { on: 'reload', effect: { kind: 'half' } }, 'applied'],
    ['half of the hive twice', { on: 'reload', times: 2, effect: { kind: 'half' } }, 'rolled-back'],
    ['a reload without effect', { on: 'reload', effect: { kind: 'no-change' } }, 'applied'],
    ['a power cut', { on: 'set-compute', effect: { kind: 'power-cut', afterMs: 500 } }, 'applied'],
    [
      'a hang that works in the end',
      { on: 'set-compute', effect: { kind: 'hang', ms: 150_000, applies: true } },
      'applied',
    ],
    [
      'a hang without effect',
      { on: 'set-compute', effect: { kind: 'hang', ms: 150_000, applies: false } },
      'applied',
    ],
    [
      'hangs without effect for ever',
      { on: 'set-compute', times: 1e6, effect: { kind: 'hang', ms: 150_000, applies: false } },
      'rolled-back',
    ],
    // The card is switched and goes on saying that it is not, until the reload of the way back.
    [
      'a wrong report',
      { on: 'set-compute', effect: { kind: 'wrong-report', compute: 'SPX' } },
      'rolled-back',
    ],
    [
      'wrong reports for ever',
      { on: 'set-compute', times: 1e6, effect: { kind: 'wrong-report', compute: 'SPX' } },
      'rolled-back',
    ],
  ];
  it.each(faults)('%s', { timeout: 60_000 }, async (what, fault, outcome) => {
    const subject = await open(MACHINE);
    try {
      const wanted = ['QPX/NPS4', 'CPX/NPS4'];
      const plan = await planFor(subject.driver, wanted);
      await subject.fault(fault);
      const result = await applyRepartition({
        plan,
        driver: subject.driver,
        store: createMemoryStateStore(),
        clock: subject.clock,
        drain: async () => undefined,
      });
      const end = await shown(subject.driver);
      table.push(`${name}, ${what}: ${result.outcome}, ${end}`);
      expect(result.outcome).toBe(outcome);
      expect(end).toBe(outcome === 'applied' ? wanted.join(' ') : OLD);
      expect(await divided(subject.driver)).toEqual(outcome === 'applied' ? [4, 8] : [1, 1]);
    } finally {
      await subject.close();
    }
  });

  it('a wrong report without a reload on the way back', { timeout: 60_000 }, async () => {
    const subject = await open(MACHINE);
    try {
      const plan = await planFor(subject.driver, ['QPX/NPS1', 'SPX/NPS1']);
      await subject.fault({
        on: 'set-compute',
        effect: { kind: 'wrong-report', compute: 'SPX' },
      });
      const result = await applyRepartition({
        plan,
        driver: subject.driver,
        store: createMemoryStateStore(),
        clock: subject.clock,
        drain: async () => undefined,
      });
      const end = await shown(subject.driver);
      const truth = await divided(subject.driver);
      table.push(`${name}, a wrong report, no reload: ${result.outcome}, ${end}, divided ${truth}`);
      // Never told as rolled back while the card is divided: it is switched back, or the stop is named.
      if (name === 'simulated') {
        expect(result.outcome).toBe('rolled-back');
        expect(end).toBe(OLD);
        expect(truth).toEqual([1, 1]);
      } else {
        expect(result).toMatchObject({ outcome: 'degraded', state: 'between' });
        expect(truth).toEqual([4, 1]);
      }
    } finally {
      await subject.close();
    }
  });

  it('a reload that hangs without effect', { timeout: 60_000 }, async () => {
    const subject = await open(MACHINE);
    try {
      const plan = await planFor(subject.driver, ['QPX/NPS4', 'CPX/NPS4']);
      await subject.fault({
        on: 'reload',
        effect: { kind: 'hang', ms: 350_000, applies: false },
      });
      const result = await applyRepartition({
        plan,
        driver: subject.driver,
        store: createMemoryStateStore(),
        clock: subject.clock,
        drain: async () => undefined,
      });
      const end = await shown(subject.driver);
      table.push(`${name}, a reload that hangs without effect: ${result.outcome}, ${end}`);
      // The simulated driver sees its machine come back; on a host the driver that was being loaded is given up.
      if (name === 'simulated') {
        expect(result.outcome).toBe('rolled-back');
        expect(end).toBe(OLD);
      } else {
        expect(result).toMatchObject({
          outcome: 'degraded',
          state: 'unreadable',
          nextCommand: 'aim-gpu doctor',
        });
        expect(end).toBe('');
      }
    } finally {
      await subject.close();
    }
  });
});
