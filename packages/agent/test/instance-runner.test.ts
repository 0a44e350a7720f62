import {
  AimError,
  createRng,
  type EnvelopeShare,
  gib,
  instanceId,
  mib,
  workloadName,
} from '@aim-gpu/core';
import {
  aDemand,
  aPlacement,
  aShare,
  aWorkload,
  createManualClock,
  createRecordingLogger,
} from '@aim-gpu/core/testing';
import { createMetrics, parseExposition } from '@aim-gpu/metrics';
import { describe, expect, test } from 'vitest';
import { createEndpointDirectory } from '../src/endpoint-directory.js';
import type { InstanceRunnerOptions } from '../src/instance-care.js';
import { createInstanceRunner } from '../src/instance-runner.js';
import { createTurns } from '../src/turns.js';
import { createFakeEngine } from './support/fake-engine.js';
import { createFakeLauncher, FIRST_PID } from './support/fake-launcher.js';
import { finish, hasSettled, until } from './support/time.js';

const CHAT = workloadName('chat');
const CUDA_WORDS = ['torch.OutOfMemoryError: HIP out of memory'];

function aRunner(overrides: Partial<InstanceRunnerOptions> = {}, replica = 0) {
  const clock = createManualClock();
  const launcher = createFakeLauncher();
  const engine = createFakeEngine();
  const directory = createEndpointDirectory();
  const logger = createRecordingLogger();
  const metrics = createMetrics();
  const states: string[] = [];
  const share: EnvelopeShare = {
    ...aShare(),
    partitionMemoryBytes: mib(196_592),
    renderMinor: 128,
  };
  const placement = aPlacement({ instance: instanceId(CHAT, replica) });
  const options: InstanceRunnerOptions = {
    definition: {
      placement,
      workload: aWorkload(),
      demand: aDemand(),
      engine,
      envelope: {
        instance: placement.instance,
        shares: [share],
        env: {},
        deviceFiles: [],
        gpuMemoryUtilization: 0.2,
        kvCacheMemoryBytes: gib(8),
        measures: [{ name: 'memory-limit', strength: 'cooperative', detail: 'the engine obeys' }],
      },
    },
    launcher,
    directory,
    turns: createTurns(),
    clock,
    rng: createRng(3),
    logger,
    metrics,
    host: '127.0.0.1',
    logFile: null,
    onChange: () => states.push(runner.status().state),
    ...overrides,
  };
  const runner = createInstanceRunner(options);
  const isIn = (state: string) => () => runner.status().state === state;
  const up = async (): Promise<readonly number[]> =>
    parseExposition(await metrics.exposition())
      .samples.filter((sample) => sample.name === 'aim_gpu_instance_up')
      .map((sample) => sample.value);
  const ready = async (): Promise<void> => {
    runner.start();
    await until(clock, isIn('ready'));
  };
  return { runner, clock, launcher, engine, directory, logger, states, isIn, up, ready };
}

describe('a start', () => {
  test('launches in the envelope, waits for health, and then shows the endpoint', async () => {
    const { runner, clock, launcher, engine, directory, isIn, up, states } = aRunner();
    engine.health = 'loading';
    expect(runner.status()).toMatchObject({ state: 'waiting', pid: null, endpoint: null });
    expect(runner.lastOutput()).toEqual([]);
    runner.start();
    runner.start();
    await until(clock, () => launcher.launched.length > 0);
    expect(runner.status()).toMatchObject({ state: 'starting', pid: FIRST_PID, endpoint: null });
    expect(directory.endpoints(CHAT)).toEqual([]);
    expect(await up()).toEqual([0]);
    engine.health = 'ready';
    await until(clock, isIn('ready'), 100);
    await runner.settled();
    const [endpoint] = directory.endpoints(CHAT);
    expect(endpoint).toMatchObject({
      instance: 'chat-0',
      state: 'ready',
      node: 'node0',
      partition: 0,
      maxNumSeqs: 16,
      kvCapacityTokens: 65_536,
    });
    expect(launcher.last().command.argv).toEqual([
      'engine',
      'chat-0',
      String(endpoint?.address.port),
    ]);
    expect(runner.status()).toMatchObject({
      state: 'ready',
      endpoint: endpoint?.address,
      engine: 'fake',
      band: 'standard',
      restarts: 0,
      trouble: null,
    });
    expect(runner.lastOutput()).toEqual(['loading weights']);
    expect(await up()).toEqual([1]);
    expect(states).toEqual(['starting', 'ready']);
  });

  test('a model without KV cache has no capacity to show', async () => {
    const bench = aRunner();
    const { definition } = bench.runner;
    const kvless = aRunner({
      definition: { ...definition, demand: aDemand({ kv: { bytesPerToken: 0 } }) },
    });
    await kvless.ready();
    expect(kvless.directory.endpoints(CHAT)[0]?.kvCapacityTokens).toBeNull();
  });

  test('instances of one partition start in turn', async () => {
    const turns = createTurns();
    const first = aRunner({ turns });
    const second = aRunner({ turns, clock: first.clock }, 1);
    first.engine.health = 'loading';
    first.runner.start();
    second.runner.start();
    await until(first.clock, () => first.launcher.launched.length > 0);
    await first.clock.advance(1000);
    expect(second.runner.status().state).toBe('waiting');
    expect(second.launcher.launched).toEqual([]);
    first.engine.health = 'ready';
    await until(first.clock, second.isIn('ready'), 100);
  });
});

