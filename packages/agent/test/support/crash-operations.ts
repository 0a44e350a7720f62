/**
 * What a node does, each operation with its preparation, as the things an agent can be killed in. Owns the list; how it
 * is killed is in crash-everywhere.ts.
 */
import { type Fleet, type Workload, workloadName } from '@aim-gpu/core';
import { aWorkload } from '@aim-gpu/core/testing';
import { exclusive } from './agent-bench.js';
import { type CrashingHost, first } from './crashing-host.js';

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
      await host.bench().agent.drain(first('chat'), { undo: false });
      await host.advance(50);
      await host.bench().agent.drain(first('chat'), { undo: true });
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
