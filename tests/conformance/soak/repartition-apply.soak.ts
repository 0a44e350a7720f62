// 10,000 random repartitions of a simulated node, each applied and read back by another driver, under random faults and
// with a process that dies at a random effect: `npm run soak -- repartition-apply [--applies 10000] [--seed 1]`.
import {
  type Assignment,
  bytes,
  cardId,
  createRng,
  type GpuDriver,
  hiveId,
  type Inventory,
  instanceId,
  nodeName,
  planId,
  type Rng,
  type StateStore,
  workloadName,
} from '@aim-gpu/core';
import { createMemoryStateStore } from '@aim-gpu/core/testing';
import { createSimulatedDriver } from '@aim-gpu/driver-simulated';
import {
  applyRepartition,
  assertLayout,
  deriveLedger,
  planRepartition,
  recoverRepartition,
} from '@aim-gpu/partitioning';
import type { Soak } from '../../../tools/soak.js';
import { createIdleClock } from '../test/support/idle-clock.js';

const KNOWN = ['applies', 'seed'];
const NODE = nodeName('node-a');
const CARDS = [0, 1, 2].map((index) => ({
  id: cardId(`0000:${(0x0c + index * 16).toString(16).padStart(2, '0')}:00.0`),
  product: 'MI300X',
  hive: hiveId(`hive${index === 0 ? 0 : 1}`),
}));
const CALLS = ['set-compute', 'stage-memory', 'reload'] as const;
const EFFECTS = [
  { kind: 'busy' },
  { kind: 'io' },
  { kind: 'permission' },
  { kind: 'no-change' },
] as const;
const RELOAD_EFFECTS = [...EFFECTS, { kind: 'half' }, { kind: 'power-cut', afterMs: 900 }] as const;
/** A process has about so many effects in one repartition: records of the journal and calls of the driver. */
const MOST_EFFECTS = 16;
const FRESH_JOURNAL = 20;

function pick<T>(rng: Rng, list: readonly T[]): T {
  const found = list[Math.floor(rng.next() * list.length)];
  if (found === undefined) throw new Error('an empty list');
  return found;
}

/** One instance on a random partition of some cards, holding half of it. */
function place(inventory: Inventory, rng: Rng): readonly Assignment[] {
  return inventory.cards.flatMap((card, index) => {
    if (rng.next() < 0.3) return [];
    const partition = pick(rng, card.partitions);
    const memoryBytes = bytes(Math.floor((partition.memoryBytes ?? 0) / 2));
    return [
      {
        instance: instanceId(workloadName(`w${index}`), 0),
        workload: workloadName(`w${index}`),
        shares: [{ node: NODE, card: card.id, partition: partition.index, memoryBytes }],
        plan: planId('p'),
      },
    ];
  });
}

/** A store and a driver that die together at effect number `point`. */
function mortal(store: StateStore, driver: GpuDriver, point: number) {
  let effects = 0;
  const dead = (): boolean => effects >= point;
  const effect = async <T>(work: () => Promise<T>): Promise<T> => {
    if (dead()) throw new Error('dead');
    effects += 1;
    const value = work();
    if (!dead()) return value;
    // The call is on its way to the machine; its process does not live to see the answer.
    value.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    throw new Error('killed');
  };
  const journal: StateStore['journal'] = (name) => {
    const whole = store.journal<never>(name);
    return { ...whole, append: (record) => effect(() => whole.append(record as never)) };
  };
  const dying: GpuDriver = {
    ...driver,
    discover: (call) => (dead() ? Promise.reject(new Error('dead')) : driver.discover(call)),
    setComputeMode: (...call) => effect(() => driver.setComputeMode(...call)),
    stageMemoryMode: (...call) => effect(() => driver.stageMemoryMode(...call)),
    reload: (...call) => effect(() => driver.reload(...call)),
  };
  return { store: { ...store, journal }, driver: dying };
}