describe('a failure', () => {
  test('an exit before ready is told in the words that the engine is known for', async () => {
    const { runner, clock, launcher, engine, isIn, logger } = aRunner();
    engine.health = 'hang';
    runner.start();
    await until(clock, () => launcher.launched.length > 0);
    launcher.last().crash(CUDA_WORDS);
    await until(clock, isIn('restarting'));
    expect(runner.status()).toMatchObject({
      pid: null,
      restarts: 1,
      trouble: { message: 'the KV cache did not fit its share', hint: 'lower maxModelLen' },
    });
    expect(runner.lastOutput()).toEqual(CUDA_WORDS);
    expect(logger.records.some(({ event }) => event === 'instance-exit')).toBe(true);
  });

  test.each([
    [
      ['Killed'],
      { code: null, signal: 'SIGKILL' },
      'was killed by SIGKILL; its last words: Killed',
    ],
    [[], { code: 3 }, 'engine exited with code 3'],
  ])('an exit that nobody knows is quoted (%s)', async (words, exit, message) => {
    const { runner, clock, launcher, isIn, ready } = aRunner();
    await ready();
    launcher.last().crash(words, exit);
    await until(clock, isIn('restarting'));
    expect(runner.status().trouble).toMatchObject({
      message: expect.stringContaining(message),
      hint: 'read its log: aim-gpu logs chat-0',
    });
  });

  test('a crash takes the endpoint away, backs off, and starts anew on the way to ready', async () => {
    const { runner, clock, launcher, directory, isIn, ready, up, states } = aRunner();
    await ready();
    launcher.last().crash();
    await until(clock, isIn('restarting'));
    expect(directory.endpoints(CHAT)).toEqual([]);
    expect(await up()).toEqual([0]);
    await clock.advance(249);
    expect(launcher.launched).toHaveLength(1);
    await clock.advance(251);
    await until(clock, isIn('ready'));
    expect(launcher.launched).toHaveLength(2);
    expect(directory.endpoints(CHAT)).toHaveLength(1);
    expect(runner.status()).toMatchObject({ restarts: 1, trouble: null });
    expect(states).toEqual(['starting', 'ready', 'restarting', 'ready']);
  });

  test('waits grow with failures in a row, and the fifth is the verdict', async () => {
    const { runner, clock, launcher, isIn, ready } = aRunner();
    await ready();
    const waits: number[] = [];
    for (let failure = 1; failure < 5; failure += 1) {
      launcher.last().crash(CUDA_WORDS);
      await until(clock, isIn('restarting'));
      const since = clock.monoMs();
      await until(clock, () => launcher.launched.length > failure, 10);
      waits.push(clock.monoMs() - since);
      await until(clock, isIn('ready'));
    }
    launcher.last().crash(CUDA_WORDS);
    await until(clock, isIn('failed'));
    for (const [index, most] of [500, 1000, 2000, 4000].entries()) {
      expect(waits[index]).toBeGreaterThanOrEqual(most / 2);
      expect(waits[index]).toBeLessThanOrEqual(most + 100);
    }
    await runner.settled();
    await clock.advance(600_000);
    expect(launcher.launched).toHaveLength(5);
    expect(runner.status()).toMatchObject({
      state: 'failed',
      restarts: 4,
      trouble: { message: 'the KV cache did not fit its share' },
    });
    await runner.stop();
    expect(runner.status().state).toBe('stopped');
  });

  test('a minute of service forgives earlier failures', async () => {
    const { runner, clock, launcher, isIn, ready } = aRunner();
    await ready();
    for (let failure = 1; failure <= 8; failure += 1) {
      await clock.advance(60_000);
      launcher.last().crash();
      await until(clock, isIn('restarting'));
      await until(clock, isIn('ready'), 100);
    }
    expect(runner.status()).toMatchObject({ state: 'ready', restarts: 8 });
  });

  test('an engine that hangs at its start is ended when its time is up', async () => {
    const { runner, clock, launcher, engine, isIn } = aRunner({ timing: { readyTimeoutMs: 3000 } });
    engine.health = 'hang';
    runner.start();
    await until(clock, () => launcher.launched.length > 0);
    await clock.advance(3000);
    await until(clock, isIn('restarting'));
    expect(launcher.alive()).toEqual([]);
    expect(runner.status().trouble?.message).toBe(
      'engine did not become ready within 3 s; its last words: loading weights',
    );
  });

  test('the time a start has follows from its weights, and its last words are quoted', async () => {
    const { runner, clock, launcher, engine, isIn } = aRunner({ timing: { pollMs: 10_000 } });
    engine.health = 'loading';
    runner.start();
    await until(clock, () => launcher.launched.length > 0);
    // 16.06 GB at 100 MB/s and ten minutes for everything else.
    await clock.advance(760_000);
    expect(runner.status().state).toBe('starting');
    await clock.advance(1000);
    await until(clock, isIn('restarting'));
    expect(launcher.alive()).toEqual([]);
    expect(runner.status().trouble?.message).toBe(
      'engine did not become ready within 761 s; its last words: loading weights',
    );
  });

  test('a question that goes wrong leaves no process behind', async () => {
    const { runner, clock, launcher, engine, isIn } = aRunner();
    engine.health = 'broken';
    runner.start();
    await until(clock, isIn('restarting'));
    expect(launcher.launched).toHaveLength(1);
    expect(launcher.alive()).toEqual([]);
    expect(runner.status().trouble).toEqual({
      message: 'the answer was no HTTP',
      hint: 'see the log of the agent',
    });
  });

  test('an instance that cannot be shown leaves no process behind', async () => {
    const { runner, clock, launcher, directory, isIn } = aRunner();
    directory.subscribe(() => {
      if (directory.endpoints(CHAT).length > 0) throw new Error('the listener is broken');
    });
    runner.start();
    await until(clock, isIn('restarting'));
    expect(launcher.alive()).toEqual([]);
    expect(runner.status().trouble?.message).toBe('the listener is broken');
  });

  test('a program that cannot be launched is trouble with its hint', async () => {
    const { runner, clock, launcher, isIn } = aRunner();
    const hint = 'install vllm';
    launcher.failWith(
      new AimError({ code: 'ERR_LAUNCH_FAILED', kind: 'unavailable', message: 'no vllm', hint }),
    );
    runner.start();
    await until(clock, isIn('restarting'));
    expect(runner.status().trouble).toEqual({ message: 'no vllm', hint });
    launcher.failWith(null);
    await until(clock, isIn('ready'), 100);
  });
});

