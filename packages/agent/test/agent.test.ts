import { AimError, instanceId, type StateStore, workloadName } from '@aim-gpu/core';
import { anInventory, aWorkload, createMemoryStateStore } from '@aim-gpu/core/testing';
import { planRepartition, type RepartitionRecord } from '@aim-gpu/partitioning';
import { describe, expect, test } from 'vitest';
import { createAssigned } from '../src/assigned.js';
import type { LayoutProgress } from '../src/index.js';
import { CARD, createBench, exclusive, NODE, THREE } from './support/agent-bench.js';

const CHAT = workloadName('chat');
/** Six models that each want a partition of their own: two cards have to be split, one after the other. */
const TWO_CARDS = {
  cards: 2,
  workloads: ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => exclusive(name)),
};
/** What is written down, as an agent that comes later reads it. */
const assignmentsOf = async (store: StateStore) => {
  const assigned = createAssigned(store);
  await assigned.load();
  return assigned.assignments();
};

describe('from a fleet to engines that serve', () => {
  test('plan, apply and settle change the layout, start what was placed, and say so', async () => {
    const bench = createBench();
    const { agent, run } = bench;
    await run(agent.open());
    expect((await agent.status()).state).toBe('starting');
    const plan = await run(agent.plan());
    expect(plan.unplaced).toEqual([]);
    expect(plan.changes).not.toEqual([]);
    expect(await bench.layout()).toEqual({ compute: 'SPX', memory: 'NPS1' });
    expect(bench.launcher.launched).toEqual([]);

    const progress: LayoutProgress[] = [];
    const states: string[] = [];
    const silence = agent.onInstanceChange(({ state }) => states.push(state));
    await run(agent.apply(plan, { onLayoutProgress: (step) => progress.push(step) }));
    const statuses = await run(
      Promise.all(plan.placements.map(({ instance }) => agent.settled(instance))),
    );
    silence();

    const planned = plan.nodes[0]?.cards[0]?.layout;
    expect(await bench.layout()).toEqual(planned);
    expect(statuses.map(({ state }) => state)).toEqual(['ready', 'ready', 'ready']);
    expect(states.filter((state) => state === 'ready')).toHaveLength(3);
    expect(progress[0]).toMatchObject({ phase: 'draining', text: 'stopping what is in the way' });
    expect(progress.at(-1)).toEqual({
      phase: 'done',
      text: `card ${CARD} is in ${planned?.compute}/${planned?.memory}`,
      remainingMs: null,
    });
    expect(progress.some(({ text }) => text.startsWith(`card ${CARD}: compute mode`))).toBe(true);
    expect((await assignmentsOf(bench.store))?.map(({ instance }) => instance)).toEqual([
      'chat-0',
      'code-0',
      'draft-0',
    ]);
    const status = await agent.status();
    expect(status).toMatchObject({ state: 'ready', plan: plan.id, pid: 77, node: NODE });
    expect(status.cards[0]?.partitions.flatMap(({ shares }) => shares)).toHaveLength(3);
    expect(agent.directory.endpoints(CHAT)).toHaveLength(1);
    await run(agent.close());
  });

  test('metrics agree with the plan, and series of the old layout are gone', async () => {
    const bench = createBench();
    const { plan } = await bench.bringUp();
    const partitions = plan.nodes[0]?.cards[0]?.partitions ?? [];
    const memory = await bench.samples('aim_gpu_partition_memory_bytes');
    expect(memory.map(({ value }) => value)).toEqual(
      partitions.map(({ memoryBytes }) => memoryBytes),
    );
    expect(await bench.samples('aim_gpu_repartitions_total')).toMatchObject([
      { value: 1, labels: { node: NODE, code: 'applied' } },
    ]);
    expect(await bench.samples('aim_gpu_placements')).toHaveLength(3);
    await bench.run(bench.agent.close());
    expect(await bench.samples('aim_gpu_instance_up')).toEqual([]);
  });

  test('clients are told the context that the engine is started with', async () => {
    const bench = createBench({ workloads: [aWorkload({ maxModelLen: null })] });
    const own = aWorkload({ maxModelLen: null, engine: { ...aWorkload().engine, args: {} } });
    const short = createBench({
      workloads: [{ ...own, engine: { ...own.engine, args: { 'max-model-len': 4096 } } }],
    });
    expect(short.agent.directory.models()[0]?.maxModelLen).toBe(32_768);
    await bench.bringUp();
    await short.bringUp();
    expect(bench.agent.directory.models()[0]?.maxModelLen).toBe(32_768);
    expect(short.agent.directory.models()[0]?.maxModelLen).toBe(4096);
  });

  test('an agent with nothing to run is ready', async () => {
    const bench = createBench({ workloads: [] });
    await bench.bringUp();
    expect((await bench.agent.status()).state).toBe('ready');
  });

  test('applying again keeps what is right and starts what is missing', async () => {
    const bench = createBench();
    const { agent, run, launcher } = bench;
    const { plan } = await bench.bringUp();
    const again = await run(agent.plan());
    expect(again.placements.map(({ shares }) => shares)).toEqual(
      plan.placements.map(({ shares }) => shares),
    );
    await run(agent.apply(again));
    expect(launcher.launched).toHaveLength(3);
    const smaller = { ...again, placements: again.placements.slice(0, 2) };
    await run(agent.apply(smaller));
    expect(launcher.alive().map(({ name }) => name)).toEqual(['chat-0', 'code-0']);
    expect(await assignmentsOf(bench.store)).toHaveLength(2);
    await run(agent.apply(again));
    await run(agent.settled(instanceId(workloadName('draft'), 0)));
    expect(launcher.alive()).toHaveLength(3);
  });

  test('other nodes are planned with, and never touched', async () => {
    const bench = createBench();
    let closed = 0;
    const far = {
      ...bench.driver,
      discover: () => Promise.resolve(anInventory({ node: 'node9' as typeof NODE })),
      close: () => {
        closed += 1;
        return Promise.resolve();
      },
    };
    const both = createBench({ otherDrivers: [far] });
    const { plan } = await both.bringUp();
    expect(plan.nodes.map(({ name }) => name)).toEqual(['node0', 'node9']);
    const mine = plan.placements.filter(({ shares }) => shares.some(({ node }) => node === NODE));
    expect(both.launcher.launched).toHaveLength(mine.length);
    await both.run(both.agent.close());
    expect(closed).toBe(1);
  });
});

