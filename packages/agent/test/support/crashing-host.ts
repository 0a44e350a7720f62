/**
 * A host on which one agent after the other lives and dies: one clock, one set of files, devices and processes for all
 * of them. Owns what must hold at every moment (no memory twice, no layout changed under a process) and what must hold
 * once an agent has repaired what the one before had left.
 */
import type { Fleet, LaunchCommand, Plan, Share, StateStore, WorkloadName } from '@aim-gpu/core';
import { instanceId } from '@aim-gpu/core';
import { createManualClock, createMemoryStateStore } from '@aim-gpu/core/testing';
import { createAssigned } from '../../src/assigned.js';
import { createBench } from './agent-bench.js';
import { createFakeEngine } from './fake-engine.js';
import { createFakeLauncher, type FakeLauncher } from './fake-launcher.js';
import { createLosingDriver } from './losing-driver.js';
import {
  createLife,
  type Life,
  mortalClock,
  mortalDriver,
  mortalLauncher,
  mortalStore,
} from './mortal-life.js';

type Bench = ReturnType<typeof createBench>;

/** A host with its agents. */
export type CrashingHost = ReturnType<typeof createCrashingHost>;

const never = (): Promise<never> => new Promise(() => undefined);

const GRACE_MS = 40_000;
const MOST_TURNS = 1_000_000;

