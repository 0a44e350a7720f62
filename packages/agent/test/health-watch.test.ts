/** What counts as hung: an engine that is silent, sooner when its process does nothing, at once when it is stopped. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createManualClock, type ManualClock } from '@aim-gpu/core/testing';
import { describe, expect, onTestFinished, test } from 'vitest';
import { untilHung } from '../src/health-watch.js';
import { isStopped, lookAt } from '../src/process-facts.js';
import { DEFAULT_TIMING, type RunnerTiming } from '../src/runner-timing.js';
import { createFakeEngine, type FakeEngine } from './support/fake-engine.js';
import { FIRST_PID } from './support/fake-launcher.js';

const ADDRESS = { host: '127.0.0.1', port: 1 };

function watch(
  pid: number,
  engine: FakeEngine = createFakeEngine(),
  timing: Partial<RunnerTiming> = {},
) {
  const clock = createManualClock();
  const over = new AbortController();
  onTestFinished(() => over.abort());
  let end: string | null = null;
  const options = {
    engine,
    address: ADDRESS,
    clock,
    timing: { ...DEFAULT_TIMING, ...timing },
    signal: over.signal,
  };
  void untilHung({ ...options, pid }).then((why) => {
    end = why;
  });
  return { clock, engine, over, end: () => end };
}

function spawnProgram(...argv: readonly string[]): ChildProcess & { readonly pid: number } {
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  return child as ChildProcess & { readonly pid: number };
}

/** Advances until it has ended, step by step; the milliseconds that took. */
async function advanceToEnd(clock: ManualClock, end: () => string | null): Promise<number> {
  const from = clock.monoMs();
  while (end() === null && clock.monoMs() - from < 120_000) await clock.advance(100);
  return clock.monoMs() - from;
}

describe('an engine that does not answer', () => {
  test.each(['hang', 'loading', 'broken'] as const)(
    '(%s) counts as hung within 13 s',
    async (health) => {
      const { clock, engine, end } = watch(FIRST_PID);
      await clock.advance(20_000);
      expect(end()).toBeNull();
      engine.health = health;
      expect(await advanceToEnd(clock, end)).toBeLessThanOrEqual(13_000);
      expect(end()).toBe('hung');
    },
  );

  test('twice, and then does, does not', async () => {
    const { clock, engine, end } = watch(FIRST_PID);
    engine.health = 'hang';
    await clock.advance(9000);
    engine.health = 'ready';
    await clock.advance(60_000);
    expect(end()).toBeNull();
  });

  test('while its process computes is waited for three times as long', {
    timeout: 60_000,
  }, async () => {
    const child = spawnProgram(process.execPath, '-e', 'for (;;) {}');
    const { probeEveryMs } = DEFAULT_TIMING;
    const { clock, engine, end } = watch(child.pid, createFakeEngine(), {
      probeIdleEveryMs: probeEveryMs,
    });
    engine.health = 'hang';
    await clock.advance(probeEveryMs + DEFAULT_TIMING.lookEveryMs);
    const waits: string[] = [];
    while (end() === null) {
      const before = lookAt(child.pid)?.cpuTicks ?? 0;
      await expect
        .poll(() => (lookAt(child.pid)?.cpuTicks ?? 0) - before, { timeout: 30_000 })
        .toBeGreaterThan(60);
      waits.push('computed');
      await clock.advance(DEFAULT_TIMING.probeLimitMs + DEFAULT_TIMING.pollMs);
    }
    expect(end()).toBe('hung');
    expect(waits).toHaveLength(DEFAULT_TIMING.mostMisses * 3);
  });
});

test('an engine that does nothing is checked three times as seldom', async () => {
  const child = spawnProgram('sleep', '1000');
  await expect.poll(() => lookAt(child.pid)?.stopped).toBe(false);
  const checks = { idle: 0, unseen: 0 };
  for (const [name, pid] of [
    ['idle', child.pid],
    ['unseen', FIRST_PID],
  ] as const) {
    const engine = createFakeEngine();
    const { isReady } = engine;
    engine.isReady = (...values) => {
      checks[name] += 1;
      return isReady(...values);
    };
    await watch(pid, engine).clock.advance(60_000);
  }
  expect(checks).toEqual({ idle: 3, unseen: 10 });
});

describe('an engine whose process is stopped by a signal', () => {
  test('counts as stopped within 4 s, also when it would answer', async () => {
    const child = spawnProgram('sleep', '1000');
    const { clock, end } = watch(child.pid);
    await clock.advance(10_000);
    expect(end()).toBeNull();
    child.kill('SIGSTOP');
    await expect.poll(() => isStopped(child.pid)).toBe(true);
    expect(await advanceToEnd(clock, end)).toBeLessThanOrEqual(4000);
    expect(end()).toBe('stopped');
  });

  test('for a moment only, does not', async () => {
    const child = spawnProgram('sleep', '1000');
    const { clock, end } = watch(child.pid);
    child.kill('SIGSTOP');
    await expect.poll(() => isStopped(child.pid)).toBe(true);
    await clock.advance(DEFAULT_TIMING.lookEveryMs);
    child.kill('SIGCONT');
    await expect.poll(() => isStopped(child.pid)).toBe(false);
    await clock.advance(20_000);
    expect(end()).toBeNull();
  });
});

test('a watch that is over says nothing any more', async () => {
  const { clock, engine, over, end } = watch(FIRST_PID);
  engine.health = 'hang';
  over.abort();
  await clock.advance(60_000);
  expect(end()).toBeNull();
  expect(clock.pending()).toBe(0);
});
