/**
 * Random operations on one node, compared with a plain model after every step: what the agent says, what runs, what the
 * devices hold and what the directory shows must be what the last accepted fleet asks for. Used by the test and, for
 * longer, by the soak.
 */
import {
  AimError,
  createRng,
  type Fleet,
  type InstanceId,
  type Inventory,
  instanceId,
  type Rng,
  type Workload,
  workloadName,
} from '@aim-gpu/core';
import { findProduct, partitionGeometry } from '@aim-gpu/core/products';
import { aWorkload, createManualClock, createMemoryStateStore } from '@aim-gpu/core/testing';
import { createModelLibrary } from '@aim-gpu/sizing';
import { type Demands, sizeFleet } from '../../src/index.js';
import { createBench, exclusive } from './agent-bench.js';
import { createFakeLauncher } from './fake-launcher.js';
import {
  createLife,
  mortalClock,
  mortalDriver,
  mortalLauncher,
  mortalStore,
} from './mortal-life.js';

/** What a run saw. */
export interface RandomRun {
  readonly steps: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly applies: number;
  /** Applies for which an exhaustive search finds a placement. */
  readonly placeable: number;
  readonly refusals: number;
  /** Refusals although an exhaustive search finds a placement. */
  readonly wrongRefusals: number;
  /** Longest time until the node was whole again, on its own clock. */
  readonly slowestRecoveryMs: number;
  readonly slowestByKindMs: Readonly<Record<string, number>>;
}

const SOURCES = [
  'meta-llama/Llama-3.2-1B-Instruct',
  'Qwen/Qwen3-1.7B',
  'meta-llama/Llama-3.1-8B-Instruct',
  'Qwen/Qwen3-32B-FP8',
];
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const LIBRARY = createModelLibrary();
/** What happens, as often as it stands here. */
const KINDS = [
  'apply',
  'apply',
  'apply',
  'crash',
  'restart',
  'kill',
  'kill',
  'reboot',
  'drain',
  'hang',
];

/** Runs `steps` operations from a seed. Throws at the first difference, naming seed and step. */
export async function runRandomOperations(options: {
  readonly seed: number;
  readonly steps: number;
  /** Operations to choose from; all unless given. */
  readonly kinds?: readonly string[];
  readonly signal?: AbortSignal;
}): Promise<RandomRun> {
  const rng = createRng(options.seed);
  const host = createHost();
  const run = { applies: 0, placeable: 0, refusals: 0, wrongRefusals: 0, slowestRecoveryMs: 0 };
  const byKind: Record<string, number> = {};
  const slowest: Record<string, number> = {};
  let steps = 0;
  try {
    await host.begin();
    for (; steps < options.steps && options.signal?.aborted !== true; steps += 1) {
      const kind = pick(rng, options.kinds ?? KINDS);
      byKind[kind] = (byKind[kind] ?? 0) + 1;
      if (kind === 'apply') await applyRandomly(host, rng, run);
      const hurtMs = kind === 'apply' ? 0 : await disturb(host, rng, kind);
      const wholeMs = hurtMs + (await host.untilWhole());
      run.slowestRecoveryMs = Math.max(run.slowestRecoveryMs, wholeMs);
      slowest[kind] = Math.max(slowest[kind] ?? 0, wholeMs);
      await host.compare();
      // Else the fifth fault of one instance would be the verdict on a crash loop.
      if (kind === 'crash' || kind === 'hang') await host.serveAMinute();
    }
    await host.end();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`seed ${options.seed}, step ${steps}: ${message}`, { cause: error });
  }
  return { steps, byKind, slowestByKindMs: slowest, ...run };
}

type Host = ReturnType<typeof createHost>;

