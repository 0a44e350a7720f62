import { type Fleet, instanceId, type Workload, workloadName } from '@aim-gpu/core';
import { aTenant, aWorkload } from '@aim-gpu/core/testing';
import { describe, expect, test } from 'vitest';
import { CARD, createBench, exclusive, THREE } from './support/agent-bench.js';
import { createLosingDriver } from './support/losing-driver.js';

const CHAT = workloadName('chat');
const CHAT_0 = instanceId(CHAT, 0);
const plain = (name: string, overrides: Partial<Workload> = {}): Workload =>
  aWorkload({ name: workloadName(name), ...overrides });
const withModels = (fleet: Fleet, models: readonly Workload[]): Fleet => ({ ...fleet, models });
const pids = (bench: ReturnType<typeof createBench>) =>
  Object.fromEntries(bench.launcher.alive().map(({ name, pid }) => [name, pid]));

describe('another fleet while running', () => {
  test('adds and removes models; the others are untouched', async () => {
    const bench = createBench({ workloads: [plain('chat'), plain('code')] });
    const { agent, run } = bench;
    await bench.bringUp();
    const before = pids(bench);
    const next = withModels(bench.fleet, [plain('chat'), plain('draft')]);
    const tried = await run(agent.applyFleet(next, { dryRun: true }));
    expect(tried.diff.instances.map(({ instance, change }) => [instance, change])).toEqual([
      ['chat-0', 'keep'],
      ['code-0', 'remove'],
      ['draft-0', 'add'],
    ]);
    expect(pids(bench)).toEqual(before);
    expect(agent.fleet).toBe(bench.fleet);

    await run(agent.applyFleet(next));
    await run(agent.settled(instanceId(workloadName('draft'), 0)));
    expect(pids(bench)).toEqual({ 'chat-0': before['chat-0'], 'draft-0': expect.any(Number) });
    expect(agent.directory.models().map(({ workload }) => workload)).toEqual(['chat', 'draft']);
    expect(agent.fleet).toBe(next);
  });

  test('other arguments: the new process is ready before the old one is drained', async () => {
    const bench = createBench({ workloads: [plain('chat')] });
    const { agent, run, launcher, engine } = bench;
    await bench.bringUp();
    const old = launcher.last();
    const states: string[] = [];
    agent.directory.subscribe(() => {
      const [endpoint] = agent.directory.endpoints(CHAT);
      const alive = launcher.alive().length;
      states.push(
        `${endpoint?.state} ${endpoint?.address.port === portOf(old) ? 'old' : 'new'} ${alive}`,
      );
    });
    engine.load = 3;
    const args = { 'enable-prefix-caching': false };
    const next = withModels(bench.fleet, [
      plain('chat', { engine: { name: 'auto', version: null, args } }),
    ]);
    const applied = run(agent.applyFleet(next));
    await bench.until(() => launcher.launched.length === 2, 10);
    await bench.until(() => states.includes('ready new 2'), 10);
    expect(old.alive()).toBe(true);
    engine.load = 0;
    const { diff } = await applied;
    expect(diff.instances).toMatchObject([
      { instance: 'chat-0', change: 'restart', downtime: false },
    ]);
    expect(old.alive()).toBe(false);
    // At no moment was there no endpoint that takes requests.
    expect(states.every((state) => state.startsWith('ready'))).toBe(true);
    expect(agent.directory.endpoints(CHAT)).toHaveLength(1);
    expect((await bench.samples('aim_gpu_instance_up')).map(({ value }) => value)).toEqual([1]);
  });

  test('a replacement that does not start leaves the old one serving, and says so', async () => {
    const bench = createBench({ workloads: [plain('chat')] });
    const { agent, run, launcher } = bench;
    await bench.bringUp();
    const old = launcher.last();
    launcher.failWith(new Error('no such file'));
    const next = withModels(bench.fleet, [plain('chat', { aliases: ['gpt'] })]);
    await expect(run(agent.applyFleet(next))).rejects.toMatchObject({ code: 'ERR_ENGINE_FAILED' });
    expect(old.alive()).toBe(true);
    expect(agent.directory.endpoints(CHAT)[0]?.address.port).toBe(portOf(old));
    expect(agent.events.after(0).at(-1)?.event).toBe('apply-failed');
    launcher.failWith(null);
    await run(agent.applyFleet(next));
    expect(old.alive()).toBe(false);
    expect(launcher.alive()).toHaveLength(1);
  });

  test('without room for two, the old one is stopped first and the change says so', async () => {
    const bench = createBench({ workloads: [exclusive('chat')] });
    const { agent, run } = bench;
    await bench.bringUp();
    const next = withModels(bench.fleet, [exclusive('chat', { aliases: ['gpt'] })]);
    const { diff } = await run(agent.applyFleet(next));
    expect(diff.instances).toMatchObject([{ change: 'restart', downtime: true }]);
    await run(agent.settled(CHAT_0));
    expect(bench.launcher.launched).toHaveLength(2);
    expect(bench.launcher.alive()).toHaveLength(1);
  });

  test('what needs no process needs none: band, targets, fallback, limits', async () => {
    const bench = createBench({ workloads: [plain('chat')] });
    const { agent, run } = bench;
    await bench.bringUp();
    const limits = { ...aTenant().limits, concurrent: 8 };
    const next = withModels(bench.fleet, [plain('chat', { band: 'critical', limits })]);
    const { diff } = await run(agent.applyFleet(next));
    expect(diff.instances).toMatchObject([{ change: 'keep' }]);
    expect(diff.settings).toEqual([
      { subject: 'model chat', change: 'change', keys: ['band', 'limits'] },
    ]);
    expect(bench.launcher.launched).toHaveLength(1);
    expect(agent.directory.models()[0]).toMatchObject({ band: 'critical', limits });
    expect((await agent.status()).instances[0]?.band).toBe('critical');
  });

  test('a repartition stops what is on its card and nothing else', async () => {
    const bench = createBench({ cards: 2, workloads: [exclusive('a'), exclusive('b')] });
    const { agent, run } = bench;
    await bench.bringUp();
    expect(await bench.layouts()).toEqual(['SPX', 'SPX']);
    const before = pids(bench);
    const seen: number[] = [];
    agent.directory.subscribe(() => {
      seen.push(['a', 'b'].flatMap((name) => agent.directory.endpoints(workloadName(name))).length);
    });
    const next = withModels(bench.fleet, [exclusive('a'), exclusive('b'), exclusive('c')]);
    const { diff, plan } = await run(agent.applyFleet(next));
    const stopped = diff.instances.filter(({ downtime }) => downtime).map((each) => each.instance);
    expect(stopped).toHaveLength(1);
    expect(plan.changes.flatMap(({ stops }) => stops)).toEqual(stopped);
    await run(
      Promise.all(['a', 'b', 'c'].map((name) => agent.settled(instanceId(workloadName(name), 0)))),
    );
    const kept = Object.entries(before).filter(([name]) => !stopped.includes(name as never));
    expect(pids(bench)).toMatchObject(Object.fromEntries(kept));
    expect(Math.min(...seen)).toBe(1);
  });

  test.each([
    [
      'a model that does not fit',
      'ERR_DOES_NOT_FIT',
      [plain('huge', { source: 'moonshotai/Kimi-K2-Instruct' })],
    ],
    ['a model nobody knows', 'ERR_MODEL_UNKNOWN', [plain('x', { source: 'nobody/nothing' })]],
  ])('refused for %s, nothing has changed', async (_, code, models) => {
    const bench = createBench();
    const { agent, run } = bench;
    await bench.bringUp();
    const before = [pids(bench), await bench.layout(), JSON.stringify(await agent.status())];
    await expect(run(agent.applyFleet(withModels(bench.fleet, models)))).rejects.toMatchObject({
      code,
    });
    expect([pids(bench), await bench.layout(), JSON.stringify(await agent.status())]).toEqual(
      before,
    );
  });

  test('a fleet without this node, and a stored plan of another time, are refused', async () => {
    const bench = createBench({ workloads: [plain('chat')] });
    const { agent, run } = bench;
    const { plan } = await bench.bringUp();
    await expect(run(agent.applyFleet({ ...bench.fleet, nodes: [] }))).rejects.toMatchObject({
      code: 'ERR_NODE_UNKNOWN',
    });
    const stale = { ...plan, observed: { generation: 'long ago' } };
    await expect(run(agent.applyFleet(bench.fleet, { plan: stale }))).rejects.toMatchObject({
      code: 'ERR_PLAN_STALE',
      kind: 'conflict',
    });
    await run(
      agent.applyFleet(bench.fleet, {
        plan: { ...plan, observed: (await run(agent.plan())).observed },
      }),
    );
    expect(bench.launcher.launched).toHaveLength(1);
  });

  test('keys that are missing refuse the fleet before anything is changed', async () => {
    const onFleet = () => Promise.reject(new Error('the key is missing'));
    const bench = createBench({ workloads: [plain('chat')], onFleet });
    await bench.bringUp();
    const next = withModels(bench.fleet, []);
    await expect(bench.run(bench.agent.applyFleet(next))).rejects.toThrow('the key is missing');
    expect(bench.launcher.alive()).toHaveLength(1);
  });

  test('a failed change of layouts brings back what ran', async () => {
    const bench = createBench({ workloads: [exclusive('a')] });
    const { agent, run } = bench;
    await bench.bringUp();
    bench.driver.faults.script([{ on: 'set-compute', times: 99, effect: { kind: 'permission' } }]);
    const next = withModels(bench.fleet, [exclusive('a'), exclusive('b')]);
    await expect(run(agent.applyFleet(next))).rejects.toMatchObject({
      code: 'ERR_DRIVER_PERMISSION',
    });
    await bench.until(() => bench.launcher.alive().length === 1, 50);
    await run(agent.settled(instanceId(workloadName('a'), 0)));
    expect(agent.fleet).toBe(bench.fleet);
  });
});

