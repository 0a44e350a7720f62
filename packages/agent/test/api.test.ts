import { readFileSync } from 'node:fs';
import path from 'node:path';
import { AimError, type Fleet, type Plan } from '@aim-gpu/core';
import { aFleet, aPlan } from '@aim-gpu/core/testing';
import createClient from 'openapi-fetch';
import openapiTS, { astToString, type OpenAPI3 } from 'openapi-typescript';
import { afterEach, describe, expect, test } from 'vitest';
import { type AgentEvent, apiDocument, type ControlTarget, serveApi } from '../src/index.js';
import type { paths } from './fixtures/agent-api.js';
import { aTarget, STATUS } from './support/a-target.js';

const TOKEN = 'a-token-of-a-test-long-enough';
const root = path.resolve(import.meta.dirname, '..');
const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function serve(overrides: Partial<ControlTarget> = {}) {
  const target = aTarget(overrides);
  const listen = { host: '127.0.0.1', port: 0 };
  const served = await serveApi({ target, listen, token: TOKEN, tls: null });
  cleanups.push(() => served.release());
  const baseUrl = `http://127.0.0.1:${served.address.port}`;
  const headers = { authorization: `Bearer ${TOKEN}` };
  return { target, baseUrl, headers, client: createClient<paths>({ baseUrl, headers }) };
}

describe('the committed document', () => {
  test('is what the routes say', async () => {
    const committed = JSON.parse(
      readFileSync(path.join(root, 'openapi/agent.v1alpha1.json'), 'utf8'),
    );
    expect(committed, 'stale: npm run openapi in packages/agent').toEqual(
      JSON.parse(JSON.stringify(await apiDocument())),
    );
  });

  test('and the generated client is of that document', async () => {
    const types = astToString(await openapiTS((await apiDocument()) as unknown as OpenAPI3));
    expect(
      readFileSync(path.join(root, 'test/fixtures/agent-api.d.ts'), 'utf8'),
      'stale: npm run openapi in packages/agent',
    ).toBe(types);
  });

  test('is served', async () => {
    const { baseUrl, headers } = await serve();
    const served = await (await fetch(`${baseUrl}/openapi.json`, { headers })).json();
    expect(served).toEqual(JSON.parse(JSON.stringify(await apiDocument())));
  });
});

describe('a generated client', () => {
  test('calls every route', async () => {
    const applied: { readonly fleet: Fleet; readonly plan: Plan | undefined }[] = [];
    const { client, target } = await serve({
      applyFleet: (fleet, { dryRun, plan }) => {
        applied.push({ fleet, plan });
        const diff = { plan: aPlan().id, instances: [], layouts: [], settings: [] };
        return Promise.resolve({ dryRun: dryRun === true, plan: aPlan(), diff });
      },
    });
    target.events.add({ event: 'instance-ready', subject: 'chat-0', message: 'it serves' });
    const params = { path: { instance: 'chat-0' } };
    const called = new Map<string, unknown>();
    const note = (route: string, answer: { data?: unknown; response: Response }): void => {
      called.set(route, answer.data ?? answer.response.status);
    };
    note('get /healthz', await client.GET('/healthz'));
    note('get /readyz', await client.GET('/readyz'));
    note('get /v1/status', await client.GET('/v1/status'));
    note('get /v1/plan', await client.GET('/v1/plan'));
    note('get /v1/fleet', await client.GET('/v1/fleet'));
    note('get /v1/instances', await client.GET('/v1/instances'));
    note(
      'get /v1/instances/{instance}',
      await client.GET('/v1/instances/{instance}', { params: { path: { instance: 'nobody' } } }),
    );
    note(
      'get /v1/instances/{instance}/logs',
      await client.GET('/v1/instances/{instance}/logs', { params }),
    );
    note(
      'post /v1/instances/{instance}/drain',
      await client.POST('/v1/instances/{instance}/drain', { params, body: { undo: true } }),
    );
    note(
      'post /v1/instances/{instance}/restart',
      await client.POST('/v1/instances/{instance}/restart', { params }),
    );
    note('post /v1/drain', await client.POST('/v1/drain', { body: {} }));
    note(
      'post /v1/apply',
      await client.POST('/v1/apply', { body: { fleet: 'a fleet', dryRun: true } }),
    );
    note('get /v1/events', await client.GET('/v1/events', { params: { query: { after: 0 } } }));
    note(
      'post /v1/down',
      await client.POST('/v1/down', { params: { query: { restoreLayout: 'true' } } }),
    );

    const routes = Object.entries((await apiDocument())['paths'] as Record<string, object>).flatMap(
      ([route, methods]) => Object.keys(methods).map((method) => `${method} ${route}`),
    );
    expect([...called.keys()].toSorted()).toEqual(routes.toSorted());
    expect(called.get('get /v1/status')).toEqual(JSON.parse(JSON.stringify(STATUS)));
    expect(called.get('get /v1/instances/{instance}')).toBe(404);
    expect(called.get('get /v1/instances/{instance}/logs')).toEqual({
      lines: ['loading weights', 'ready'],
    });
    expect(called.get('post /v1/apply')).toMatchObject({ dryRun: true });
    expect(called.get('get /v1/events')).toMatchObject({ events: [{ id: 1, subject: 'chat-0' }] });
    expect(applied).toEqual([{ fleet: aFleet(), plan: undefined }]);
    expect(target.asked).toEqual([
      { instance: 'chat-0', undo: true },
      { restart: 'chat-0' },
      { instance: null, undo: false },
      { restoreLayout: true },
    ]);
  });

  test('is told in JSON what it did wrong', async () => {
    const { client, baseUrl, headers } = await serve();
    const wrong = await client.POST('/v1/apply', { body: { fleets: 'x' } as never });
    expect([wrong.response.status, wrong.error]).toMatchObject([
      400,
      { error: { code: 'ERR_CONFIG_INVALID', kind: 'invalid' } },
    ]);
    const answers = await Promise.all(
      ['{', JSON.stringify({ fleet: 'x'.repeat(5 * 2 ** 20) })].map(async (body) => {
        const answer = await fetch(`${baseUrl}/v1/apply`, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body,
        });
        return [answer.status, ((await answer.json()) as { error: { code: string } }).error.code];
      }),
    );
    expect(answers).toEqual([
      [400, 'ERR_CONFIG_INVALID'],
      [400, 'ERR_CONFIG_INVALID'],
    ]);
  });
});