async function applyRandomly(
  host: Host,
  rng: Rng,
  run: { applies: number; placeable: number; refusals: number; wrongRefusals: number },
): Promise<void> {
  const names = NAMES.filter(() => rng.next() < 0.55);
  const models = names.map((name) => {
    const overrides = {
      source: pick(rng, SOURCES),
      concurrency: pick(rng, [1, 2, 4]),
      maxModelLen: 4096,
      aliases: rng.next() < 0.2 ? [`${name}-alias`] : [],
      replicas: { min: rng.next() < 0.2 ? 0 : 1, max: 1, idleMs: null },
    };
    return rng.next() < 0.5
      ? exclusive(name, overrides)
      : aWorkload({ name: workloadName(name), ...overrides });
  });
  const fleet: Fleet = { ...host.fleet(), models };
  run.applies += 1;
  const demands = await sizeFleet({ fleet, models: LIBRARY });
  const placeable = hasPlacement(models, demands, await host.inventory());
  if (placeable) run.placeable += 1;
  try {
    await host.apply(fleet);
  } catch (error) {
    if (!AimError.is(error) || error.kind !== 'refused') throw error;
    run.refusals += 1;
    if (placeable) run.wrongRefusals += 1;
  }
}

/** Brings a fault; for how long it had lasted already when it was over. */
async function disturb(host: Host, rng: Rng, kind: string): Promise<number> {
  const alive = host.processes.alive();
  const victim = alive.length === 0 ? null : pick(rng, alive);
  if (kind === 'crash') victim?.crash(['out of memory']);
  if (kind === 'kill') await host.killAgent();
  if (kind === 'reboot') await host.reboot();
  if (kind === 'restart' && victim !== null) await host.restart(victim.name as InstanceId);
  if (kind === 'drain' && victim !== null) await host.drainAndBack(victim.name as InstanceId);
  return kind === 'hang' ? host.hangAll() : 0;
}

function pick<T>(rng: Rng, list: readonly T[]): T {
  const found = list[Math.floor(rng.next() * list.length)];
  if (found === undefined) throw new Error('nothing to pick from');
  return found;
}