describe('a refusal changes nothing', () => {
  const HUGE = exclusive('huge', { source: 'moonshotai/Kimi-K2-Instruct' });
  const FOUR = [...THREE, exclusive('extra')];
  const WHOLE = { ...exclusive('whole'), source: 'meta-llama/Meta-Llama-3.1-70B' };

  test.each([
    ['a model larger than any card', [HUGE], 'ERR_DOES_NOT_FIT'],
    ['one that would fit alone', [WHOLE, ...FOUR], 'ERR_UNPLACED'],
  ])('%s', async (_, workloads, code) => {
    const bench = createBench({ workloads });
    await bench.run(bench.agent.open());
    const plan = await bench.run(bench.agent.plan());
    await expect(bench.run(bench.agent.apply(plan))).rejects.toMatchObject({
      code,
      kind: 'refused',
      hint: expect.stringContaining('--partial'),
      details: { unplaced: plan.unplaced },
    });
    expect(bench.launcher.launched).toEqual([]);
    expect(await bench.layout()).toEqual({ compute: 'SPX', memory: 'NPS1' });
    expect(bench.agent.control(bench.hooks).plan()).toBeNull();
  });

  test('partial starts the others', async () => {
    const bench = createBench({ workloads: [HUGE, exclusive('chat')], partial: true });
    const { statuses } = await bench.bringUp();
    expect(statuses.map(({ instance }) => instance)).toEqual(['chat-0']);
    expect((await bench.agent.status()).unplaced).toMatchObject([{ workload: 'huge' }]);
  });

  test('a plan for a machine that has changed since is stale', async () => {
    const bench = createBench();
    await bench.run(bench.agent.open());
    const plan = await bench.run(bench.agent.plan());
    const { generation } = await bench.driver.discover();
    await bench.run(bench.driver.setComputeMode(CARD, 'CPX', { expect: generation }));
    await expect(bench.run(bench.agent.apply(plan))).rejects.toMatchObject({
      code: 'ERR_PLAN_STALE',
      kind: 'conflict',
    });
    expect(bench.launcher.launched).toEqual([]);
  });

  test('a plan that names what was never sized is stale, before anything is changed', async () => {
    const bench = createBench();
    await bench.run(bench.agent.open());
    const plan = await bench.run(bench.agent.plan());
    const other = createBench({ memory: createMemoryStateStore() });
    await other.run(other.agent.open());
    const inventory = await other.driver.discover();
    await expect(
      other.run(other.agent.apply({ ...plan, observed: { generation: inventory.generation } })),
    ).rejects.toMatchObject({ code: 'ERR_PLAN_STALE', message: expect.stringContaining('chat') });
    expect(await other.layout()).toEqual({ compute: 'SPX', memory: 'NPS1' });
  });

  test('a layout that cannot be had is refused while everything goes on running', async () => {
    const bench = createBench();
    const { plan } = await bench.bringUp();
    const again = await bench.run(bench.agent.plan());
    const [node] = again.nodes;
    const [card] = node?.cards ?? [];
    if (node === undefined || card === undefined) throw new Error('no card was planned');
    const layout = { compute: 'TPX', memory: 'NPS1' } as const;
    const odd = { ...again, nodes: [{ ...node, cards: [{ ...card, layout }] }], placements: [] };
    await expect(bench.run(bench.agent.apply(odd))).rejects.toMatchObject({
      code: 'ERR_LAYOUT_UNSUPPORTED',
      kind: 'refused',
    });
    expect(bench.launcher.alive()).toHaveLength(plan.placements.length);
  });

  test('an agent that was not opened applies nothing', async () => {
    const bench = createBench();
    const plan = await bench.run(bench.agent.plan());
    await expect(bench.run(bench.agent.apply(plan))).rejects.toMatchObject({
      code: 'ERR_AGENT_NOT_OPEN',
    });
    expect(await bench.layout()).toEqual({ compute: 'SPX', memory: 'NPS1' });
  });
});

