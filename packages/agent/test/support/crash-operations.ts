/**
 * What a node does, each operation with its preparation, killed at every step it takes outside its agent: the agent is
 * thrown away there, the next one takes over, and everything must be as it should. Used by the test and by the soak.
 */
import { type Fleet, type Workload, workloadName } from '@aim-gpu/core';
import { aWorkload } from '@aim-gpu/core/testing';
import { exclusive } from './agent-bench.js';
import { type CrashingHost, createCrashingHost, first } from './crashing-host.js';

/** One operation. */
export interface CrashOperation {
  readonly name: string;
  readonly cards?: number;
  /** What runs before. */
  readonly models: readonly Workload[];
  /** Other models, for operations that apply a fleet. */
  readonly next?: readonly Workload[];
  /** Nothing runs yet. */
  readonly fromNothing?: boolean;
  /** Time after which the next agent has surely noticed what had happened. */
  readonly noticedMs?: number;
  readonly prepare?: (host: CrashingHost) => Promise<void>;
  /** Does it, to its end. */
  readonly operate: (host: CrashingHost, next: Fleet) => Promise<void>;
  /** Asks for it again after a crash, unless it was a matter of the agent alone. */
  readonly again?: (host: CrashingHost, next: Fleet) => Promise<void>;
}

/** How an operation was killed. */
export interface CrashTable {
  readonly operation: string;
  /** Steps it has, each of which was the last one of an agent. */
  readonly points: number;
  readonly byKind: Readonly<Record<string, number>>;
  /** Longest time from the death of an agent until the node was whole again. */
  readonly slowestRecoveryMs: number;
  /** Runs that found the old fleet applied after the crash, and the new one. */
  readonly wentOnWith: { readonly before: number; readonly after: number };
}

const plain = (name: string, overrides: Partial<Workload> = {}): Workload =>
  aWorkload({ name: workloadName(name), ...overrides });
const parked = plain('chat', { replicas: { min: 0, max: 1, idleMs: 60_000 } });
const chat = workloadName('chat');

const applyNext = async (host: CrashingHost, next: Fleet): Promise<void> => {
  await host.run(host.bench().agent.applyFleet(next));
  await host.untilWhole();
};
/** Requests that are under way end some time after the operation has begun to wait for them. */
const applyUnderLoad = async (host: CrashingHost, next: Fleet): Promise<void> => {
  host.engine.load = 2;
  const cancel = host.clock.timer(400, () => {
    host.engine.load = 0;
  });
  await applyNext(host, next).finally(cancel);
};
const wake = async (host: CrashingHost): Promise<void> => {
  await host.run(host.bench().agent.directory.request(chat));
};
const untilParked = async (host: CrashingHost): Promise<void> => {
  for (let state = ''; state !== 'parked'; ) {
    await host.advance(1000);
    state = (await host.bench().agent.status()).instances[0]?.state ?? '';
  }
};