/** A host with one agent after the other on it. */
function createHost() {
  const clock = createManualClock();
  const memory = createMemoryStateStore();
  const machine = createMemoryStateStore();
  const processes = createFakeLauncher();
  let life = createLife();
  const next = () => {
    life = createLife();
    const mine = life;
    return createBench({
      memory: mortalStore(memory, mine),
      manual: clock,
      machine,
      clock: mortalClock(clock, mine),
      launcher: mortalLauncher(processes, mine, () => undefined),
      wrap: (driver) => mortalDriver(driver, mine, { clock, onChange: () => undefined }),
      workloads: [],
      lasting: true,
    });
  };
  let bench = next();
  let accepted = bench.fleet;

  const readyOrParked = (state: string): boolean => state === 'ready' || state === 'parked';
  const layoutsReached = async (): Promise<boolean> => {
    const planned = bench.agent.control(bench.hooks).plan()?.nodes[0]?.cards ?? [];
    const { cards } = await bench.driver.discover();
    return planned.every(({ id, layout }) => {
      const found = cards.find((card) => card.id === id);
      return JSON.stringify(found?.layout) === JSON.stringify(layout);
    });
  };
  const untilWhole = async (): Promise<number> => {
    const began = bench.clock.monoMs();
    // What has just happened is noticed first.
    await bench.clock.advance(1000);
    for (;;) {
      const { state, instances } = await bench.agent.status();
      const whole =
        state === 'ready' &&
        instances.length === accepted.models.length &&
        instances.every((each) => readyOrParked(each.state));
      if (whole && (await layoutsReached())) return bench.clock.monoMs() - began;
      if (bench.clock.monoMs() - began > 300_000) {
        throw new Error(
          `not whole after 300 s: ${state} ${JSON.stringify(instances.map((each) => [each.instance, each.state, each.trouble?.message]))}`,
        );
      }
      await bench.clock.advance(100);
    }
  };

  return {
    processes,
    fleet: () => bench.fleet,
    inventory: () => bench.driver.discover(),
    begin: () => bench.bringUp(),
    apply: async (fleet: Fleet) => {
      await bench.run(bench.agent.applyFleet(fleet));
      accepted = fleet;
    },
    restart: (instance: InstanceId) => bench.run(bench.agent.restart(instance)),
    drainAndBack: async (instance: InstanceId) => {
      await bench.agent.drain(instance, { undo: false });
      await bench.agent.drain(instance, { undo: true });
    },
    /** Its process is gone; its engines and files are not. */
    killAgent: async () => {
      life.end();
      bench = next();
      await bench.run(bench.agent.open());
    },
    /** Power is cut: every process is gone, and every layout is the first one again. */
    reboot: async () => {
      life.end();
      for (const process of processes.alive()) process.crash([], { code: null, signal: 'SIGKILL' });
      bench = next();
      await bench.driver.reboot();
      await bench.run(bench.agent.open());
    },
    hangAll: async () => {
      const began = bench.clock.monoMs();
      const hung = processes.alive();
      bench.engine.health = 'hang';
      while (hung.some((process) => process.alive())) await bench.clock.advance(100);
      bench.engine.health = 'ready';
      return bench.clock.monoMs() - began;
    },
    untilWhole,
    serveAMinute: () => bench.clock.advance(61_000),
    compare: async () => {
      const status = await bench.agent.status();
      const plan = bench.agent.control(bench.hooks).plan();
      const inventory = await bench.driver.discover();
      const wanted = accepted.models.map(({ name }) => String(instanceId(name, 0))).toSorted();
      const said = status.instances.map(({ instance }) => String(instance)).toSorted();
      same('instances of the agent', said, wanted);
      const awake = status.instances.filter(({ state }) => state === 'ready');
      const running = processes
        .alive()
        .map(({ name }) => name)
        .toSorted();
      same('processes', running, awake.map(({ instance }) => String(instance)).toSorted());
      same(
        'pids',
        processes
          .alive()
          .map(({ pid }) => pid)
          .toSorted(),
        awake.map(({ pid }) => pid ?? 0).toSorted(),
      );
      const shown = accepted.models.flatMap(({ name }) =>
        bench.agent.directory.endpoints(name).map((each) => String(each.instance)),
      );
      same('endpoints', shown.toSorted(), running);
      if (plan === null) return;
      for (const { id, layout } of plan.nodes[0]?.cards ?? []) {
        const card = inventory.cards.find((each) => each.id === id);
        same(`layout of ${id}`, card?.layout, layout);
        for (const { index, memoryBytes } of card?.partitions ?? []) {
          const shares = status.instances.flatMap((each) =>
            each.shares.filter((share) => share.card === id && share.partition === index),
          );
          const used = shares.reduce((sum, share) => sum + share.memoryBytes, 0);
          if (used > (memoryBytes ?? 0)) throw new Error(`partition ${index} is oversubscribed`);
        }
      }
      const records = (await memory.journal('assigned').read()).length;
      if (records > 300) throw new Error(`the journal has grown to ${records} records`);
    },
    end: async () => {
      await bench.run(bench.agent.close());
      same(
        'processes after the end',
        processes.alive().map(({ name }) => name),
        [],
      );
    },
  };
}

function same(what: string, is: unknown, shouldBe: unknown): void {
  const [a, b] = [JSON.stringify(is), JSON.stringify(shouldBe)];
  if (a !== b) throw new Error(`${what}: ${a}, should be ${b}`);
}

/** Whether any layout of the card holds the models: every assignment to its partitions is tried. */
function hasPlacement(
  models: readonly Workload[],
  demands: Demands,
  inventory: Inventory,
): boolean {
  const [card] = inventory.cards;
  const product = card?.product == null ? null : findProduct(card.product);
  if (card === undefined || product === null) return false;
  return (card.offered ?? []).some((layout) => {
    const rooms = partitionGeometry(product, layout).map(({ memoryBytes }) => ({
      freeBytes: Math.floor(memoryBytes * 0.98),
      guests: 0,
      taken: false,
    }));
    const place = (index: number): boolean => {
      const model = models[index];
      if (model === undefined) return true;
      const bytes = demands.get(model.name)?.memory.totalBytes ?? 0;
      const alone = model.placement.exclusive;
      let triedEmpty = false;
      for (const room of rooms) {
        const empty = room.guests === 0;
        if (room.taken || room.freeBytes < bytes || (alone && !empty) || (empty && triedEmpty))
          continue;
        triedEmpty ||= empty;
        room.freeBytes -= bytes;
        room.guests += 1;
        room.taken = alone;
        if (place(index + 1)) return true;
        room.freeBytes += bytes;
        room.guests -= 1;
        room.taken = false;
      }
      return false;
    };
    return place(0);
  });
}