function portOf(process: { readonly command: { readonly argv: readonly string[] } }): number {
  return Number(process.command.argv[2]);
}

describe('a ready engine', () => {
  test.each(['hang', 'loading', 'broken'] as const)(
    'that stops answering (%s) is replaced within 30 s, without time to end by itself',
    async (health) => {
      const bench = createBench({ workloads: [plain('chat')] });
      const { agent, engine, launcher, clock } = bench;
      await bench.bringUp();
      engine.health = health;
      const began = clock.monoMs();
      await bench.until(() => launcher.alive().length === 0, 50);
      expect(clock.monoMs() - began).toBeLessThan(20_000);
      expect(agent.directory.endpoints(CHAT)).toEqual([]);
      const [status] = (await agent.status()).instances;
      expect(status?.trouble?.message).toContain('does not answer');
      engine.health = 'ready';
      await bench.until(() => agent.directory.endpoints(CHAT).length === 1, 50);
      expect(clock.monoMs() - began).toBeLessThan(30_000);
    },
  );

  test('that misses one health check goes on', async () => {
    const bench = createBench({ workloads: [plain('chat')] });
    const { engine, launcher, clock } = bench;
    await bench.bringUp();
    engine.health = 'loading';
    await clock.advance(2050);
    engine.health = 'ready';
    await clock.advance(60_000);
    expect(launcher.launched).toHaveLength(1);
  });

  test('is drained and taken back into service when told so', async () => {
    const bench = createBench({ workloads: [plain('chat')] });
    const { agent } = bench;
    await bench.bringUp();
    await agent.drain(CHAT_0, { undo: false });
    expect(agent.directory.endpoints(CHAT)[0]?.state).toBe('draining');
    expect((await agent.status()).instances[0]?.draining).toBe(true);
    await agent.drain(null, { undo: true });
    expect(agent.directory.endpoints(CHAT)[0]?.state).toBe('ready');
    await expect(agent.drain(instanceId(CHAT, 7), { undo: false })).rejects.toThrow(
      'no instance chat-7',
    );
  });

  test('gets a new process when told so', async () => {
    const bench = createBench({ workloads: [plain('chat')] });
    await bench.bringUp();
    const old = bench.launcher.last();
    await bench.run(bench.agent.restart(CHAT_0));
    expect(old.alive()).toBe(false);
    expect(bench.launcher.alive()).toHaveLength(1);
    await expect(bench.run(bench.agent.restart(instanceId(CHAT, 7)))).rejects.toMatchObject({
      code: 'ERR_INSTANCE_UNKNOWN',
    });
  });
});