describe('the node belongs to one agent', () => {
  test('a second one is refused, and may have it afterwards', async () => {
    const memory = createMemoryStateStore();
    const first = createBench({ memory });
    const second = createBench({ memory });
    await first.run(first.agent.open());
    await expect(second.run(second.agent.open())).rejects.toMatchObject({
      code: 'ERR_STATE_LOCKED',
      kind: 'conflict',
    });
    await second.run(second.agent.close());
    await first.bringUp().catch(() => undefined);
    await first.run(first.agent.close());
    const third = createBench({ memory });
    await third.run(third.agent.open());
  });

  test('opening that fails gives the node back', async () => {
    const memory = createMemoryStateStore();
    const bench = createBench({ memory });
    bench.driver.faults.script([{ on: 'discover', effect: { kind: 'io' } }]);
    await expect(bench.run(bench.agent.open())).rejects.toMatchObject({ code: 'ERR_DRIVER_IO' });
    await bench.run(bench.agent.open());
  });

  test('what an earlier run left assigned is not assigned any more', async () => {
    const memory = createMemoryStateStore();
    await memory.snapshot('assignments').write([{ instance: 'chat-0', workload: 'chat' }]);
    const bench = createBench({ memory });
    await bench.run(bench.agent.open());
    expect(await assignmentsOf(memory)).toEqual([]);
  });
});

