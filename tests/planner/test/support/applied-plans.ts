/**
 * Random fleets on simulated nodes: planned, applied through partitioning, read back, planned again. Used by the gate's
 * test and by the soak.
 */
import {
  type Assignment,
  BANDS,
  bytes,
  type Clock,
  cardId,
  createRng,
  formatLayout,
  GIB,
  hiveId,
  type Inventory,
  nodeName,
  type Plan,
  type Rng,
  workloadName,
} from '@aim-gpu/core';
import {
  aDemand,
  aFleet,
  aWorkload,
  createManualClock,
  createMemoryStateStore,
} from '@aim-gpu/core/testing';
import { createSimulatedDriver } from '@aim-gpu/driver-simulated';
import { applyRepartition, planRepartition } from '@aim-gpu/partitioning';
import { type FleetProblem, planFleet } from '@aim-gpu/scheduler';

const PRODUCTS = ['MI300X', 'MI325X', 'MI355X'] as const;

/** One random fleet, planned, applied and planned again. */
export interface AppliedPlan {
  /** Where what was read back is not what was planned. */
  readonly wrong: readonly string[];
  /** What a second plan would change, though nothing asks for it. */
  readonly changedAgain: readonly string[];
}

/** Plans a random fleet, applies its layouts on a simulated node and reads them back. */
export async function applyRandomPlan(seed: number): Promise<AppliedPlan> {
  const rng = createRng(seed);
  const below = (limit: number): number => Math.floor(rng.next() * limit);
  const node = nodeName('node-a');
  const product = PRODUCTS[below(PRODUCTS.length)] ?? 'MI300X';
  const cards = Array.from({ length: 1 + below(3) }, (_, index) => ({
    id: cardId(`0000:${index + 1}c:00.0`),
    product,
    hive: hiveId('hive-a'),
  }));
  const clock = createHurriedClock();
  try {
    const store = createMemoryStateStore();
    const driver = createSimulatedDriver({ node, cards, store, clock, rng, timing: 'short' });
    const before = await driver.discover();
    const problem = randomFleet(rng, before);
    const plan = planFleet(problem);
    const desired = plan.nodes.flatMap((entry) =>
      entry.cards.map(({ id, layout }) => ({ card: id, layout })),
    );
    const repartition = planRepartition({ inventory: before, desired, assignments: [] });
    if (!repartition.ok)
      return { wrong: [`not reachable: ${repartition.reasons[0]?.message}`], changedAgain: [] };
    const applied = await applyRepartition({
      plan: repartition.plan,
      driver,
      store: createMemoryStateStore(),
      clock,
      drain: () => Promise.resolve(),
    });
    if (!applied.ok) return { wrong: ['the change was not applied'], changedAgain: [] };
    const after = await driver.discover();
    await driver.close();
    return { wrong: differences(plan, after), changedAgain: unstable(problem, plan, after) };
  } finally {
    clock.stop();
  }
}

function randomFleet(rng: Rng, inventory: Inventory): FleetProblem {
  const below = (limit: number): number => Math.floor(rng.next() * limit);
  const names = Array.from({ length: 1 + below(6) }, (_, index) => workloadName(`m${index}`));
  const models = names.map((name) =>
    aWorkload({
      name,
      band: BANDS[below(BANDS.length)] ?? 'standard',
      load: { requestsPerSecond: 0.01 + 0.3 * rng.next(), promptTokens: 200, outputTokens: 50 },
      placement: { ...aWorkload().placement, exclusive: below(3) === 0 },
    }),
  );
  const demands = new Map(
    names.map((name) => {
      const kvBytes = bytes(Math.round(GIB * (1 + 80 * rng.next() ** 2)));
      return [name, aDemand({ workload: name, memory: { kvBytes } })];
    }),
  );
  return { fleet: aFleet({ models }), inventories: [inventory], demands };
}

/** Where what was read back is not what was planned. */
function differences(plan: Plan, inventory: Inventory): readonly string[] {
  const read = new Map(inventory.cards.map((card) => [card.id, card]));
  return plan.nodes
    .flatMap((node) => node.cards)
    .flatMap(({ id, layout, partitions }) => {
      const card = read.get(id);
      const now = `${card?.layout.compute}/${card?.layout.memory}`;
      if (card === undefined || now !== formatLayout(layout)) return [`${id} is in ${now}`];
      return partitions.flatMap((partition) => {
        const there = card.partitions.find(({ index }) => index === partition.index);
        const given = partition.shares.reduce((sum, share) => sum + share.memoryBytes, 0);
        if (there === undefined) return [`${id}/${partition.index} is not there`];
        if (
          there.memoryBytes !== partition.memoryBytes ||
          there.computeUnits !== partition.computeUnits
        )
          return [`${id}/${partition.index} is not as planned`];
        return given <= (there.memoryBytes ?? 0)
          ? []
          : [`${id}/${partition.index} is oversubscribed`];
      });
    });
}

/** What a plan of what now runs would change. */
function unstable(problem: FleetProblem, plan: Plan, after: Inventory): readonly string[] {
  const assignments = plan.placements.map(
    ({ instance, workload, shares }): Assignment => ({ instance, workload, shares, plan: plan.id }),
  );
  const again = planFleet({ ...problem, inventories: [after], assignments });
  const before = new Map(
    plan.placements.map(({ instance, shares }) => [instance, JSON.stringify(shares)]),
  );
  return [
    ...again.changes.map((change) => `a second plan changes ${change.card ?? change.node}`),
    ...[...before].flatMap(([instance, shares]) => {
      const now = again.placements.find((placement) => placement.instance === instance);
      return JSON.stringify(now?.shares) === shares ? [] : [`a second plan moves ${instance}`];
    }),
  ];
}

interface HurriedClock extends Clock {
  stop(): void;
}

/** A clock that moves to its next timer whenever nothing else is to be done. */
function createHurriedClock(): HurriedClock {
  const manual = createManualClock();
  let stopped = false;
  const run = async (): Promise<void> => {
    while (!stopped) {
      await new Promise((resolve) => setImmediate(resolve));
      const next = manual.untilNext();
      if (next !== null) await manual.advance(next);
    }
  };
  void run();
  return {
    ...manual,
    stop: () => {
      stopped = true;
    },
  };
}
