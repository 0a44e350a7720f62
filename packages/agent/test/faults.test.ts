// Faults around a node that no other test brings: what is expected of each stands in docs/guide/what-survives-what.md.
import { createServer } from 'node:net';
import { AimError, type StateStore, workloadName } from '@aim-gpu/core';
import { createMemoryStateStore } from '@aim-gpu/core/testing';
import { expect, test } from 'vitest';
import { createBench, exclusive } from './support/agent-bench.js';

const CHAT = workloadName('chat');
const ONE = [exclusive('chat')];

/** A store that can be made read-only, as a file system that was remounted so is. */
function createFragileStore() {
  const memory = createMemoryStateStore();
  let readOnly = false;
  const guard =
    <A extends readonly unknown[]>(write: (...values: A) => Promise<void>) =>
    async (...values: A): Promise<void> => {
      if (readOnly) {
        const message = 'read-only file system';
        throw new AimError({ code: 'ERR_STATE_IO', kind: 'unavailable', message });
      }
      return write(...values);
    };
  const store: StateStore = {
    ...memory,
    snapshot: <T>(name: string) => {
      const inner = memory.snapshot<T>(name);
      return { ...inner, write: guard(inner.write) };
    },
    journal: <T>(name: string) => {
      const inner = memory.journal<T>(name);
      return { ...inner, append: guard(inner.append), compact: guard(inner.compact) };
    },
  };
  return {
    store,
    setReadOnly: (to: boolean) => {
      readOnly = to;
    },
  };
}

test('an engine whose port another process took is started again on another port', async () => {
  const bench = createBench({ workloads: ONE });
  bench.engine.health = 'loading';
  const up = bench.bringUp();
  await bench.until(() => bench.launcher.launched.length === 1, 50);
  const taken = Number(bench.launcher.last().command.argv[2]);
  const thief = createServer();
  await new Promise<void>((resolve) => thief.listen(taken, '127.0.0.1', resolve));
  try {
    bench.launcher.last().crash(['[Errno 98] address already in use']);
    bench.engine.health = 'ready';
    await up;
    const [endpoint] = bench.agent.directory.endpoints(CHAT);
    expect(bench.launcher.launched).toHaveLength(2);
    expect(bench.launcher.alive()).toHaveLength(1);
    expect(endpoint?.state).toBe('ready');
    expect(endpoint?.address.port).not.toBe(taken);
  } finally {
    await new Promise((resolve) => thief.close(resolve));
  }
});

test('a stranger on the port of an engine is not believed, whatever it answers', async () => {
  const bench = createBench({ workloads: ONE });
  bench.engine.health = 'loading';
  const up = bench.bringUp();
  await bench.until(() => bench.launcher.launched.length === 1, 50);
  const first = bench.launcher.last();
  const taken = Number(first.command.argv[2]);
  const thief = createServer();
  await new Promise<void>((resolve) => thief.listen(taken, '127.0.0.1', resolve));
  const shown: (number | undefined)[] = [];
  bench.agent.directory.subscribe(() => {
    shown.push(...bench.agent.directory.endpoints(CHAT).map(({ address }) => address.port));
  });
  try {
    // What answers its health check now is the stranger.
    bench.engine.health = 'ready';
    await up;
    expect(first.alive()).toBe(false);
    expect(bench.launcher.alive()).toHaveLength(1);
    expect(shown.length).toBeGreaterThan(0);
    expect(shown).not.toContain(taken);
    expect(bench.logger.records.map(({ event }) => event)).toContain('instance-error');
  } finally {
    await new Promise((resolve) => thief.close(resolve));
  }
});

test('a model directory that vanishes fails the starts until the verdict, in the engine’s words', async () => {
  const bench = createBench({ workloads: ONE });
  await bench.bringUp();
  const words = ['OSError: /models/chat does not exist'];
  bench.engine.health = 'loading';
  const fail = async (launched: number): Promise<void> => {
    await bench.until(() => bench.launcher.launched.length === launched, 500);
    bench.launcher.last().crash(words);
  };
  for (let launched = 1; launched <= 5; launched += 1) await fail(launched);
  const events = () => bench.agent.events.after(0);
  await bench.until(() => events().some(({ event }) => event === 'instance-failed'), 500);
  const status = await bench.agent.status();
  expect(status.instances[0]).toMatchObject({ instance: 'chat-0', state: 'failed' });
  expect(bench.agent.directory.endpoints(CHAT)).toEqual([]);
  expect(bench.launcher.alive()).toEqual([]);
  expect(bench.launcher.launched).toHaveLength(5);
  expect(bench.launcher.last().lastOutput()).toEqual(words);
});

test('an engine that hangs while it starts is ended 10 minutes after its weights could be read, and the next one serves', async () => {
  const bench = createBench({ workloads: ONE });
  bench.engine.health = 'hang';
  const up = bench.bringUp();
  await bench.until(() => bench.launcher.launched.length === 1, 50);
  const since = bench.clock.monoMs();
  const first = bench.launcher.last();
  await bench.until(() => !first.alive(), 1000);
  expect(bench.clock.monoMs() - since).toBeGreaterThan(12 * 60_000);
  expect(bench.clock.monoMs() - since).toBeLessThan(13 * 60_000);
  bench.engine.health = 'ready';
  await up;
  expect(bench.launcher.alive()).toHaveLength(1);
  expect(bench.agent.directory.endpoints(CHAT)[0]?.state).toBe('ready');
});

test('a state directory that became read-only: what runs goes on, a change is refused, nothing unwritten runs', async () => {
  const { store, setReadOnly } = createFragileStore();
  const bench = createBench({ workloads: ONE, memory: store, lasting: true });
  await bench.bringUp();
  setReadOnly(true);
  const more = { ...bench.fleet, models: [...ONE, exclusive('code')] };
  await expect(bench.run(bench.agent.applyFleet(more))).rejects.toThrow('read-only file system');
  expect(bench.launcher.alive().map(({ name }) => name)).toEqual(['chat-0']);
  expect(bench.agent.directory.endpoints(CHAT)[0]?.state).toBe('ready');
  // A crash in that time: each start ends before its program runs, because it cannot be written down.
  bench.launcher.last().crash();
  await bench.until(() => bench.launcher.launched.length === 3, 50);
  await bench.clock.advance(0);
  expect(bench.launcher.alive()).toEqual([]);
  expect(bench.agent.directory.endpoints(CHAT)).toEqual([]);
  setReadOnly(false);
  await bench.run(bench.agent.applyFleet(more));
  await bench.until(
    () => bench.agent.directory.endpoints(workloadName('code'))[0]?.state === 'ready',
    50,
  );
  expect(bench.launcher.alive()).toHaveLength(2);
});

test.each([-3_600_000, 3_600_000])(
  'a wall clock that is set by %d ms touches nothing',
  async (step) => {
    const bench = createBench({ workloads: ONE });
    await bench.bringUp();
    const before = bench.launcher.launched.length;
    bench.clock.stepWall(step);
    await bench.clock.advance(60_000);
    expect(bench.launcher.launched).toHaveLength(before);
    expect(bench.agent.directory.endpoints(CHAT)[0]?.state).toBe('ready');
    const since = bench.clock.monoMs();
    bench.launcher.last().crash();
    await bench.until(() => bench.launcher.launched.length === before + 1, 50);
    expect(bench.clock.monoMs() - since).toBeLessThan(1000);
  },
);