describe('closing', () => {
  test.each([
    ['leaves the layout', false],
    ['restores the layout when told', true],
  ])('stops every engine, frees the node, and %s', async (_, restoreLayout) => {
    const bench = createBench();
    const { plan } = await bench.bringUp();
    await bench.run(
      Promise.all([bench.agent.close({ restoreLayout }), bench.agent.close({ restoreLayout })]),
    );
    expect(bench.launcher.alive()).toEqual([]);
    expect(await assignmentsOf(bench.store)).toEqual([]);
    const expected = restoreLayout
      ? { compute: 'SPX', memory: 'NPS1' }
      : plan.nodes[0]?.cards[0]?.layout;
    expect(await bench.layout()).toEqual(expected);
    expect(await bench.agent.status()).toMatchObject({ state: 'stopped', instances: [] });
    expect(bench.agent.directory.models()).toEqual([]);
    const lease = await bench.store.lock('agent');
    await lease.release();
  });

  test('frees the node even when the layout cannot be restored', async () => {
    const bench = createBench();
    await bench.bringUp();
    bench.driver.faults.script([
      { on: 'set-compute', times: 99, effect: { kind: 'permission' } },
      { on: 'reload', times: 99, effect: { kind: 'permission' } },
      { on: 'stage-memory', times: 99, effect: { kind: 'permission' } },
    ]);
    await expect(bench.run(bench.agent.close({ restoreLayout: true }))).rejects.toMatchObject({
      code: 'ERR_DRIVER_PERMISSION',
    });
    expect(bench.launcher.alive()).toEqual([]);
    expect(await bench.agent.status()).toMatchObject({ state: 'stopped' });
    await bench.store.lock('agent');
  });

  test('of one that never opened is quiet', async () => {
    const bench = createBench();
    await bench.run(bench.agent.close({ restoreLayout: true }));
    expect((await bench.agent.status()).state).toBe('stopped');
  });

  test('while layouts change rolls back, starts nothing, and ends', async () => {
    const bench = createBench(TWO_CARDS);
    const { agent, run } = bench;
    await run(agent.open());
    const plan = await run(agent.plan());
    let changing = false;
    const applied = agent.apply(plan, {
      onLayoutProgress: ({ phase }) => {
        changing ||= phase === 'changing';
      },
    });
    applied.catch(() => undefined);
    await bench.until(() => changing, 10);
    await run(agent.close());
    await expect(applied).rejects.toMatchObject({ code: 'ERR_STOPPED' });
    expect(bench.launcher.launched).toEqual([]);
    expect(await bench.layouts()).toEqual(['SPX', 'SPX']);
    await expect(agent.apply(plan)).rejects.toMatchObject({ code: 'ERR_STOPPED' });
  });
});