/** The soak test. */
export const soak: Soak = {
  name: 'repartition-apply',
  summary: '10,000 random repartitions under faults and kills, each applied and read back',
  run: async ({ seconds, values, signal, log }) => {
    const unknown = Object.keys(values).filter((key) => !KNOWN.includes(key));
    if (unknown.length > 0) throw new Error(`unknown options: ${unknown.join(', ')}`);
    const wanted = Number(values['applies'] ?? 10_000);
    const seed = Number(values['seed'] ?? 1);
    const rng = createRng(seed);
    const clock = createIdleClock();
    const machine = createMemoryStateStore();
    let store = createMemoryStateStore();
    const open = () =>
      createSimulatedDriver({
        node: NODE,
        cards: CARDS,
        store: machine,
        clock,
        rng,
        timing: 'short',
      });
    const outcomes: Record<string, number> = {};
    const failures: string[] = [];
    const started = performance.now();
    let applies = 0;
    let kills = 0;
    while (applies < wanted && failures.length === 0) {
      if (signal.aborted || performance.now() - started > seconds * 1000) break;
      // A long journal is read whole at each apply; the transactions of others are in the gate's tests.
      if (applies % FRESH_JOURNAL === 0) store = createMemoryStateStore();
      const driver = open();
      const inventory = await driver.discover();
      const assignments = place(inventory, rng);
      const desired = inventory.cards.map((card) => ({
        card: card.id,
        layout: pick(rng, card.offered ?? []),
      }));
      const planned = planRepartition({ inventory, desired, assignments });
      if (!planned.ok || planned.plan.steps.length === 0) continue;
      applies += 1;
      const { plan } = planned;
      if (rng.next() < 0.4) {
        const on = pick(rng, CALLS);
        const effect = on === 'reload' ? pick(rng, RELOAD_EFFECTS) : pick(rng, EFFECTS);
        const times = 1 + Math.floor(rng.next() * 3);
        driver.faults.script([{ on, after: Math.floor(rng.next() * 3), times, effect }]);
      }
      const alive = { store, driver, clock, drain: async () => undefined };
      let outcome: string;
      if (rng.next() < 0.3) {
        kills += 1;
        const point = 1 + Math.floor(rng.next() * MOST_EFFECTS);
        const dying = { ...alive, ...mortal(store, driver, point) };
        const before = await applyRepartition({ ...dying, plan }).catch(() => null);
        const recovered = await recoverRepartition({ ...alive, driver: open() });
        outcome = `killed: ${recovered?.outcome ?? before?.outcome ?? 'at the first or last record'}`;
      } else {
        const result = await applyRepartition({ ...alive, plan });
        outcome = result.outcome;
      }
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      const after = await open().discover();
      const isNew = assertLayout(after, plan.to).length === 0;
      const isOld = assertLayout(after, plan.from).length === 0;
      const fail = (what: string): number =>
        failures.push(`apply ${applies} of seed ${seed}, plan ${plan.id}, ${outcome}: ${what}`);
      if (outcome.endsWith('degraded')) continue;
      const reached = outcome.endsWith('applied') ? isNew : isOld;
      // Who dies with the first or the last record leaves nothing to recover.
      const either = outcome.endsWith('record') && (isNew || isOld);
      if (!reached && !either) fail('other layouts than it says');
      // Whoever was not stopped is still borne out by the devices.
      const running = assignments.filter(({ instance }) => !plan.stops.includes(instance));
      const ledger = deriveLedger({ inventory: after, assignments: running, memoryReserve: 0.02 });
      if (ledger.problems.length > 0) fail(JSON.stringify(ledger.problems));
      const held = ledger.accounts.flatMap((account) => account.held.map((one) => one.instance));
      if (held.length !== running.length || new Set(held).size !== held.length)
        fail('a placement was lost or doubled');
      if ((await recoverRepartition({ ...alive, driver: open() })) !== null) fail('left open');
      if (applies % 1000 === 0) log(`${applies} applies`);
    }
    clock.stop();
    if (applies < wanted && failures.length === 0)
      failures.push(`only ${applies} of ${wanted} applies in the time given: use --seconds`);
    return { results: [{ seed, applies, kills, ...outcomes }], failures };
  },
};
