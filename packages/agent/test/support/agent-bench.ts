/** An agent over a simulated machine on a manual clock, with engines that exist in memory. */
import {
  cardId,
  createRng,
  type Fleet,
  type GpuDriver,
  hiveId,
  nodeName,
  type StateStore,
  type Workload,
  workloadName,
} from '@aim-gpu/core';
import {
  aFleet,
  aWorkload,
  createManualClock,
  createMemoryStateStore,
  createRecordingLogger,
  type ManualClock,
} from '@aim-gpu/core/testing';
import { createSimulatedDriver } from '@aim-gpu/driver-simulated';
import { BARE_HOST } from '@aim-gpu/isolation';
import { createMetrics, parseExposition } from '@aim-gpu/metrics';
import { createModelLibrary } from '@aim-gpu/sizing';
import { type AgentOptions, createAgent } from '../../src/index.js';
import { createFakeEngine } from './fake-engine.js';
import { createFakeLauncher, type FakeLauncher } from './fake-launcher.js';
import { finish, until } from './time.js';

export const NODE = nodeName('node0');
export const CARD = cardId('0000:0c:00.0');

/** Remembers what it has read, so that only the first of all tests waits for the disk. */
const MODELS = createModelLibrary();

/** A model with a partition of its own. */
export function exclusive(name: string, overrides: Partial<Workload> = {}): Workload {
  const { placement } = aWorkload();
  return aWorkload({
    name: workloadName(name),
    placement: { ...placement, exclusive: true },
    ...overrides,
  });
}

/** Three models that each want a partition of their own: one card in SPX has to be split. */
export const THREE = [exclusive('chat'), exclusive('code'), exclusive('draft')];

export interface BenchOptions extends Partial<AgentOptions> {
  /** Cards of the machine; one unless given. */
  readonly cards?: number;
  readonly workloads?: readonly Workload[];
  readonly memory?: StateStore;
  /** The clock of a host that outlives its agents. */
  readonly manual?: ManualClock;
  /** Where the machine is kept, when not with the agent's files. */
  readonly machine?: StateStore;
  /** The processes of a host that an earlier agent ran on. */
  readonly processes?: FakeLauncher;
  /** Puts something in front of the driver. */
  readonly wrap?: (driver: GpuDriver) => GpuDriver;
}

export function createBench({
  workloads = THREE,
  memory,
  manual,
  machine,
  cards = 1,
  processes,
  wrap = (inner) => inner,
  ...overrides
}: BenchOptions = {}) {
  const clock = manual ?? createManualClock();
  const store = memory ?? createMemoryStateStore();
  const launcher = processes ?? createFakeLauncher();
  const engine = createFakeEngine();
  const logger = createRecordingLogger();
  const metrics = createMetrics();
  const fleet: Fleet = aFleet({ models: workloads });
  const driver = createSimulatedDriver({
    node: NODE,
    cards: Array.from({ length: cards }, (_, index) => ({
      id: index === 0 ? CARD : cardId(`0000:${index}c:00.0`),
      product: 'MI300X',
      hive: hiveId('hive0'),
    })),
    store: machine ?? store,
    clock,
    rng: createRng(11),
    timing: 'short',
  });
  const options: AgentOptions = {
    node: NODE,
    fleet,
    models: MODELS,
    driver: wrap(driver),
    launcher,
    engineFor: () => engine,
    store,
    clock,
    rng: createRng(5),
    logger,
    metrics,
    host: BARE_HOST,
    pid: 77,
    ...overrides,
  };
  const agent = createAgent(options);
  const run = <T>(call: Promise<T>): Promise<T> => finish(clock, call);
  /** Opens, plans, applies and waits until every instance is settled. */
  const bringUp = async () => {
    await run(agent.open());
    const plan = await run(agent.plan());
    await run(agent.apply(plan));
    const mine = plan.placements.filter(({ shares }) => shares.some(({ node }) => node === NODE));
    const statuses = await run(Promise.all(mine.map(({ instance }) => agent.settled(instance))));
    return { plan, statuses };
  };
  const layout = async () => (await driver.discover()).cards[0]?.layout;
  const layouts = async () => (await driver.discover()).cards.map((card) => card.layout.compute);
  const samples = async (name: string) =>
    parseExposition(await metrics.exposition()).samples.filter((sample) => sample.name === name);
  const hooks = { gateway: () => null, down: () => undefined };
  return {
    ...{ agent, options, clock, store, launcher, engine, logger, metrics, driver, fleet },
    ...{ run, bringUp, layout, layouts, samples, hooks },
    until: (holds: () => boolean, stepMs?: number) => until(clock, holds, stepMs),
  };
}
