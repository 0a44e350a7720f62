/**
 * A model's fallback answers when the model cannot: because nobody serves it, because its engines are gone although the
 * directory does not know, because they are lost with the request. What a model only has too much of does not fall back.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccessRecord } from '../src/access-log.js';
import { type ChaosEngine, startChaosEngine } from './support/chaos-proxy.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { readAdmin } from './support/leftovers.js';
import { until } from './support/until.js';

const MODELS = [
  aServedModel('chat', { fallback: 'small', band: 'interactive' }),
  aServedModel('small', { fallback: 'chat' }),
];
const HOLD_MS = 3_000;
/** What a client would wait if the gateway went on asking engines that are gone. */
const AT_ONCE_MS = 700;

let engine: ChaosEngine;
let spare: FakeEngine;
let bench: Bench;
let log: AccessRecord[];
beforeEach(async () => {
  log = [];
  engine = await startChaosEngine();
  spare = await startFakeEngine();
  await start();
  bench.directory.set('chat', [engine]);
  bench.directory.set('small', [spare]);
});
afterEach(async () => {
  await until(async () => {
    const { inFlight, waiting } = await readAdmin(bench, '/v1/queues');
    return inFlight === 0 && waiting === 0;
  });
  await bench.close();
  await engine.close();
  await spare.close();
});

async function start(options: object = {}): Promise<void> {
  bench = await startBench(MODELS, {
    accessLog: (record) => void log.push(record),
    limits: { holdMs: HOLD_MS },
    ...options,
  });
}

function ask(extra: object = {}): Promise<Response> {
  return fetch(`${bench.url}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'chat', messages: [], ...extra }),
  });
}

async function expectFallback(response: Response): Promise<void> {
  expect(response.status).toBe(200);
  expect(response.headers.get('x-aim-instance')).toBe('small-0');
  expect(response.headers.get('x-aim-band')).toBe('standard');
  expect(await response.text()).toContain('two');
  expect(spare.seen.at(-1)?.body['model']).toBe('small');
  await until(() => log.length > 0);
  expect(log.at(-1)).toMatchObject({ model: 'small', instance: 'small-0', code: 200 });
}

describe('a model of which the directory says that it is ready, and whose', () => {
  it.each([false, true])(
    'engine refuses connections (stream: %s): its fallback, at once',
    async (stream) => {
      await engine.close();
      const sinceMs = performance.now();
      for (let request = 0; request < 4; request += 1) await expectFallback(await ask({ stream }));
      expect(performance.now() - sinceMs).toBeLessThan(AT_ONCE_MS);
      const counted = bench.metrics.records.filter(({ name }) => name === 'aim_gpu_requests_total');
      expect(counted.map(({ labels }) => [labels['model'], labels['code']])).toEqual(
        Array.from({ length: 4 }, () => ['small', '200']),
      );
    },
  );

  it('engines all refuse connections: its fallback', async () => {
    const other = await startChaosEngine();
    await engine.close();
    await other.close();
    bench.directory.set('chat', [engine, other]);
    await expectFallback(await ask());
    await expectFallback(await ask());
  });

  it.each([
    ['hangs up', Buffer.alloc(0)],
    ['breaks off its answer', Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{')],
  ])('engine %s: its fallback, having reached one engine', async (_, bytes) => {
    engine.play({ bytes, after: 'end' });
    await expectFallback(await ask());
    expect(engine.requests()).toBe(1);
  });

  it('engine stands still: its fallback, when its figures are missed', async () => {
    await bench.close();
    const idle = { running: 0, waiting: 0, kvUsage: 0, kvCapacityTokens: 1_000 };
    const totals = { preemptionsTotal: 0, promptTokensTotal: 0, generationTokensTotal: 0 };
    await start({
      sampleEveryMs: 20,
      sample: ({ instance }: { instance: string }) =>
        instance === 'chat-0'
          ? Promise.reject(new Error('no answer'))
          : Promise.resolve({ ...idle, ...totals }),
    });
    bench.directory.set('chat', [engine]);
    bench.directory.set('small', [spare]);
    await expectFallback(await ask());
    await expectFallback(await ask());
    expect(engine.requests()).toBeLessThanOrEqual(1);
  });

  it('engine is lost while others wait for it: all of them go to its fallback', async () => {
    engine.play({ bytes: Buffer.alloc(0), after: 'stall' });
    bench.directory.set('chat', [engine], 'ready', { maxNumSeqs: 1 });
    const first = ask();
    await until(() => engine.requests() === 1);
    const waiting = ask();
    await until(async () => Number((await readAdmin(bench, '/v1/queues'))['waiting']) === 1);
    bench.directory.set('chat', []);
    await engine.close();
    await expectFallback(await first);
    await expectFallback(await waiting);
  });
});

describe('a model that nobody serves', () => {
  it('and whose fallback comes back first: answered by that', async () => {
    bench.directory.set('chat', []);
    bench.directory.set('small', []);
    const asked = ask();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const sinceMs = performance.now();
    bench.directory.set('small', [spare]);
    await expectFallback(await asked);
    expect(performance.now() - sinceMs).toBeLessThan(AT_ONCE_MS);
  });

  it('and comes back before its fallback: answered by itself', async () => {
    bench.directory.set('chat', []);
    bench.directory.set('small', []);
    const asked = ask();
    await new Promise((resolve) => setTimeout(resolve, 50));
    bench.directory.set('chat', [spare]);
    const response = await asked;
    expect(response.headers.get('x-aim-instance')).toBe('chat-0');
    expect(spare.seen[0]?.body['model']).toBe('chat');
  });

  it('nor its fallback: 503 for the one that was asked', async () => {
    await bench.close();
    await start({ limits: { holdMs: 50 } });
    const response = await ask();
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({
      error: { message: expect.stringContaining('chat') },
    });
  });
});

describe('no fallback', () => {
  it('for a model that is full, by its engine’s word', async () => {
    engine.play({
      bytes: Buffer.from('HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n'),
      after: 'keep',
    });
    expect((await ask()).status).toBe(503);
    expect(spare.seen).toEqual([]);
  });

  it('for a request that two engines broke off', async () => {
    const other = await startChaosEngine();
    for (const each of [engine, other]) each.play({ bytes: Buffer.alloc(0), after: 'end' });
    bench.directory.set('chat', [engine, other]);
    expect((await ask()).status).toBe(502);
    expect(spare.seen).toEqual([]);
    await other.close();
  });

  it('of the fallback: it ends there', async () => {
    await engine.close();
    await spare.close();
    expect((await ask()).status).toBe(502);
  });

  it('for a client that is gone, and nothing is left', async () => {
    engine.play({ bytes: Buffer.alloc(0), after: 'stall' });
    const gone = new AbortController();
    const asked = fetch(`${bench.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'chat', messages: [] }),
      signal: gone.signal,
    });
    await until(() => engine.requests() === 1);
    gone.abort();
    await expect(asked).rejects.toThrow();
    await engine.close();
    await until(() => log.length === 1);
    expect(log[0]).toMatchObject({ code: 499, model: 'chat' });
    expect(spare.seen).toEqual([]);
  });
});