describe('an abort of apply', () => {
  test('before it begins changes nothing', async () => {
    const bench = createBench();
    await bench.run(bench.agent.open());
    const plan = await bench.run(bench.agent.plan());
    const signal = AbortSignal.abort(new Error('Ctrl-C'));
    await expect(bench.agent.apply(plan, { signal })).rejects.toThrow('Ctrl-C');
    expect(await bench.layout()).toEqual({ compute: 'SPX', memory: 'NPS1' });
  });

  test('between two steps takes the layouts back; the next apply goes through', async () => {
    const bench = createBench(TWO_CARDS);
    const { agent, run } = bench;
    await run(agent.open());
    const plan = await run(agent.plan());
    const stop = new AbortController();
    const texts: string[] = [];
    const applied = agent.apply(plan, {
      signal: stop.signal,
      onLayoutProgress: ({ phase, text }) => {
        texts.push(text);
        if (phase === 'changing') stop.abort(new Error('Ctrl-C'));
      },
    });
    await expect(run(applied)).rejects.toThrow('Ctrl-C');
    expect(bench.launcher.launched).toEqual([]);
    expect(await bench.layouts()).toEqual(['SPX', 'SPX']);
    expect(texts.some((text) => text.startsWith('rolling back: '))).toBe(true);
    await run(agent.apply(await run(agent.plan())));
    expect(await bench.layouts()).toEqual(plan.nodes[0]?.cards.map((card) => card.layout.compute));
  });

  test('in the last step lets the layouts be, and starts nothing', async () => {
    const bench = createBench();
    await bench.run(bench.agent.open());
    const plan = await bench.run(bench.agent.plan());
    const stop = new AbortController();
    const applied = bench.agent.apply(plan, {
      signal: stop.signal,
      onLayoutProgress: ({ phase }) => {
        if (phase === 'changing') stop.abort(new Error('Ctrl-C'));
      },
    });
    await expect(bench.run(applied)).rejects.toThrow('Ctrl-C');
    expect(bench.launcher.launched).toEqual([]);
    expect(await assignmentsOf(bench.store)).toEqual([]);
    expect(await bench.layout()).toEqual(plan.nodes[0]?.cards[0]?.layout);
  });
});