describe('a parked model', () => {
  const parked = plain('chat', { replicas: { min: 0, max: 1, idleMs: 60_000 } });

  test('sleeps until it is asked for, serves, and sleeps again', async () => {
    const bench = createBench({ workloads: [parked] });
    const { agent, run, launcher, engine, clock } = bench;
    const { statuses } = await bench.bringUp();
    expect(statuses.map(({ state }) => state)).toEqual(['parked']);
    expect((await agent.status()).state).toBe('ready');
    expect(agent.directory.models()[0]?.parked).toBe(true);
    expect(launcher.launched).toEqual([]);

    await run(agent.directory.request(CHAT));
    expect(launcher.alive()).toHaveLength(1);
    expect(agent.directory.models()[0]?.parked).toBe(false);

    engine.load = 1;
    await clock.advance(200_000);
    expect(launcher.alive()).toHaveLength(1);
    engine.load = 0;
    await bench.until(() => launcher.alive().length === 0, 1000);
    expect((await agent.status()).instances[0]).toMatchObject({ state: 'parked', trouble: null });
    await run(agent.directory.request(CHAT));
    expect(launcher.launched).toHaveLength(2);
    await run(agent.close());
    expect(launcher.alive()).toEqual([]);
  });

  test('says when it will be there to those who cannot wait', async () => {
    const bench = createBench({ workloads: [parked] });
    const { agent, engine, run } = bench;
    await bench.bringUp();
    await run(agent.directory.request(CHAT));
    await bench.until(() => bench.launcher.alive().length === 0, 1000);
    engine.health = 'loading';
    const wait = new AbortController();
    const asked = agent.directory.request(CHAT, { signal: wait.signal });
    await bench.until(() => bench.launcher.alive().length === 1);
    wait.abort();
    await expect(asked).rejects.toMatchObject({
      code: 'ERR_MODEL_UNAVAILABLE',
      kind: 'unavailable',
      retryAfterMs: expect.any(Number),
    });
    await run(agent.close());
  });

  test('is stopped while it sleeps', async () => {
    const bench = createBench({ workloads: [parked] });
    await bench.bringUp();
    await bench.run(bench.agent.close());
    expect((await bench.agent.status()).state).toBe('stopped');
  });
});

