/**
 * The operator's face: who may use it, what it says of itself, and what it changes.
 */
import { tenantName } from '@aim-gpu/core';
import { aTenant } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { until } from './support/until.js';

const MODELS = [aServedModel('chat'), aServedModel('small')];
const TOKEN = 'an-admin-token';
const messages = [{ role: 'user', content: 'hello there' }];

let engine: FakeEngine;
let bench: Bench;
beforeEach(async () => {
  engine = await startFakeEngine();
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`${bench.adminUrl}${path}`, init);
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('readiness', () => {
  it.each([
    ['no models', [], 503, 'not ready: no models\n'],
    ['nothing but parked models', [aServedModel('chat', { parked: true })], 200, 'ok\n'],
    [
      'a parked model beside one that is away',
      [aServedModel('chat'), aServedModel('small', { parked: true })],
      200,
      'ok, without: chat\n',
    ],
    ['models that are all away', MODELS, 503, 'not ready: chat, small\n'],
  ])('with %s', async (_, models, status, text) => {
    bench = await startBench(models);
    const ready = await ask('/readyz');
    expect([ready.status, await ready.text()]).toEqual([status, text]);
  });
});

describe('the admin token', () => {
  beforeEach(async () => {
    bench = await startBench(MODELS, { adminToken: TOKEN });
    bench.directory.set('chat', [engine]);
  });

  it.each(['/healthz', '/readyz'])('is not asked for %s', async (path) => {
    expect((await ask(path)).status).toBe(200);
  });

  it.each([
    ['GET', '/metrics'],
    ['GET', '/v1/queues'],
    ['GET', '/v1/endpoints'],
    ['GET', '/v1/requests'],
    ['GET', '/v1/limits'],
    ['GET', '/openapi.json'],
    ['GET', '/nothing'],
    ['POST', '/v1/drain'],
    ['POST', '/healthz/'],
  ])('is asked for %s %s', async (method, path) => {
    for (const headers of [{}, bearer('wrong'), bearer(''), { authorization: `Basic ${TOKEN}` }]) {
      const refused = await ask(path, { method, headers });
      expect(refused.status).toBe(401);
      const text = await refused.text();
      expect(JSON.parse(text)).toMatchObject({ error: { code: 'ERR_TOKEN_REFUSED' } });
      expect(text).not.toContain(TOKEN);
    }
    // Nobody without the token has drained anything.
    expect((await ask('/readyz')).status).toBe(200);
    const allowed = await ask(path, { method, headers: bearer(TOKEN) });
    expect(allowed.status).not.toBe(401);
  });

  it('is needed to start on an address that others reach', async () => {
    await expect(
      startBench(MODELS, { adminListen: { host: '0.0.0.0', port: 0 } }),
    ).rejects.toMatchObject({ code: 'ERR_ADMIN_OPEN', kind: 'denied' });
  });
});

describe('pages in browsers', () => {
  it('change nothing, with or without the token, from this machine neither', async () => {
    bench = await startBench(MODELS, { adminToken: TOKEN });
    for (const origin of ['https://example.org', 'null', bench.adminUrl]) {
      const headers = { ...bearer(TOKEN), origin };
      const refused = await ask('/v1/drain', { method: 'POST', headers });
      expect(refused.status).toBe(403);
      expect(await refused.json()).toMatchObject({ error: { code: 'ERR_ORIGIN_REFUSED' } });
      const read = await ask('/v1/queues', { headers });
      expect(read.status).toBe(200);
      expect(read.headers.get('access-control-allow-origin')).toBeNull();
    }
    expect(await (await ask('/readyz')).text()).not.toContain('draining');
  });
});

describe('/openapi.json', () => {
  it('names every route that is served, and nothing else', async () => {
    bench = await startBench(MODELS);
    const { openapi, paths } = (await (await ask('/openapi.json')).json()) as {
      openapi: string;
      paths: Record<string, Record<string, { summary: string }>>;
    };
    expect(openapi).toMatch(/^3\.1\./);
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect(routes.sort()).toEqual([
      'delete /v1/keys/{id}',
      'delete /v1/limits/{tenant}',
      'get /healthz',
      'get /metrics',
      'get /readyz',
      'get /v1/endpoints',
      'get /v1/keys',
      'get /v1/limits',
      'get /v1/queues',
      'get /v1/requests',
      'get /v1/tenants',
      'post /v1/drain',
      'post /v1/keys',
      'put /v1/limits/{tenant}',
    ]);
    for (const route of routes) {
      const [method = '', path = ''] = route.split(' ');
      expect((await ask(path, { method: method.toUpperCase() })).status).not.toBe(404);
    }
  });
});

describe('POST /v1/drain', () => {
  it('refuses newcomers, lets what runs end, and says so', async () => {
    bench = await startBench(MODELS);
    bench.directory.set('chat', [engine]);
    engine.behave('pause');
    const post = (): Promise<Response> =>
      fetch(`${bench.url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({ model: 'chat', messages, stream: true }),
      });
    const running = await post();
    expect((await ask('/v1/drain')).status).toBe(404);
    for (let time = 0; time < 2; time += 1) {
      const drained = await ask('/v1/drain', { method: 'POST' });
      expect([drained.status, await drained.json()]).toEqual([202, { draining: true, open: 1 }]);
    }
    const ready = await ask('/readyz');
    expect([ready.status, await ready.text()]).toEqual([503, 'draining\n']);
    const refused = await post();
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
    engine.finish();
    expect(await running.text()).toContain('[DONE]');
  });
});

describe('/v1/requests and /v1/limits', () => {
  it('show who uses what, and nothing of what is said or by which key', async () => {
    const tenant = aTenant({
      name: tenantName('team-a'),
      keys: [{ kind: 'env', name: 'KEY' }],
      limits: {
        requestsPerMinute: 10,
        inputTokensPerMinute: null,
        outputTokensPerMinute: null,
        concurrent: 3,
      },
    });
    bench = await startBench(MODELS, { tenants: [tenant], env: { KEY: 'sk-secret' } });
    bench.directory.set('chat', [engine]);
    engine.behave('pause');
    const running = await fetch(`${bench.url}/v1/chat/completions`, {
      method: 'POST',
      headers: bearer('sk-secret'),
      body: JSON.stringify({ model: 'chat', messages, stream: true }),
    });
    const requests = await (await ask('/v1/requests')).text();
    expect(JSON.parse(requests)).toMatchObject({
      requests: [{ tenant: 'team-a', model: 'chat', band: 'standard', instance: 'chat-0' }],
    });
    const limits = await (await ask('/v1/limits')).text();
    expect(JSON.parse(limits).accounts).toHaveLength(1);
    expect(limits).toContain('team-a');
    expect(requests + limits).not.toMatch(/hello there|sk-secret/);
    engine.finish();
    await running.text();
    await until(async () => (await (await ask('/v1/requests')).text()) === '{"requests":[]}');
  });
});