/** Every operation. */
export const CRASH_OPERATIONS: readonly CrashOperation[] = [
  {
    name: 'first start with repartition',
    models: [exclusive('chat'), exclusive('code'), exclusive('draft')],
    fromNothing: true,
    operate: (host, next) => host.bringUp(next),
    again: applyNext,
  },
  {
    name: 'taking over',
    models: [plain('chat'), plain('code'), plain('draft')],
    operate: async (host) => {
      await host.restart();
      await host.untilWhole();
    },
  },
  {
    name: 'apply: add',
    models: [plain('chat'), plain('code')],
    next: [plain('chat'), plain('code'), plain('draft')],
    operate: applyNext,
    again: applyNext,
  },
  {
    name: 'apply: remove',
    models: [plain('chat'), plain('code')],
    next: [plain('chat')],
    operate: applyUnderLoad,
    again: applyNext,
  },
  {
    name: 'apply: resize beside the old one',
    models: [plain('chat'), plain('code')],
    next: [plain('chat', { concurrency: 2, maxModelLen: 4096 }), plain('code')],
    operate: applyUnderLoad,
    again: applyNext,
  },
  {
    name: 'apply: move to another card',
    cards: 2,
    models: [plain('chat'), plain('code')],
    next: [plain('chat'), plain('code', { placement: { ...plain('x').placement, apart: [chat] } })],
    operate: applyUnderLoad,
    again: applyNext,
  },
  {
    name: 'apply: other engine arguments, no room for two',
    models: [exclusive('chat')],
    next: [
      exclusive('chat', {
        engine: { name: 'auto', version: null, args: { 'enable-prefix-caching': false } },
      }),
    ],
    operate: applyNext,
    again: applyNext,
  },
  {
    name: 'repartition while others serve and one drains',
    cards: 2,
    models: [exclusive('a'), exclusive('b')],
    next: [exclusive('a'), exclusive('b'), exclusive('c')],
    operate: applyUnderLoad,
    again: applyNext,
  },
  {
    name: 'repartition of the only card',
    models: [plain('chat')],
    next: [exclusive('chat'), exclusive('code'), exclusive('draft')],
    operate: applyNext,
    again: applyNext,
  },
  {
    name: 'restart of an engine, asked for',
    models: [plain('chat'), plain('code')],
    operate: async (host) => {
      await host.run(host.bench().agent.restart(first('chat')));
      await host.untilWhole();
    },
  },
  {
    name: 'restart of an engine that died',
    models: [plain('chat'), plain('code')],
    operate: async (host) => {
      host.processes.alive()[0]?.crash(['out of memory']);
      await host.advance(100);
      await host.untilWhole();
    },
  },
  {
    name: 'park',
    models: [parked],
    prepare: wake,
    operate: untilParked,
    again: untilParked,
  },
  { name: 'wake', models: [parked], operate: wake, again: wake },
  {
    name: 'drain and undo',
    models: [plain('chat')],
    operate: async (host) => {
      host.bench().agent.drain(first('chat'), { undo: false });
      await host.advance(50);
      host.bench().agent.drain(first('chat'), { undo: true });
      await host.advance(50);
    },
  },
  {
    name: 'loss of a partition',
    noticedMs: 3000,
    models: [exclusive('a'), exclusive('b')],
    operate: async (host) => {
      const { card, partition } = await shareOf(host, 'a');
      host.losing.lose(card, partition);
      await host.advance(3000);
      await host.untilWhole();
    },
  },
  {
    name: 'loss of a card, and its return',
    noticedMs: 3000,
    cards: 2,
    models: [exclusive('a'), exclusive('b')],
    operate: async (host) => {
      const { card } = await shareOf(host, 'a');
      host.losing.lose(card);
      await host.advance(3000);
      await host.untilWhole();
      host.losing.restore();
      await host.advance(3000);
      await host.untilWhole();
    },
  },
  {
    name: 'down',
    models: [plain('chat'), plain('code')],
    operate: (host) => host.run(host.bench().agent.close()),
  },
];

async function shareOf(host: CrashingHost, name: string) {
  const { instances } = await host.bench().agent.status();
  const share = instances.find(({ instance }) => instance === first(name))?.shares[0];
  if (share === undefined) throw new Error(`${name} has no share`);
  return share;
}

/** A host on which an operation may begin. */
async function prepare(operation: CrashOperation) {
  const { cards, models, next = models } = operation;
  const host = createCrashingHost({
    fleet: (made) => ({ ...made, models: operation.fromNothing === true ? [] : models }),
    ...(cards === undefined ? {} : { cards }),
  });
  if (operation.fromNothing !== true) await host.bringUp();
  await operation.prepare?.(host);
  return { host, next: { ...host.fleet, models: next } };
}

/** Steps an operation takes. */
async function countSteps(operation: CrashOperation): Promise<readonly string[]> {
  const { host, next } = await prepare(operation);
  const steps = host.countNextLives();
  await operation.operate(host, next);
  return [...steps()];
}

