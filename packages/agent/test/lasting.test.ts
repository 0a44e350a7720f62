import {
  type InstanceId,
  instanceId,
  type StateStore,
  type Workload,
  workloadName,
} from '@aim-gpu/core';
import { aWorkload, createMemoryStateStore } from '@aim-gpu/core/testing';
import { describe, expect, test } from 'vitest';
import { createAssigned } from '../src/assigned.js';
import { CARD, createBench, exclusive, THREE } from './support/agent-bench.js';
import { createFakeLauncher, FIRST_PID } from './support/fake-launcher.js';

const CHAT = instanceId(workloadName('chat'), 0);

/** A host whose processes and files outlive its agents. */
function createHost(workloads: readonly Workload[] = THREE) {
  const memory = createMemoryStateStore();
  const processes = createFakeLauncher();
  return {
    memory,
    processes,
    /** An agent that is killed is one that is simply left alone: its lock dies with its process. */
    next: () => createBench({ memory: unlocked(memory), processes, workloads, lasting: true }),
  };
}

/** A store whose locks died with their process. */
function unlocked(memory: ReturnType<typeof createMemoryStateStore>) {
  const locks = createMemoryStateStore();
  return { ...memory, lock: locks.lock };
}

const live = ({ processes }: ReturnType<typeof createHost>) =>
  processes.alive().map(({ name, pid }) => `${name}:${pid}`);