/** Makes a host with one agent that was not opened yet. */
export function createCrashingHost(options: {
  readonly fleet: (made: Fleet) => Fleet;
  readonly cards?: number;
  /** The files of the agents; in memory unless given. */
  readonly files?: StateStore;
  /** Devices and processes that an earlier host had. */
  readonly machine?: StateStore;
  readonly processes?: FakeLauncher;
}) {
  const clock = createManualClock();
  const files = options.files ?? createMemoryStateStore();
  const machine = options.machine ?? createMemoryStateStore();
  const processes = options.processes ?? createFakeLauncher();
  const losing = createLosingDriver();
  const engine = createFakeEngine();
  const broken: string[] = [];
  let life = createLife();
  let armed = false;
  let dieAt: number | null = null;
  let onDeath: () => void = () => undefined;

  /** A process says on its command line which shares it holds. */
  const toCommand = ((spec) => ({
    argv: ['engine', spec.instance, String(spec.port), JSON.stringify(spec.envelope.shares)],
    env: {},
  })) satisfies typeof engine.toCommand;
  const alive = () =>
    processes.alive().map((each) => ({ ...each, shares: sharesOf(each.command) }));
  const memory = (): ReadonlyMap<string, number> => {
    const used = new Map<string, number>();
    for (const { card, partition, memoryBytes } of alive().flatMap(({ shares }) => shares)) {
      const key = `${card}/${partition}`;
      used.set(key, (used.get(key) ?? 0) + memoryBytes);
    }
    return used;
  };
  let bench: Bench;
  const onRun = (name: string): void => {
    void bench.driver.discover().then(({ cards }) => {
      for (const { id, partitions } of cards) {
        for (const { index, memoryBytes } of partitions) {
          const used = memory().get(`${id}/${index}`) ?? 0;
          if (memoryBytes !== null && used > memoryBytes) {
            broken.push(`${name} started: ${used} bytes of ${memoryBytes} handed out`);
          }
        }
      }
    });
  };
  const onChange = (card: string | null): void => {
    const under = alive().filter(
      ({ shares }) => card === null || shares.some((share) => share.card === card),
    );
    if (under.length > 0) {
      broken.push(`layout changed under ${under.map(({ name }) => name).join(' ')}`);
    }
  };
  const arm = (): void => {
    if (!armed) return;
    life.arm(dieAt);
    life.onEnd(() => onDeath());
  };
  const next = (): Bench => {
    life = createLife();
    const mine = life;
    arm();
    const made = createBench({
      workloads: [],
      cards: options.cards ?? 1,
      lasting: true,
      manual: clock,
      machine,
      memory: mortalStore(files, mine),
      launcher: mortalLauncher(processes, mine, onRun),
      clock: mortalClock(clock, mine),
      engineFor: () => ({
        ...engine,
        toCommand,
        isReady: async (_, call) => engine.isReady(_, call),
      }),
      wrap: (driver) => mortalDriver(losing.wrap(driver), mine, { clock, onChange }),
    });
    made.agent.directory.subscribe(() => mine.touch('directory shown'));
    return made;
  };
  bench = next();
  const fleet = options.fleet(bench.fleet);

  /** Who waits for a life that is over waits for ever, and moves no clock any more. */
  const advance = async (ms: number, mine: Life = life): Promise<void> => {
    if (mine.over()) await never();
    await clock.advance(ms);
    if (mine.over()) await never();
  };
  const run = async <T>(call: Promise<T>, mine: Life = life): Promise<T> => {
    let ended = false;
    const mark = (): void => {
      ended = true;
    };
    call.then(mark, mark);
    while (!ended) await advance(clock.pending() > 0 ? 20 : 0, mine);
    return call;
  };
  const isWhole = async (): Promise<boolean> => {
    const { state, instances } = await bench.agent.status();
    const settled = instances.every(({ state: is }) => is === 'ready' || is === 'parked');
    const plan = bench.agent.control(bench.hooks).plan();
    if (plan === null || !settled || (state !== 'ready' && state !== 'degraded')) return false;
    return instances.length === plan.placements.length && (await layoutsReached(bench, plan));
  };
  /** Until the node is as its agent wants it; how long that took on the clock of the host. */
  const untilWhole = async (): Promise<number> => {
    const mine = life;
    const began = clock.monoMs();
    for (let turns = 0; !(await isWhole()); turns += 1) {
      // Files on a disk take real time, in which the clock must not run away.
      const late = clock.monoMs() - began > GRACE_MS;
      if (late && turns > MOST_TURNS) {
        const { state, instances } = await bench.agent.status();
        const words = instances.map(
          (each) => `${each.instance} ${each.state} ${each.trouble?.message}`,
        );
        throw new Error(`not whole after ${GRACE_MS} ms: ${state}; ${words.join('; ')}`);
      }
      await advance(late ? 0 : 20, mine);
    }
    return clock.monoMs() - began;
  };

  return {
    clock,
    fleet,
    files,
    machine,
    processes,
    engine,
    losing,
    run,
    advance,
    untilWhole,
    life: (): Life => life,
    /** Counts the steps of this life, or of the next one when this one is ended first. */
    countNextLives: (): (() => readonly string[]) => {
      armed = true;
      dieAt = null;
      arm();
      return () => life.steps;
    },
    /** Dies at a step, counted as above. */
    dieAt: (step: number): void => {
      armed = true;
      dieAt = step;
      arm();
    },
    /** Called when it died at its step. */
    onDeath: (callback: () => void): void => {
      onDeath = callback;
    },
    bench: (): Bench => bench,
    /** What was broken at any moment. */
    broken: (): readonly string[] => broken,
    pids: () => Object.fromEntries(processes.alive().map(({ name, pid }) => [name, pid])),
    /** Opens the agent and brings it to the fleet, as `aim-gpu agent F` does. */
    bringUp: async (wanted: Fleet = fleet): Promise<void> => {
      await run(bench.agent.open());
      const same = JSON.stringify(bench.agent.fleet) === JSON.stringify(wanted);
      if (!(bench.agent.resumed && same)) await run(bench.agent.applyFleet(wanted));
      await untilWhole();
    },
    /**
     * The agent is dead; the next one takes the node over, with what was applied last, and dies at the step it is told,
     * at none with null.
     */
    restart: async (then: { readonly dieAt?: number | null } = {}): Promise<void> => {
      if (life.over()) armed = false;
      if (then.dieAt !== undefined) {
        armed = then.dieAt !== null;
        dieAt = then.dieAt;
      }
      const told = onDeath;
      onDeath = () => undefined;
      life.end();
      onDeath = told;
      // Systemd starts it after 100 ms.
      await clock.advance(100);
      bench = next();
      await run(bench.agent.open());
    },
    /** Throws when agent, devices, processes, directory and journal do not agree. */
    compare: async (): Promise<void> => {
      const { instances } = await bench.agent.status();
      const plan = bench.agent.control(bench.hooks).plan();
      const awake = instances.filter(({ state }) => state === 'ready');
      const running = processes.alive();
      same('processes', sorted(running.map(nameAndPid)), sorted(awake.map(nameAndPidOf)));
      same(
        'instances',
        sorted(instances.map(({ instance }) => instance)),
        sorted((plan?.placements ?? []).map(({ instance }) => instance)),
      );
      const shown = bench.agent.fleet.models
        .flatMap(({ name }) => bench.agent.directory.endpoints(name as WorkloadName))
        .map(({ instance }) => instance);
      same('endpoints', sorted(shown), sorted(awake.map(({ instance }) => instance)));
      // The journal as the next agent will read it.
      const tenures = await createAssigned(files).load();
      same(
        'assignments',
        sorted(tenures.map(({ definition }) => definition.placement.instance)),
        sorted(instances.map(({ instance }) => instance)),
      );
      const noted = tenures.flatMap(({ process }) => (process === null ? [] : [process.mark.pid]));
      same('processes in the journal', sorted(noted), sorted(running.map(({ pid }) => pid)));
      const changes = await files.journal<{ readonly type: string }>('repartition').read();
      const open = changes.filter(({ type }) => type === 'begin').length;
      same('changes of layouts that are open', open - changes.filter(isEnd).length, 0);
      if (broken.length > 0) throw new Error(broken.join('; '));
    },
    /** Stops everything in order: nothing may be left. */
    end: async (): Promise<void> => {
      await run(bench.agent.close());
      same('processes after the end', processes.alive().map(nameAndPid), []);
      same('assignments after the end', (await createAssigned(files).load()).length, 0);
    },
  };
}

const isEnd = ({ type }: { readonly type: string }): boolean => type === 'end';

async function layoutsReached(bench: Bench, plan: Plan): Promise<boolean> {
  const { cards } = await bench.driver.discover();
  return (plan.nodes[0]?.cards ?? []).every(({ id, layout }) => {
    const found = cards.find((card) => card.id === id);
    return found === undefined || JSON.stringify(found.layout) === JSON.stringify(layout);
  });
}

function sharesOf(command: LaunchCommand): readonly Share[] {
  return JSON.parse(command.argv[3] ?? '[]') as readonly Share[];
}

function nameAndPid({ name, pid }: { readonly name: string; readonly pid: number }): string {
  return `${name} ${pid}`;
}

function nameAndPidOf(status: { readonly instance: string; readonly pid: number | null }): string {
  return `${status.instance} ${status.pid}`;
}

function sorted<T>(list: readonly T[]): readonly T[] {
  return list.toSorted();
}

function same(what: string, is: unknown, shouldBe: unknown): void {
  const [a, b] = [JSON.stringify(is), JSON.stringify(shouldBe)];
  if (a !== b) throw new Error(`${what}: ${a}, should be ${b}`);
}

/** The first instance of a workload. */
export const first = (name: string) => instanceId(name as WorkloadName, 0);