describe('a stop', () => {
  test('waits for running requests, shows the endpoint as draining, and is one stop however often', async () => {
    const { runner, clock, launcher, engine, directory, ready, up, states } = aRunner();
    await ready();
    engine.load = 2;
    const stops = [runner.stop(), runner.stop()];
    await clock.advance(1000);
    expect(runner.status()).toMatchObject({ state: 'stopping', pid: FIRST_PID });
    expect(directory.endpoints(CHAT).map(({ state }) => state)).toEqual(['draining']);
    expect(launcher.alive()).toHaveLength(1);
    engine.load = 0;
    await clock.advance(100);
    await Promise.all(stops);
    expect(launcher.alive()).toEqual([]);
    expect(directory.endpoints(CHAT)).toEqual([]);
    expect(states).toEqual(['starting', 'ready', 'stopping', 'stopped']);
    expect(await up()).toEqual([]);
    expect(clock.pending()).toBe(0);
    await runner.settled();
  });

  test.each([
    ['never become fewer', 3],
    ['cannot be counted because the engine hangs', 'hang'],
  ] as const)('is not held up for ever by requests that %s', async (_, load) => {
    const { runner, clock, launcher, engine, ready, logger } = aRunner({
      timing: { drainMs: 5000 },
    });
    await ready();
    engine.load = load;
    const stopped = runner.stop();
    await clock.advance(4999);
    expect(launcher.alive()).toHaveLength(1);
    await clock.advance(1);
    await stopped;
    expect(launcher.alive()).toEqual([]);
    expect(logger.records.some(({ event }) => event === 'instance-drain-cut')).toBe(true);
  });

  test('does not wait when told not to, nor for an engine that does not answer', async () => {
    const hurried = aRunner();
    await hurried.ready();
    hurried.engine.load = 5;
    await hurried.runner.stop({ drain: false });
    const mute = aRunner();
    await mute.ready();
    mute.engine.load = null;
    await mute.runner.stop();
    expect([...hurried.launcher.alive(), ...mute.launcher.alive()]).toEqual([]);
  });

  test('while it starts leaves no process', async () => {
    const { runner, clock, launcher, engine, logger } = aRunner();
    engine.health = 'loading';
    runner.start();
    await until(clock, () => launcher.launched.length > 0);
    const settled = runner.settled();
    await finish(clock, runner.stop());
    await settled;
    expect(launcher.alive()).toEqual([]);
    expect(runner.status()).toMatchObject({ state: 'stopped', pid: null, trouble: null });
    expect(logger.records.filter(({ level }) => level === 'warn')).toEqual([]);
  });

  test('while it is being launched leaves no process', async () => {
    const { runner, clock, launcher } = aRunner();
    const open = launcher.hold();
    runner.start();
    await clock.advance(0);
    await clock.advance(0);
    const stopped = runner.stop();
    expect(await hasSettled(clock, stopped)).toBe(false);
    open();
    await finish(clock, stopped);
    expect(launcher.alive()).toEqual([]);
  });

  test('while it waits for its turn does not wait for the other one', async () => {
    const turns = createTurns();
    const first = aRunner({ turns });
    const second = aRunner({ turns, clock: first.clock }, 1);
    first.engine.health = 'loading';
    first.runner.start();
    second.runner.start();
    await until(first.clock, () => first.launcher.launched.length > 0);
    await finish(first.clock, second.runner.stop(), 0);
    expect(second.launcher.launched).toEqual([]);
    expect(first.runner.status().state).toBe('starting');
    await finish(first.clock, first.runner.stop());
  });

  test('during the wait before a restart ends that wait', async () => {
    const { runner, clock, launcher, isIn, ready } = aRunner({
      timing: { firstBackoffMs: 60_000, longestBackoffMs: 60_000 },
    });
    await ready();
    launcher.last().crash();
    await until(clock, isIn('restarting'));
    await finish(clock, runner.stop(), 0);
    await clock.advance(120_000);
    expect(launcher.launched).toHaveLength(1);
    expect(clock.pending()).toBe(0);
  });

  test('an engine that dies while it drains is not started again', async () => {
    const { runner, clock, launcher, engine, ready, states } = aRunner();
    await ready();
    engine.load = 1;
    const stopped = runner.stop();
    await clock.advance(1000);
    engine.load = null;
    launcher.last().crash();
    await finish(clock, stopped);
    await clock.advance(60_000);
    expect(launcher.launched).toHaveLength(1);
    expect(states).toEqual(['starting', 'ready', 'stopping', 'stopped']);
  });

  test('a process that cannot be killed is given up on, and said', async () => {
    const { runner, clock, launcher, logger, ready } = aRunner();
    launcher.immortal();
    await ready();
    const stopped = runner.stop();
    await clock.advance(14_999);
    expect(await hasSettled(clock, stopped)).toBe(false);
    await clock.advance(1);
    await stopped;
    expect(launcher.alive()).toHaveLength(1);
    expect(logger.records).toContainEqual({
      level: 'error',
      event: 'instance-not-killed',
      fields: { instance: 'chat-0', pid: FIRST_PID },
    });
  });

  test('of one that was never started is a stop', async () => {
    const { runner, states } = aRunner();
    await runner.stop();
    expect(states).toEqual(['stopping', 'stopped']);
  });
});
