/**
 * What is written down of requests: the access log and the trace, without anything that was said.
 */
import { type IdSource, tenantName } from '@aim-gpu/core';
import { aTenant } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccessRecord } from '../src/access-log.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { until } from './support/until.js';

const MODELS = [aServedModel('chat', { aliases: ['gpt-4o-mini'] }), aServedModel('away')];
const PROMPT = 'my darkest secret';
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

const HOLD_MS = 20;

let engine: FakeEngine;
let bench: Bench;
let log: AccessRecord[];
beforeEach(async () => {
  log = [];
  engine = await startFakeEngine();
  await start(HOLD_MS);
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

async function start(holdMs: number): Promise<void> {
  const tenant = aTenant({ name: tenantName('team-a'), keys: [{ kind: 'env', name: 'KEY' }] });
  bench = await startBench(MODELS, {
    tenants: [tenant],
    env: { KEY: 'sk-secret' },
    accessLog: (record) => void log.push(record),
    limits: { holdMs, suspendMs: 1, maxBodyBytes: 1_000_000 },
  });
  bench.directory.set('chat', [engine]);
}

const ask = (extra: object = {}, init: RequestInit & { path?: string } = {}): Promise<Response> =>
  fetch(`${bench.url}${init.path ?? '/v1/chat/completions'}`, {
    method: 'POST',
    ...init,
    headers: { authorization: 'Bearer sk-secret', ...init.headers },
    body: JSON.stringify({
      model: 'chat',
      messages: [{ role: 'user', content: PROMPT }],
      ...extra,
    }),
  });

describe('the access log', () => {
  it('has one record for each answer, with its figures', async () => {
    const response = await ask(
      { model: 'gpt-4o-mini', stream: true },
      { path: '/v1/completions?key=sk-x' },
    );
    await response.text();
    await until(() => log.length === 1);
    const [record] = log;
    expect(record).toMatchObject({
      requestId: response.headers.get('x-request-id'),
      path: '/v1/completions',
      tenant: 'team-a',
      model: 'chat',
      band: 'standard',
      instance: 'chat-0',
      code: 200,
      stream: true,
      tries: 1,
      promptTokens: 5,
      outputTokens: 3,
    });
    expect(record?.ttftMs).toBeLessThanOrEqual(record?.durationMs ?? 0);
    expect(record?.tpotMs).toBeGreaterThanOrEqual(0);
    await (await ask()).text();
    await until(() => log.length === 2);
    expect(log[1]).toMatchObject({ code: 200, stream: false, promptTokens: 5, outputTokens: 3 });
  });

  it.each([
    ['full', 503, 503],
    ['cut', 502, 502],
    ['break', 200, 502],
    ['error', 400, 400],
  ] as const)('tells how a request ended whose engine did: %s', async (behaviour, status, code) => {
    engine.behave(behaviour);
    const response = await ask({ stream: behaviour === 'break' });
    expect(response.status).toBe(status);
    await response.text();
    await until(() => log.length === 1);
    expect(log[0]?.code).toBe(code);
  });

  it('tells 499 for a client that hung up', async () => {
    engine.behave('pause');
    const abort = new AbortController();
    await ask({ stream: true }, { signal: abort.signal });
    abort.abort();
    await until(() => log.length === 1);
    expect(log[0]).toMatchObject({ code: 499, instance: 'chat-0' });
  });

  it.each([
    ['without a key', 401, {}, { headers: { authorization: '' } }, { tenant: null, model: null }],
    ['with a wrong one', 401, {}, { headers: { authorization: 'Bearer sk-x' } }, { tenant: null }],
    ['of no model', 404, { model: 'sk-made-up' }, {}, { tenant: 'team-a', model: null }],
    ['of no path', 404, {}, { path: '/v2/secret' }, { tenant: null, path: '/v2/secret' }],
    [
      'of a path without end',
      404,
      {},
      { path: `/${'x'.repeat(900)}` },
      { path: `/${'x'.repeat(255)}` },
    ],
    ['with too much', 413, { pad: 'x'.repeat(2_000_000) }, {}, { tenant: 'team-a' }],
    [
      'for a model that is away',
      503,
      { model: 'away' },
      {},
      { tenant: 'team-a', model: 'away', band: 'standard', tries: 0 },
    ],
  ])('has a record of a request %s', async (_, code, extra, init, known) => {
    const response = await ask(extra, init);
    expect(response.status).toBe(code);
    await response.text();
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({
      requestId: response.headers.get('x-request-id'),
      code,
      instance: null,
      ...known,
    });
    expect(JSON.stringify(log)).not.toMatch(/sk-|darkest/);
  });

  it('has a record of what is refused while the gateway drains', async () => {
    const drained = bench.gateway.drain();
    expect((await ask()).status).toBe(503);
    expect(log[0]).toMatchObject({ code: 503, tenant: 'team-a', model: null });
    await drained;
  });

  it('tells how long a request was held in vain, and its client too', async () => {
    const response = await ask({ model: 'away' });
    const queueMs = Number(response.headers.get('x-aim-queue-ms'));
    // Timers of the system may ring a little early.
    expect(queueMs).toBeGreaterThanOrEqual(HOLD_MS / 2);
    expect(log[0]?.queueMs).toBeCloseTo(queueMs, 0);
    expect(log[0]?.durationMs).toBe(log[0]?.queueMs);
  });

  it('tells 499 for a client that left while it was held', async () => {
    await bench.close();
    await start(5_000);
    const gone = new AbortController();
    const asked = ask({ model: 'away' }, { signal: gone.signal });
    await new Promise((resolve) => setTimeout(resolve, 100));
    gone.abort();
    await expect(asked).rejects.toThrow();
    await until(() => log.length === 1);
    expect(log[0]).toMatchObject({ code: 499, model: 'away', tenant: 'team-a' });
    const rejects = bench.metrics.records.filter(({ name }) => name === 'aim_gpu_rejects_total');
    expect(rejects).toEqual([]);
  });

  it('holds nothing of prompts, answers and keys, whatever happened', async () => {
    for (const behaviour of ['normal', 'cut', 'break', 'error', 'full'] as const) {
      engine.behave(behaviour);
      for (const stream of [true, false]) await (await ask({ stream, user: PROMPT })).text();
    }
    await until(() => log.length === 10);
    const text = JSON.stringify([log, bench.metrics.records]);
    expect(text).not.toMatch(/darkest|one two|sk-/);
  });
});

describe('traceparent', () => {
  const seen = (): string => String(engine.seen.at(-1)?.headers['traceparent']);

  it('goes on with the gateway as the parent, and tracestate with it', async () => {
    const headers = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'vendor=1' };
    await (await ask({}, { headers })).text();
    expect(seen()).toMatch(new RegExp(`^00-${TRACE}-(?!${PARENT})[0-9a-f]{16}-01$`));
    expect(engine.seen[0]?.headers['tracestate']).toBe('vendor=1');
    await until(() => log.length === 1);
    expect(log[0]?.traceId).toBe(TRACE);
  });

  it.each([
    ['none', undefined],
    ['no trace at all', 'hello'],
    ['the version ff', `ff-${TRACE}-${PARENT}-01`],
    ['version 00 with more fields', `00-${TRACE}-${PARENT}-01-x`],
    ['a trace of zeros', `00-${'0'.repeat(32)}-${PARENT}-01`],
    ['a parent of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['capitals', `00-${TRACE.toUpperCase()}-${PARENT}-01`],
  ])('with %s begins anew, unsampled, with an id that the log knows', async (_, traceparent) => {
    await (await ask({}, { headers: traceparent === undefined ? {} : { traceparent } })).text();
    await until(() => log.length === 1);
    const traceId = log[0]?.traceId ?? '';
    expect(traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(traceId).not.toBe(TRACE);
    expect(seen()).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
  });

  it('of a later version keeps what is known of it', async () => {
    const headers = { traceparent: `01-${TRACE}-${PARENT}-01-later` };
    await (await ask({}, { headers })).text();
    expect(seen()).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
  });

  it('that begins here has the id of the request', async () => {
    await bench.close();
    const id = 'c0ffee00c0ffee00c0ffee00c0ffee01';
    const ids: IdSource = { next: () => id };
    bench = await startBench(MODELS, { ids });
    bench.directory.set('chat', [engine]);
    const response = await ask();
    expect(response.headers.get('x-request-id')).toBe(id);
    expect(seen()).toBe(`00-${id}-${id.slice(16)}-00`);
  });
});