/** Kills an operation at every `stride`th step. Throws at the first thing that is not as it should be, naming the step. */
export async function crashEverywhere(
  operation: CrashOperation,
  options: {
    readonly signal?: AbortSignal;
    readonly stride?: number;
    /** Kills the agent that repairs it as well, at this step of its own life; none when left out. */
    readonly again?: (at: number) => number;
    readonly onStep?: (what: string, at: number) => void;
  } = {},
): Promise<CrashTable> {
  const steps = await countSteps(operation);
  const byKind: Record<string, number> = {};
  const wentOnWith = { before: 0, after: 0 };
  let slowestRecoveryMs = 0;
  for (
    let at = 0;
    at < steps.length && options.signal?.aborted !== true;
    at += options.stride ?? 1
  ) {
    const what = steps[at] ?? '';
    options.onStep?.(what, at);
    const kind = kindOf(what);
    byKind[kind] = (byKind[kind] ?? 0) + 1;
    try {
      const ended = await crashAt(operation, at, options.again?.(at) ?? null);
      slowestRecoveryMs = Math.max(slowestRecoveryMs, ended.recoveryMs);
      wentOnWith[ended.wentOnWith] += 1;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`${operation.name}, killed ${what} (step ${at}): ${message}`, {
        cause: error,
      });
    }
  }
  return { operation: operation.name, points: steps.length, byKind, slowestRecoveryMs, wentOnWith };
}

async function crashAt(operation: CrashOperation, at: number, again: number | null) {
  const { host, next } = await prepare(operation);
  const { models } = host.fleet;
  host.dieAt(at);
  const died = new Promise<'died'>((resolve) => host.onDeath(() => resolve('died')));
  const begun = operation.operate(host, next);
  begun.catch(() => undefined);
  const outcome = await Promise.race([died, begun.then(() => 'ended' as const)]);
  if (outcome !== 'died') throw new Error('it took another way and never came to this step');
  host.engine.load = 0;
  const diedMs = host.clock.monoMs();
  if (again !== null) await crashInRepair(host, again);
  await host.restart({ dieAt: null });
  const { agent } = host.bench();
  if (!agent.resumed) {
    // Nothing was applied yet, or it was stopped for good: no engine may be left.
    if (host.processes.alive().length > 0) throw new Error('engines without a fleet');
    await host.run(agent.applyFleet(next));
  }
  await host.advance(operation.noticedMs ?? 0);
  await host.untilWhole();
  const recoveryMs = host.clock.monoMs() - diedMs;
  await host.compare();
  const now = JSON.stringify(agent.fleet.models);
  const is = (wanted: readonly Workload[]): boolean => now === JSON.stringify(wanted);
  if (!is(models) && !is(next.models)) throw new Error(`it went on with neither fleet: ${now}`);
  await operation.again?.(host, next);
  await host.untilWhole();
  await host.compare();
  await host.end();
  return { recoveryMs, wentOnWith: is(next.models) ? ('after' as const) : ('before' as const) };
}

/** Another agent begins to repair, and dies at a step of its own, if it has so many. */
async function crashInRepair(host: CrashingHost, at: number): Promise<void> {
  const died = new Promise<void>((resolve) => host.onDeath(resolve));
  const repair = async (): Promise<void> => {
    await host.restart({ dieAt: at });
    if (host.bench().agent.resumed) await host.untilWhole();
  };
  const repaired = repair();
  repaired.catch(() => undefined);
  await Promise.race([died, repaired]);
}

function kindOf(step: string): string {
  if (step.startsWith('directory')) return 'directory';
  if (step.includes('driver discover')) return 'reading devices';
  if (step.includes('driver')) return 'changing devices';
  if (/launch|gate/.test(step)) return 'launch';
  if (/ stop /.test(step)) return 'stop';
  if (/adopt|reclaim/.test(step)) return 'taking over';
  return 'journals';
}