describe('a device that is lost', () => {
  test('a card: its models move to what is left, and it is said', async () => {
    const losing = createLosingDriver();
    const bench = createBench({
      cards: 2,
      workloads: [
        plain('chat'),
        plain('code', { placement: { ...plain('x').placement, apart: [CHAT] } }),
      ],
      wrap: losing.wrap,
    });
    const { agent } = bench;
    await bench.bringUp();
    const [chat] = (await agent.status()).instances;
    const home = chat?.shares[0]?.card ?? '';
    losing.lose(home);
    await bench.until(
      () => agent.events.after(0).some(({ event }) => event.startsWith('workload-')),
      50,
    );
    const words = agent.events.after(0).filter(({ event }) => event.startsWith('workload-'));
    expect(words.map(({ subject }) => subject)).toContain('chat');
    losing.restore();
    await bench.until(() => agent.directory.endpoints(CHAT).length === 1, 50);
    await bench.until(() => agent.directory.endpoints(workloadName('code')).length === 1, 50);
    await bench.run(agent.close());
  });

  test('all of them: refused with the fix, and served again when they are back', async () => {
    const losing = createLosingDriver();
    const bench = createBench({ workloads: [plain('chat')], wrap: losing.wrap });
    const { agent } = bench;
    await bench.bringUp();
    losing.lose(CARD);
    await bench.until(() => agent.directory.endpoints(CHAT).length === 0, 50);
    const status = await agent.status();
    expect(status.state).toBe('degraded');
    expect(status.degradations).toMatchObject([{ workload: 'chat', step: 'refused' }]);
    expect(bench.launcher.alive()).toEqual([]);
    losing.restore();
    await bench.until(() => agent.directory.endpoints(CHAT).length === 1, 50);
    expect((await agent.status()).degradations).toEqual([]);
    expect(agent.events.after(0).some(({ event }) => event === 'node-whole')).toBe(true);
  });

  test('a partition: a model with a fallback leaves it to answer', async () => {
    const losing = createLosingDriver();
    const bench = createBench({
      workloads: [
        exclusive('chat', { fallback: workloadName('code') }),
        exclusive('code'),
        exclusive('draft'),
        exclusive('last'),
      ],
      wrap: losing.wrap,
    });
    const { agent } = bench;
    await bench.bringUp();
    const repartition = { allow: false, maxDowntimeMs: 0 };
    const policy = { ...bench.fleet.policy, repartition };
    await bench.run(agent.applyFleet({ ...bench.fleet, policy }));
    const chat = (await agent.status()).instances.find(({ workload }) => workload === CHAT);
    const share = chat?.shares[0];
    losing.lose(share?.card ?? '', share?.partition);
    await bench.until(() => agent.directory.endpoints(CHAT).length === 0, 50);
    const status = await agent.status();
    expect(status.degradations).toMatchObject([{ workload: 'chat', step: 'fallback' }]);
    expect(status.state).toBe('degraded');
    expect(bench.launcher.alive()).toHaveLength(3);
    expect(agent.directory.models()[0]?.fallback).toBe('code');
    await bench.run(agent.close());
  });

  test('a driver that cannot be read is no reason to touch what serves', async () => {
    const losing = createLosingDriver();
    const bench = createBench({ workloads: [plain('chat')], wrap: losing.wrap });
    const { agent, clock, launcher } = bench;
    await bench.bringUp();
    losing.fail(true);
    await clock.advance(60_000);
    expect(launcher.alive()).toHaveLength(1);
    expect(agent.events.after(0).some(({ event }) => event === 'node-not-kept')).toBe(true);
    losing.fail(false);
    await clock.advance(60_000);
    expect(agent.directory.endpoints(CHAT)).toHaveLength(1);
  });

  test('a reboot: the layout is brought back and everything runs again', async () => {
    const bench = createBench();
    const { agent, driver, launcher } = bench;
    const { plan } = await bench.bringUp();
    for (const process of launcher.alive()) process.crash();
    await driver.reboot();
    const planned = JSON.stringify(plan.nodes[0]?.cards[0]?.layout);
    for (let layout = ''; layout !== planned; layout = JSON.stringify(await bench.layout())) {
      await bench.clock.advance(100);
    }
    await bench.until(() => agent.directory.endpoints(CHAT).length === 1, 50);
    await bench.run(agent.settled(CHAT_0));
    expect(launcher.alive()).toHaveLength(THREE.length);
  });
});
