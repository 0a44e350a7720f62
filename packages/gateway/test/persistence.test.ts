/**
 * What survives a kill, and what a broken disk or a wall clock that steps may not do.
 */
import { AimError, type StateStore, tenantName } from '@aim-gpu/core';
import { aTenant, createMemoryStateStore, createRecordingLogger } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccessRecord } from '../src/access-log.js';
import type { GatewayOptions } from '../src/index.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { createHastyClock } from './support/hasty-clock.js';
import { until } from './support/until.js';

const SNAPSHOT_MS = 5_000;
const DAY_MS = 24 * 3_600_000;
const MODELS = [aServedModel('chat')];
const BODY = JSON.stringify({ model: 'chat', prompt: 'hello' });
const tenant = aTenant({
  name: tenantName('team-a'),
  keys: [{ kind: 'env', name: 'KEY' }],
  limits: {
    requestsPerMinute: 3,
    inputTokensPerMinute: null,
    outputTokensPerMinute: null,
    concurrent: null,
  },
});

let engine: FakeEngine;
let benches: Bench[];
beforeEach(async () => {
  benches = [];
  engine = await startFakeEngine();
});
afterEach(async () => {
  for (const bench of benches) await bench.close();
  await engine.close();
});

async function start(options: Partial<Omit<GatewayOptions, 'tenants'>>): Promise<Bench> {
  const clock = createHastyClock(SNAPSHOT_MS);
  const bench = await startBench(MODELS, {
    tenants: [tenant],
    env: { KEY: 'sk-secret' },
    clock,
    ...options,
  });
  bench.directory.set('chat', [engine]);
  benches.push(bench);
  return bench;
}

async function ask({ url }: Bench): Promise<number> {
  const headers = { authorization: 'Bearer sk-secret' };
  const init = { method: 'POST', headers, body: BODY };
  const response = await fetch(`${url}/v1/completions`, init);
  await response.text();
  return response.status;
}

const untilSpent = async (bench: Bench): Promise<void> => {
  await until(async () => (await ask(bench)) === 429);
};

describe('a kill', () => {
  it('gives nobody a second burst: accounts come back from the snapshot', async () => {
    const store = createMemoryStateStore();
    const killed = await start({ store });
    await untilSpent(killed);
    const stored = store.snapshot<string>('gateway-qos');
    // Each write says when it was; the second one from now on began after the last request.
    const writes: Set<string | null> = new Set([await stored.read()]);
    await until(async () => writes.add(await stored.read()).size > 2);
    expect(await stored.read()).not.toContain('sk-secret');
    // Nobody closed the first one: what counts is what the last interval wrote.
    const restarted = await start({ store });
    const limits = await (await fetch(`${restarted.adminUrl}/v1/limits`)).text();
    expect(limits).toContain('team-a');
    expect(await ask(restarted)).toBe(429);
    // Without the store the same restart forgets.
    expect(await ask(await start({}))).toBe(200);
  });

  it('and a close write what came since the last interval', async () => {
    const store = createMemoryStateStore();
    const closed = await start({ store, clock: createHastyClock() });
    await untilSpent(closed);
    await closed.close();
    expect(await ask(await start({ store }))).toBe(429);
  });

  it.each([
    ['no JSON', '{"accounts":'],
    ['another version', '{"version":99}'],
    ['no text', { x: 1 }],
  ])('that left %s behind: it starts empty and says so', async (_, text) => {
    const store = createMemoryStateStore();
    await store.snapshot<unknown>('gateway-qos').write(text);
    const logger = createRecordingLogger();
    const bench = await start({ store, logger });
    expect(JSON.stringify(logger.records)).toContain('"snapshot-ignored"');
    expect(await ask(bench)).toBe(200);
  });
});

describe('a disk', () => {
  it('that is full stops nothing, and is written again once there is room', async () => {
    const memory = createMemoryStateStore();
    let isFull = true;
    const store: StateStore = {
      ...memory,
      snapshot: <T>(name: string) => {
        const inner = memory.snapshot<T>(name);
        return {
          read: () => inner.read(),
          write: (value: T) =>
            isFull
              ? Promise.reject(
                  new AimError({
                    code: 'ERR_IO',
                    kind: 'unavailable',
                    message: 'ENOSPC: no space',
                  }),
                )
              : inner.write(value),
        };
      },
    };
    const logger = createRecordingLogger();
    const bench = await start({ store, logger });
    const failures = (): number =>
      logger.records.filter((record) => JSON.stringify(record).includes('"snapshot-failed"'))
        .length;
    await until(() => failures() > 2);
    expect(await ask(bench)).toBe(200);
    const stored = memory.snapshot<string>('gateway-qos');
    expect(await stored.read()).toBeNull();
    isFull = false;
    await until(async () => (await stored.read()) !== null);
    isFull = true;
    const before = failures();
    await bench.close();
    expect(failures()).toBe(before + 1);
  });
});

describe('a wall clock that steps', () => {
  it.each([
    ['a day forward', DAY_MS],
    ['a day back', -DAY_MS],
  ])('%s changes no limit, no duration and no stream', async (_, ms) => {
    const clock = createHastyClock();
    const log: AccessRecord[] = [];
    const bench = await start({ clock, accessLog: (record) => void log.push(record) });
    engine.behave('pause');
    const running = await fetch(`${bench.url}/v1/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-secret' },
      body: JSON.stringify({ model: 'chat', prompt: 'x', stream: true }),
    });
    expect(running.status).toBe(200);
    engine.behave('normal');
    await untilSpent(bench);
    clock.step(ms);
    // A day would have filled the account again, and ended the stream.
    expect(await ask(bench)).toBe(429);
    engine.finish();
    expect(await running.text()).toContain('[DONE]');
    await until(() => log.some(({ stream }) => stream));
    for (const { durationMs, queueMs } of log) {
      expect(durationMs).toBeGreaterThanOrEqual(0);
      expect(durationMs).toBeLessThan(60_000);
      expect(queueMs ?? 0).toBeLessThan(60_000);
    }
  });
});