describe('trouble', () => {
  test('a failed change of layouts is rolled back, thrown and counted', async () => {
    const bench = createBench();
    await bench.run(bench.agent.open());
    const plan = await bench.run(bench.agent.plan());
    bench.driver.faults.script([{ on: 'set-compute', effect: { kind: 'permission' } }]);
    await expect(bench.run(bench.agent.apply(plan))).rejects.toMatchObject({
      code: 'ERR_DRIVER_PERMISSION',
    });
    expect(bench.launcher.launched).toEqual([]);
    expect(await bench.samples('aim_gpu_repartitions_total')).toMatchObject([
      { value: 1, labels: { code: 'rolled-back' } },
    ]);
  });

  test('a change that a crash interrupted is repaired by the next open', async () => {
    const memory = createMemoryStateStore();
    const first = createBench({ memory });
    await first.run(first.agent.open());
    const plan = await first.run(first.agent.plan());
    let changing = false;
    // The process dies here: its clock stands still for ever, its lock is left behind.
    void first.agent.apply(plan, {
      onLayoutProgress: ({ phase }) => {
        changing ||= phase === 'changing';
      },
    });
    await first.until(() => changing, 10);
    const unlocked: StateStore = {
      ...memory,
      lock: () => createMemoryStateStore().lock('agent'),
    };
    const second = createBench({ memory: unlocked });
    await second.clock.advance(60_000);
    await second.run(second.agent.open());
    expect(second.logger.records).toContainEqual(
      expect.objectContaining({
        event: 'layout-repaired',
        fields: { outcome: 'applied', reasons: [] },
      }),
    );
    await second.bringUp();
    expect((await second.agent.status()).state).toBe('ready');
  });

  test('hooks that another command left in the journal are run by the next open', async () => {
    const memory = createMemoryStateStore();
    const first = createBench({ memory });
    const inventory = await first.driver.discover();
    const planned = planRepartition({
      inventory,
      desired: [{ card: CARD, layout: { compute: 'QPX', memory: 'NPS1' } }],
      assignments: [],
    });
    if (!planned.ok) throw new Error('a plan');
    const plugin = { name: 'plugin', when: 'after', argv: ['restart', 'plugin'] } as const;
    const at = first.clock.epochMs();
    const journal = memory.journal<RepartitionRecord>('repartition');
    const hooks = [{ ...plugin, timeoutMs: 1000, required: false }];
    await journal.append({ type: 'begin', plan: planned.plan, at, hooks });
    await journal.append({ type: 'drained', id: planned.plan.id, at });
    const ran: string[] = [];
    const second = createBench({
      memory,
      hookRunner: {
        run: ({ argv }) => {
          ran.push(argv.join(' '));
          return Promise.resolve({ ok: false, message: 'no unit plugin' });
        },
      },
    });
    await second.run(second.agent.open());
    expect(await second.layouts()).toEqual(['QPX']);
    expect(ran).toEqual(['restart plugin']);
    expect(second.logger.records).toContainEqual(
      expect.objectContaining({
        event: 'layout-repaired',
        fields: {
          outcome: 'applied',
          reasons: [{ code: 'HOOK_FAILED', message: 'plugin: no unit plugin' }],
        },
      }),
    );
  });

  test('a change that stopped half way names what to type next', async () => {
    let switches = 0;
    const bench = createBench({
      ...TWO_CARDS,
      wrap: (inner) => ({
        ...inner,
        setComputeMode: (...call) => {
          switches += 1;
          if (switches === 1) return inner.setComputeMode(...call);
          const error = { code: 'ERR_DRIVER_PERMISSION', kind: 'denied', message: 'no' } as const;
          return Promise.reject(new AimError(error));
        },
      }),
      resumeCommand: (state) => `aim-gpu partition rollback --node ${state}`,
    });
    await bench.run(bench.agent.open());
    const plan = await bench.run(bench.agent.plan());
    await expect(bench.run(bench.agent.apply(plan))).rejects.toMatchObject({
      code: 'ERR_DRIVER_PERMISSION',
      hint: 'type `aim-gpu partition rollback --node between`',
    });
  });

  test('an engine that fails makes the agent degraded until it is back', async () => {
    const bench = createBench();
    const { plan } = await bench.bringUp();
    const [first] = plan.placements;
    if (first === undefined) throw new Error('nothing was placed');
    bench.launcher.launched.find(({ name }) => name === first.instance)?.crash(['Killed']);
    await bench.until(() => bench.agent.directory.endpoints(first.workload).length === 0);
    expect((await bench.agent.status()).state).toBe('degraded');
    const signal = AbortSignal.abort();
    await expect(bench.agent.directory.request(first.workload, { signal })).rejects.toMatchObject({
      code: 'ERR_MODEL_UNAVAILABLE',
      retryAfterMs: 1000,
    });
    await bench.run(bench.agent.settled(first.instance));
    expect((await bench.agent.status()).state).toBe('ready');
  });

  test('a listener that throws stops nothing', async () => {
    const bench = createBench();
    bench.agent.onInstanceChange(() => {
      throw new Error('the screen is gone');
    });
    const { statuses } = await bench.bringUp();
    expect(statuses.map(({ state }) => state)).toEqual(['ready', 'ready', 'ready']);
    expect(bench.logger.records.some(({ event }) => event === 'listener-failed')).toBe(true);
  });

  test('an instance that does not exist is named with those that do', async () => {
    const bench = createBench();
    await bench.bringUp();
    await expect(bench.agent.settled(instanceId(CHAT, 9))).rejects.toMatchObject({
      code: 'ERR_INSTANCE_UNKNOWN',
      kind: 'missing',
      hint: 'instances are: chat-0, code-0, draft-0',
    });
  });
});

test('what the control socket shows is what the agent has', async () => {
  const bench = createBench({ logFile: (instance) => `/dev/null/${instance}` });
  const gateway = { url: 'http://127.0.0.1:8000', adminUrl: 'http://127.0.0.1:9464' };
  const asked: unknown[] = [];
  const target = bench.agent.control({
    gateway: () => gateway,
    down: (options) => void asked.push(options),
  });
  const { plan } = await bench.bringUp();
  expect(await target.status()).toMatchObject({ state: 'ready', gateway });
  expect(target.plan()).toEqual(plan);
  expect(target.logs('chat-0')).toEqual(['loading weights']);
  expect(() => target.logs('nobody-0')).toThrow('there is no instance nobody-0');
  target.down({ restoreLayout: true });
  expect(asked).toEqual([{ restoreLayout: true }]);
});