describe('events', () => {
  test('come as server-sent events, the past first', async () => {
    const { target, baseUrl, headers } = await serve();
    target.events.add({ event: 'one', subject: 'a', message: 'before' });
    const stop = new AbortController();
    const answer = await fetch(`${baseUrl}/v1/events`, {
      headers: { ...headers, accept: 'text/event-stream' },
      signal: stop.signal,
    });
    expect(answer.headers.get('content-type')).toContain('text/event-stream');
    const seen: AgentEvent[] = [];
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; seen.length < 2; ) {
      const { value } = (await reader?.read()) ?? {};
      text += value ?? '';
      const parts = text.split('\n\n');
      text = parts.pop() ?? '';
      for (const part of parts) {
        const data = part.split('\n').find((line) => line.startsWith('data:'));
        if (data !== undefined) seen.push(JSON.parse(data.slice(5)) as AgentEvent);
      }
      if (seen.length === 1) target.events.add({ event: 'two', subject: 'a', message: 'after' });
    }
    stop.abort();
    expect(seen.map(({ event, id }) => [id, event])).toEqual([
      [1, 'one'],
      [2, 'two'],
    ]);
  });
});

describe('who may ask', () => {
  test.each([
    ['nobody without a token', {}, '/v1/status', 403],
    ['nobody with a wrong one', { authorization: 'Bearer wrong' }, '/v1/status', 403],
    ['everybody whether it lives', {}, '/healthz', 200],
    ['everybody whether it is ready', {}, '/readyz', 200],
  ])('%s', async (_, headers, route, status) => {
    const { baseUrl } = await serve();
    expect((await fetch(`${baseUrl}${route}`, { headers })).status).toBe(status);
  });

  test.each([
    ['a short token', { token: 'short' }, 'ERR_API_TOKEN'],
    ['an open address without TLS', { listen: { host: '0.0.0.0', port: 0 } }, 'ERR_API_OPEN'],
  ])('%s is refused', async (_, overrides, code) => {
    const options = { target: aTarget(), listen: { host: '127.0.0.1', port: 0 }, token: TOKEN };
    await expect(serveApi({ ...options, tls: null, ...overrides })).rejects.toSatisfy((error) =>
      AimError.is(error, code),
    );
  });

  test('a port in use is said', async () => {
    const { baseUrl } = await serve();
    const listen = { host: '127.0.0.1', port: Number(new URL(baseUrl).port) };
    await expect(
      serveApi({ target: aTarget(), listen, token: TOKEN, tls: null }),
    ).rejects.toMatchObject({ code: 'ERR_PORT_IN_USE' });
  });
});
