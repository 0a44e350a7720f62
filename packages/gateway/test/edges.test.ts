/**
 * What must hold at the edges: nothing leaks, nothing reaches an engine that should not, every request is counted.
 */
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { createSequentialIds, systemClock, tenantName } from '@aim-gpu/core';
import { aTenant, createRecordingLogger } from '@aim-gpu/core/testing';
import { createMetrics, parseExposition } from '@aim-gpu/metrics';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createGateway, resolveTenants } from '../src/index.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, createDirectory, startBench } from './support/gateway-bench.js';
import { until } from './support/until.js';

const messages = [{ role: 'user' as const, content: 'hello there' }];
const MODELS = [aServedModel('chat', { aliases: ['gpt-4o-mini'] }), aServedModel('small')];

let engine: FakeEngine;
let bench: Bench;
beforeEach(async () => {
  engine = await startFakeEngine();
  bench = await startBench(MODELS);
  bench.directory.set('chat', [engine]);
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

const post = (body: object, path = '/v1/chat/completions', init: RequestInit = {}) =>
  fetch(`${bench.url}${path}`, { method: 'POST', body: JSON.stringify(body), ...init });

async function inFlight(): Promise<number> {
  const queues = (await (await fetch(`${bench.adminUrl}/v1/queues`)).json()) as {
    inFlight: number;
  };
  return queues.inFlight;
}

/** Values of a metric with these labels, in order. */
function values(name: string, labels: Record<string, string> = {}): (number | null)[] {
  return bench.metrics.records
    .filter(
      (record) =>
        record.name === name &&
        Object.entries(labels).every(([label, value]) => record.labels[label] === value),
    )
    .map(({ value }) => value);
}

describe('a client that hangs up', () => {
  it('in the middle of a stream: the engine is told, the place is free, 499 is counted', async () => {
    engine.behave('pause');
    const stream = await bench
      .client()
      .chat.completions.create({ model: 'chat', messages, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    await until(() => engine.aborted() === 1);
    await until(async () => (await inFlight()) === 0);
    await until(() => values('aim_gpu_requests_total', { code: '499' }).length === 1);
    // The first token was seen, so its time counts although the answer never ended.
    expect(values('aim_gpu_request_ttft_seconds')).toHaveLength(1);
  });

  it('in the middle of its own body', async () => {
    const socket = connect(bench.gateway.address.port, '127.0.0.1');
    socket.write(
      'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"model":"chat"',
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    expect((await post({ model: 'chat', messages })).status).toBe(200);
    expect(engine.seen).toHaveLength(1);
  });

  it('while its model is waited for', async () => {
    const abort = new AbortController();
    const waiting = post({ model: 'small', messages }, undefined, { signal: abort.signal });
    await new Promise((resolve) => setTimeout(resolve, 50));
    abort.abort();
    await expect(waiting).rejects.toThrow();
    await until(() => values('aim_gpu_requests_total', { model: 'small' }).length === 1);
    bench.directory.set('small', [engine]);
    expect(await inFlight()).toBe(0);
    expect(engine.seen).toHaveLength(0);
  });
});

describe('a directory', () => {
  it('that wakes a model for a client that has gone: no engine is asked', async () => {
    await bench.close();
    const directory = createDirectory(MODELS);
    bench = await startBench(MODELS, {
      directory: { ...directory, request: (workload) => directory.request(workload) },
    });
    const abort = new AbortController();
    const waiting = post({ model: 'small', messages }, undefined, { signal: abort.signal });
    await new Promise((resolve) => setTimeout(resolve, 50));
    abort.abort();
    await expect(waiting).rejects.toThrow();
    await new Promise((resolve) => setTimeout(resolve, 50));
    directory.set('small', [engine]);
    await until(() => values('aim_gpu_requests_total', { code: '499' }).length === 1);
    expect(engine.seen).toHaveLength(0);
    expect(await inFlight()).toBe(0);
  });

  it('that says no in its own words when the time is up: 503', async () => {
    await bench.close();
    const directory = createDirectory(MODELS);
    bench = await startBench(MODELS, {
      limits: { holdMs: 20 },
      directory: {
        ...directory,
        request: (_, { signal } = {}) =>
          new Promise((_resolve, reject) => {
            signal?.addEventListener('abort', () => reject(signal.reason));
          }),
      },
    });
    expect((await post({ model: 'small', messages })).status).toBe(503);
  });

  it('that fails: 500 without its words', async () => {
    await bench.close();
    const directory = createDirectory(MODELS);
    bench = await startBench(MODELS, {
      directory: { ...directory, request: () => Promise.reject(new Error('secret detail')) },
    });
    const response = await post({ model: 'small', messages });
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('secret');
  });
});

describe('an engine', () => {
  it('that hangs up on different requests in a row is left alone for a moment', async () => {
    const other = await startFakeEngine();
    engine.behave('reset');
    bench.directory.set('chat', [engine, other]);
    for (let request = 0; request < 8; request += 1)
      expect((await post({ model: 'chat', messages })).status).toBe(200);
    expect(engine.seen.length).toBeLessThanOrEqual(2);
    await other.close();
  });

  it('that breaks off a whole answer: another one gives it, and without one the client hears 502', async () => {
    engine.behave('cut');
    const response = await post({ model: 'chat', messages });
    expect(response.status).toBe(502);
    expect(await response.json()).toMatchObject({ error: { code: 'upstream_unreachable' } });
    await until(() => values('aim_gpu_requests_total', { code: '502' }).length === 1);
    const other = await startFakeEngine();
    bench.directory.set('chat', [engine, other]);
    for (let request = 0; request < 3; request += 1)
      expect((await post({ model: 'chat', messages })).status).toBe(200);
    expect(await inFlight()).toBe(0);
    await other.close();
  });

  it('that nobody listens for: another one answers', async () => {
    const gone = await startFakeEngine();
    await gone.close();
    bench.directory.set('chat', [gone, engine]);
    for (let request = 0; request < 3; request += 1)
      expect((await post({ model: 'chat', messages })).status).toBe(200);
    expect(engine.seen).toHaveLength(3);
  });

  it('that is draining gets nothing', async () => {
    bench.directory.set('chat', [engine], 'draining');
    bench.directory.set('small', [engine]);
    await bench.close();
    bench = await startBench(MODELS, { limits: { holdMs: 20 } });
    bench.directory.set('chat', [engine], 'draining');
    const response = await post({ model: 'chat', messages });
    expect(response.status).toBe(503);
    expect(response.headers.get('x-aim-band')).toBe('standard');
    expect(Number(response.headers.get('retry-after-ms'))).toBeGreaterThan(0);
    expect(engine.seen).toHaveLength(0);
  });

  it.each([
    '/v1/load_lora_adapter',
    '/v1/unload_lora_adapter',
    '/v1/../sleep',
    '/v1/%2e%2e/sleep',
    '/v1//x',
  ])('is not controlled through %s', async (path) => {
    const status = await new Promise((resolve, reject) => {
      const options = { host: '127.0.0.1', port: bench.gateway.address.port, method: 'POST' };
      // node:http sends the path as it is; fetch would tidy it first.
      httpRequest({ ...options, path }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end(JSON.stringify({ model: 'chat', lora_name: 'x', lora_path: '/etc' }));
    });
    expect(status).toBe(404);
    expect(engine.seen).toHaveLength(0);
  });

  it('gets no cookies, no keys and no gateway headers', async () => {
    const headers = { cookie: 'a=b', authorization: 'Bearer sk', 'x-aim-band': 'batch', te: 'x' };
    await post({ model: 'chat', messages }, undefined, { headers });
    const seen = Object.keys(engine.seen[0]?.headers ?? {});
    for (const name of ['cookie', 'authorization', 'x-aim-band', 'te'])
      expect(seen).not.toContain(name);
    expect(seen).toContain('x-request-id');
  });
});

describe('bodies', () => {
  it('are asked for usage on the paths that know it only', async () => {
    const stream = { model: 'chat', messages, stream: true };
    await (await post(stream)).text();
    await (await post(stream, '/v1/completions')).text();
    await (await post(stream, '/v1/responses')).text();
    await (await post({ ...stream, stream_options: { x: 1 } })).text();
    await (await post({ ...stream, stream_options: null })).text();
    expect(engine.seen.map(({ body }) => body['stream_options'])).toEqual([
      { include_usage: true },
      { include_usage: true },
      undefined,
      { x: 1, include_usage: true },
      { include_usage: true },
    ]);
  });

  it('with an escape that is none are refused, not choked on', async () => {
    const body = '{"model":"ch\\qat"}';
    const response = await fetch(`${bench.url}/v1/completions`, { method: 'POST', body });
    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: { param: string } }).error.param).toBe('model');
  });

  it.each(['constructor', '__proto__', 'auto', 7])(
    'with the service tier %j are served',
    async (tier) => {
      const response = await post({ model: 'chat', messages, service_tier: tier });
      expect(response.status).toBe(200);
      expect(response.headers.get('x-aim-band')).toBe('standard');
    },
  );
});

describe('counting', () => {
  it('every refusal, with names that exist and none that a client made up', async () => {
    await post({ model: 'none-such', messages });
    await post({}, '/nowhere');
    await post({ model: 'chat', messages }, '/v1/completions');
    await until(() => values('aim_gpu_requests_total').length === 3);
    expect(values('aim_gpu_requests_total', { code: '404' })).toHaveLength(2);
    expect(values('aim_gpu_rejects_total', { reason: 'model_not_found' })).toHaveLength(1);
    expect(JSON.stringify(bench.metrics.records)).not.toContain('none-such');
  });

  it('TPOT, duration and the queue of a stream', async () => {
    await (await post({ model: 'chat', messages, stream: true })).text();
    await until(() => values('aim_gpu_request_duration_seconds').length === 1);
    expect(values('aim_gpu_request_tpot_seconds')).toHaveLength(1);
    expect(values('aim_gpu_queue_wait_seconds')).toHaveLength(1);
    expect(values('aim_gpu_tokens_total', { kind: 'input' })).toEqual([5]);
  });

  it('under names and labels that the product’s metrics know', async () => {
    const metrics = createMetrics();
    const directory = createDirectory(MODELS);
    const tenant = aTenant({ name: tenantName('team'), keys: [{ kind: 'env', name: 'K' }] });
    const logger = createRecordingLogger();
    const gateway = createGateway({
      directory,
      tenants: await resolveTenants([tenant], { env: { K: 'sk-very-secret' } }),
      clock: systemClock,
      ids: createSequentialIds('r'),
      logger,
      metrics,
      exposition: () => metrics.exposition(),
      listen: { host: '127.0.0.1', port: 0 },
      adminListen: { host: '127.0.0.1', port: 0 },
    });
    await gateway.start();
    const other = await startFakeEngine();
    try {
      directory.set('chat', [engine]);
      const ask = async (model: string, key: string): Promise<void> => {
        const response = await fetch(
          `http://127.0.0.1:${gateway.address.port}/v1/chat/completions`,
          {
            method: 'POST',
            headers: { authorization: `Bearer ${key}` },
            body: JSON.stringify({ model, messages, stream: true }),
          },
        );
        await response.text();
      };
      await ask('chat', 'sk-very-secret');
      await ask('chat', 'sk-wrong');
      await ask('nothing', 'sk-very-secret');
      engine.behave('reset');
      directory.set('chat', [engine, other]);
      await ask('chat', 'sk-very-secret');
      await ask('chat', 'sk-very-secret');
      const scrape = async () =>
        parseExposition(
          await (await fetch(`http://127.0.0.1:${gateway.adminAddress.port}/metrics`)).text(),
        );
      await until(async () => (await scrape()).sum('aim_gpu_requests_total') === 5);
      const read = await scrape();
      const labels = { model: 'chat', tenant: 'team', band: 'standard' };
      expect(read.sum('aim_gpu_requests_total', { ...labels, code: '200' })).toBe(3);
      expect(read.sum('aim_gpu_rejects_total', { code: '401' })).toBe(1);
      expect(read.sum('aim_gpu_slo_attainment_ratio', { model: 'chat', band: 'standard' })).toBe(1);
      expect(read.sum('aim_gpu_queue_depth')).toBe(0);
      // Something was logged, for the engine that hung up; no key is in it.
      expect(logger.records.length).toBeGreaterThan(0);
      expect(JSON.stringify(logger.records)).not.toMatch(/sk-/);
    } finally {
      await gateway.close();
      await other.close();
    }
  });
});

describe('memory', () => {
  it('a client that does not read stops its engine', async () => {
    engine.behave('flood');
    const socket = connect(bench.gateway.address.port, '127.0.0.1');
    const body = JSON.stringify({ model: 'chat', stream: true });
    socket.pause();
    socket.write(
      `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await until(() => engine.flooded() > 0);
    // Full means: nothing more went through for a while.
    let before = -1;
    await until(async () => {
      const isStill = engine.flooded() === before;
      before = engine.flooded();
      await new Promise((resolve) => setTimeout(resolve, 200));
      return isStill;
    });
    expect(engine.flooded()).toBeLessThan(100_000_000);
    socket.destroy();
    await until(() => engine.aborted() === 1);
    await until(async () => (await inFlight()) === 0);
  });

  it('a body that is too large is not read to its end, announced or not', async () => {
    await bench.close();
    bench = await startBench(MODELS, { limits: { maxBodyBytes: 1000 } });
    bench.directory.set('chat', [engine]);
    const chunks = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new Uint8Array(600).fill(0x20)),
    });
    const response = await fetch(`${bench.url}/v1/completions`, {
      method: 'POST',
      body: chunks,
      duplex: 'half',
    } as RequestInit);
    expect(response.status).toBe(413);
    expect(response.headers.get('connection')).toBe('close');
    expect(engine.seen).toHaveLength(0);
  });
});

describe('draining', () => {
  it('waits for a stream to end and lets its last byte out', async () => {
    engine.behave('pause');
    const response = await post({ model: 'chat', messages, stream: true });
    let isDrained = false;
    const drained = bench.gateway.drain().then(() => {
      isDrained = true;
    });
    const refused = await post({ model: 'chat', messages });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(isDrained).toBe(false);
    engine.finish();
    expect(await response.text()).toContain('[DONE]');
    await drained;
  });

  it('does not wait for ever', async () => {
    await bench.close();
    bench = await startBench(MODELS, { drainMs: 30 });
    bench.directory.set('chat', [engine]);
    engine.behave('pause');
    const response = await post({ model: 'chat', messages, stream: true });
    await bench.gateway.drain();
    await bench.gateway.close();
    await expect(response.text()).rejects.toThrow();
    await until(() => engine.aborted() === 1);
  });
});