describe('a lasting agent', () => {
  test('that is killed leaves its engines, and the next one takes them over', async () => {
    const host = createHost();
    await host.next().bringUp();
    const before = live(host);
    expect(before).toHaveLength(3);

    const second = host.next();
    await second.run(second.agent.open());
    expect(second.agent.resumed).toBe(true);
    await second.until(
      () => second.agent.directory.endpoints(workloadName('draft')).length === 1,
      50,
    );
    expect(live(host)).toEqual(before);
    expect(host.processes.launched).toHaveLength(3);
    const status = await second.agent.status();
    expect(status.instances.map(({ instance, pid }) => `${instance}:${pid}`)).toEqual(before);
    expect(status.plan).not.toBeNull();
    expect(
      second.agent.events.after(0).filter(({ event }) => event === 'instance-adopted'),
    ).toHaveLength(3);
  });

  test('starts what died meanwhile and takes over the rest', async () => {
    const host = createHost();
    await host.next().bringUp();
    host.processes.alive()[1]?.crash();
    const second = host.next();
    await second.run(second.agent.open());
    await second.until(() => host.processes.alive().length === 3, 50);
    expect(host.processes.launched).toHaveLength(4);
    await second.run(second.agent.settled(instanceId(workloadName('code'), 0)));
    expect((await second.agent.status()).state).toBe('ready');
  });

  test('closes in order and leaves its engines when told so, and stops them when not', async () => {
    const host = createHost();
    const first = host.next();
    await first.bringUp();
    await first.run(first.agent.close({ keepEngines: true }));
    expect(live(host)).toHaveLength(3);
    const second = host.next();
    await second.run(second.agent.open());
    await second.run(second.agent.close());
    expect(live(host)).toEqual([]);
    const third = host.next();
    await third.run(third.agent.open());
    expect(third.agent.resumed).toBe(false);
  });

  test('ends what nobody remembers', async () => {
    const host = createHost();
    await host.next().bringUp();
    // The journal lost its last records.
    await host.memory.journal('assigned').compact([{ type: 'format', version: 2 }]);
    const second = host.next();
    await second.run(second.agent.open());
    expect(host.processes.reclaimed).toEqual(['chat-0', 'code-0', 'draft-0']);
    await second.until(() => host.processes.alive().length === 3, 50);
  });

  test('keeps to what was drained, whatever became of its process, until that is undone', async () => {
    const host = createHost();
    const first = host.next();
    await first.bringUp();
    const CODE = instanceId(workloadName('code'), 0);
    await first.agent.drain(CHAT, { undo: false });
    await first.agent.drain(CODE, { undo: false });
    const draining = async ({ agent }: typeof first) =>
      (await agent.status()).instances
        .filter((each) => each.draining)
        .map((each) => each.instance)
        .sort();

    // One is taken over, the other has died.
    host.processes.alive()[1]?.crash();
    const second = host.next();
    await second.run(second.agent.open());
    await second.until(() => host.processes.alive().length === 3, 50);
    await second.run(second.agent.settled(CODE));
    expect(await draining(second)).toEqual([CHAT, CODE]);
    for (const name of ['chat', 'code']) {
      const [endpoint] = second.agent.directory.endpoints(workloadName(name));
      expect(endpoint).toMatchObject({ state: 'draining' });
    }
    await second.run(second.agent.restart(CHAT));
    await second.run(second.agent.settled(CHAT));
    expect(await draining(second)).toEqual([CHAT, CODE]);

    await second.agent.drain(CODE, { undo: true });
    const third = host.next();
    await third.run(third.agent.open());
    await third.run(third.agent.settled(CODE));
    expect(await draining(third)).toEqual([CHAT]);
  });

  test('forgets a drain with the instance, or when everything is stopped', async () => {
    const host = createHost();
    const first = host.next();
    await first.bringUp();
    await first.agent.drain(null, { undo: false });
    const models = first.fleet.models.filter(({ name }) => name !== 'chat');
    for (const fleet of [{ ...first.fleet, models }, first.fleet]) {
      // Until the cards have settled.
      await first.clock.advance(5000);
      await first.run(first.agent.applyFleet(fleet));
    }
    const drained = (await first.agent.status()).instances.filter((each) => each.draining);
    expect(drained.map(({ instance }) => instance)).toEqual(['code-0', 'draft-0']);
    await first.run(first.agent.close());
    const assigned = createAssigned(host.memory);
    await assigned.load();
    expect(assigned.drained().size).toBe(0);
  });

  test('a drain that cannot be written down does not happen', async () => {
    const memory = createMemoryStateStore();
    let full = false;
    const store: StateStore = {
      ...memory,
      journal: <T>(name: string) => {
        const inner = memory.journal<T>(name);
        const append = (record: T): Promise<void> =>
          full ? Promise.reject(new Error('the disk is full')) : inner.append(record);
        return { ...inner, append };
      },
    };
    const first = createBench({ memory: store, workloads: [exclusive('chat')], lasting: true });
    await first.bringUp();
    full = true;
    await expect(first.agent.drain(CHAT, { undo: false })).rejects.toThrow('the disk is full');
    expect((await first.agent.status()).instances[0]?.draining).toBe(false);
    full = false;
    await first.agent.drain(CHAT, { undo: false });
    expect((await first.agent.status()).instances[0]?.draining).toBe(true);
  });

  test('a drain is still known when the journal was rewritten', async () => {
    const memory = createMemoryStateStore();
    const assigned = createAssigned(memory);
    await assigned.noteDrained(new Set([CHAT]));
    await assigned.noteDrained(new Set([CHAT]));
    expect(await memory.journal('assigned').read()).toHaveLength(2);
    for (let turn = 0; turn < 300; turn += 1) {
      await assigned.noteDrained(new Set(turn % 2 === 0 ? [] : [CHAT]));
    }
    expect((await memory.journal('assigned').read()).length).toBeLessThan(260);
    const next = createAssigned(memory);
    await next.load();
    expect([...next.drained()]).toEqual([CHAT]);
  });

  test('waits a short time only for a hung engine it took over', async () => {
    const host = createHost([exclusive('chat')]);
    await host.next().bringUp();
    const second = host.next();
    second.engine.health = 'hang';
    await second.run(second.agent.open());
    const began = second.clock.monoMs();
    await second.until(() => host.processes.launched.length === 2, 50);
    expect(second.clock.monoMs() - began).toBeLessThan(20_000);
    expect(live(host)).toHaveLength(1);
  });

  test('of two processes of one instance keeps the one that requests went to', async () => {
    const host = createHost([exclusive('chat')]);
    const first = host.next();
    await first.bringUp();
    const assigned = createAssigned(host.memory);
    const [tenure] = await assigned.load();
    if (tenure === undefined) throw new Error('nothing is assigned');
    // Killed in the middle of a replacement: the new one had started and was not shown.
    const other = await host.processes.launch(
      { argv: [], env: {} },
      { name: 'new', logFile: null },
    );
    await assigned.assign({ ...tenure, key: 'new', digest: 'other', shown: false });
    const mark = other.mark?.();
    const { process } = tenure;
    if (mark === undefined || process === null) throw new Error('no process');
    await assigned.noteProcess('new', { ...process, mark, ready: false });

    const second = host.next();
    await second.run(second.agent.open());
    await second.until(() => host.processes.alive().length === 1, 50);
    expect(live(host)).toEqual([`chat-0:${FIRST_PID}`]);
    expect(await second.run(second.agent.settled(CHAT))).toMatchObject({ pid: FIRST_PID });
  });

  test('a journal cut anywhere is repaired, and leaves no process behind', {
    timeout: 60_000,
  }, async () => {
    const host = createHost();
    await host.next().bringUp();
    const journal = host.memory.journal('assigned');
    let records = await journal.read();
    for (let kept = 0; kept <= records.length; kept += 1) {
      await journal.compact(records.slice(0, kept));
      const next = host.next();
      await next.run(next.agent.open());
      await next.until(
        () => next.agent.directory.endpoints(workloadName('draft')).length === 1,
        50,
      );
      await next.until(() => host.processes.alive().length === 3, 50);
      expect([
        kept,
        live(host)
          .map((name) => name.split(':')[0])
          .toSorted(),
      ]).toEqual([kept, ['chat-0', 'code-0', 'draft-0']]);
      await next.run(next.agent.close({ keepEngines: true }));
      records = await journal.read();
    }
  });

  test('refuses files of a later version, and reads those of the first', async () => {
    const memory = createMemoryStateStore();
    await memory.journal('assigned').append({ type: 'format', version: 3 });
    const bench = createBench({ memory, lasting: true });
    await expect(bench.run(bench.agent.open())).rejects.toMatchObject({
      code: 'ERR_STATE_NEWER',
      kind: 'conflict',
    });
    const old = createMemoryStateStore();
    const first = { instance: 'chat-0', workload: 'chat', plan: 'p1', shares: [] };
    await old.snapshot('assignments').write([first]);
    const upgraded = createBench({ memory: old, lasting: true });
    await upgraded.bringUp();
    expect(await old.snapshot('assignments').read()).toEqual([]);
    const later = createMemoryStateStore();
    await later.snapshot('desired').write({ format: 2 });
    const third = createBench({ memory: later, lasting: true });
    await expect(third.run(third.agent.open())).rejects.toMatchObject({ code: 'ERR_STATE_NEWER' });
  });

  test('keeps its journal bounded over many changes', async () => {
    const host = createHost([aWorkload({ name: workloadName('chat') })]);
    const bench = host.next();
    await bench.bringUp();
    for (let round = 0; round < 100; round += 1) {
      await bench.run(bench.agent.restart('chat-0' as InstanceId));
      await bench.run(bench.agent.settled('chat-0' as InstanceId));
    }
    expect((await host.memory.journal('assigned').read()).length).toBeLessThanOrEqual(300);
    expect(live(host)).toHaveLength(1);
    expect(bench.agent.directory.endpoints(workloadName('chat'))).toHaveLength(1);
    expect((await bench.driver.discover()).cards[0]?.id).toBe(CARD);
  });
});
