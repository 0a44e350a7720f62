/**
 * Keys and limits changed while the gateway runs: who may, what comes of it from the next request on, what is kept, and
 * that a key is nowhere but in one answer. The document of the routes is held against what they answer.
 */
import { readFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import path from 'node:path';
import { AimError, type StateStore, systemClock, type Tenant, tenantName } from '@aim-gpu/core';
import { aTenant, createMemoryStateStore, createRecordingLogger } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { adminDocument } from '../src/admin-app.js';
import {
  createdKeySchema,
  endpointsSchema,
  errorSchema,
  keySchema,
  keysSchema,
  limitsSchema,
  queuesSchema,
  requestsSchema,
  tenantSchema,
  tenantsSchema,
} from '../src/admin-schema.js';
import { digestKey } from '../src/key-ring.js';
import { createLiveTenants, type LiveTenants } from '../src/tenant-changes.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';

const TOKEN = 'an-admin-token';
const BODY = JSON.stringify({ model: 'chat', prompt: 'hello' });
const LIMITS = {
  requestsPerMinute: 2,
  inputTokensPerMinute: null,
  outputTokensPerMinute: null,
  concurrent: null,
};
const FLEET: readonly Tenant[] = [
  aTenant({ name: tenantName('team-a'), keys: [{ kind: 'env', name: 'A' }], limits: LIMITS }),
  aTenant({ name: tenantName('team-b'), keys: [] }),
];

let engine: FakeEngine;
let bench: Bench;
let store: StateStore;
let tenants: LiveTenants;
let logger: ReturnType<typeof createRecordingLogger>;
beforeEach(async () => {
  engine = await startFakeEngine();
  store = createMemoryStateStore();
  await start();
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

async function start(options: { readonly adminToken?: string | null } = {}): Promise<void> {
  const { adminToken = TOKEN } = options;
  logger = createRecordingLogger();
  const env = { A: 'sk-of-the-file' };
  tenants = await createLiveTenants({ tenants: FLEET, env, store, clock: systemClock, logger });
  bench = await startBench([aServedModel('chat')], {
    resolved: tenants,
    logger,
    ...(adminToken === null ? {} : { adminToken }),
  });
  bench.directory.set('chat', [engine]);
}

const admin = (method: string, at: string, body?: unknown): Promise<Response> =>
  fetch(`${bench.adminUrl}${at}`, {
    method,
    headers: { authorization: `Bearer ${TOKEN}` },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });

/** The document of an answer that is as described. */
async function answered<T>(
  schema: z.ZodType,
  status: number,
  answer: Promise<Response>,
): Promise<T> {
  const response = await answer;
  const document: unknown = await response.json();
  expect([response.status, schema.safeParse(document).error]).toEqual([status, undefined]);
  return document as T;
}

const codeOf = async (status: number, answer: Promise<Response>): Promise<string> =>
  (await answered<{ error: { code: string } }>(errorSchema, status, answer)).error.code;

async function ask(key: string): Promise<number> {
  const headers = { authorization: `Bearer ${key}` };
  const response = await fetch(`${bench.url}/v1/completions`, {
    method: 'POST',
    headers,
    body: BODY,
  });
  await response.text();
  return response.status;
}

interface Created {
  readonly id: string;
  readonly key: string;
}
const addKey = (tenant: string, more: object = {}): Promise<Created> =>
  answered(createdKeySchema, 201, admin('POST', '/v1/keys', { tenant, ...more }));

describe('the document', () => {
  it('that is committed is what the routes say, and what is served', async () => {
    const file = path.resolve(import.meta.dirname, '../openapi/gateway-admin.v1alpha1.json');
    const committed: unknown = JSON.parse(readFileSync(file, 'utf8'));
    expect(committed, 'stale: npm run openapi in packages/gateway').toEqual(
      JSON.parse(JSON.stringify(adminDocument())),
    );
    expect(await (await admin('GET', '/openapi.json')).json()).toEqual(committed);
  });

  it.each([
    ['/v1/queues', queuesSchema],
    ['/v1/endpoints', endpointsSchema],
    ['/v1/requests', requestsSchema],
    ['/v1/limits', limitsSchema],
    ['/v1/tenants', tenantsSchema],
    ['/v1/keys', keysSchema],
  ])('describes what %s answers while requests run', async (at, schema) => {
    await ask('sk-of-the-file');
    engine.behave('pause');
    const running = await fetch(`${bench.url}/v1/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-of-the-file' },
      body: JSON.stringify({ model: 'chat', prompt: 'x', stream: true }),
    });
    await answered(schema, 200, admin('GET', at));
    engine.finish();
    await running.text();
  });
});

describe('keys', () => {
  it('are added, used, listed and taken out of use, and shown once', async () => {
    const { id, key } = await addKey('team-b');
    expect(key).toMatch(/^sk-aim-[\w-]{43}$/);
    expect(await ask(key)).toBe(200);
    const { keys } = await answered<{ keys: unknown[] }>(keysSchema, 200, admin('GET', '/v1/keys'));
    expect(keys).toMatchObject([
      { tenant: 'team-a', from: 'fleet', addedAt: null },
      { id, tenant: 'team-b', from: 'admin' },
    ]);
    await answered(keySchema, 200, admin('DELETE', `/v1/keys/${id}`));
    expect(await ask(key)).toBe(401);
    expect(await codeOf(404, admin('DELETE', `/v1/keys/${id}`))).toBe('ERR_KEY_UNKNOWN');
    const seen = JSON.stringify([
      logger.records,
      keys,
      bench.metrics.records,
      await store.snapshot('gateway-tenants').read(),
    ]);
    expect(seen).not.toContain(key.slice(7));
    expect(seen).toContain(id);
  });

  it('taken out of use are refused on connections that are kept too', async () => {
    const { id, key } = await addKey('team-b');
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const over = (): Promise<number> =>
      new Promise((resolve, reject) => {
        httpRequest(`${bench.url}/v1/models`, {
          agent,
          headers: { authorization: `Bearer ${key}` },
        })
          .on('response', (response) => {
            response.resume().on('end', () => resolve(response.statusCode ?? 0));
          })
          .on('error', reject)
          .end();
      });
    expect(await over()).toBe(200);
    await admin('DELETE', `/v1/keys/${id}`);
    expect(await over()).toBe(401);
    agent.destroy();
  });

  it('made elsewhere are given by their digest, and not twice', async () => {
    const sha256 = digestKey('sk-made-elsewhere');
    expect((await addKey('team-b', { sha256 })).key).toBeNull();
    expect(await ask('sk-made-elsewhere')).toBe(200);
    const again = admin('POST', '/v1/keys', { tenant: 'team-a', sha256 });
    expect(await codeOf(409, again)).toBe('ERR_KEY_EXISTS');
  });

  it('of the fleet file stay out of use after a restart and after another fleet, until they are given anew', async () => {
    const id = digestKey('sk-of-the-file').slice(0, 12);
    const { key } = await addKey('team-b');
    expect((await admin('DELETE', `/v1/keys/${id}`)).status).toBe(200);
    await bench.close();
    await start();
    expect([await ask('sk-of-the-file'), await ask(key)]).toEqual([401, 200]);
    tenants.prepare(FLEET).take();
    expect([await ask('sk-of-the-file'), await ask(key)]).toEqual([401, 200]);
    await addKey('team-a', { sha256: digestKey('sk-of-the-file') });
    expect(await ask('sk-of-the-file')).toBe(200);
    // A tenant that has gone takes its keys with it.
    tenants.prepare(FLEET.slice(0, 1)).take();
    expect(await ask(key)).toBe(401);
  });
});

describe('limits', () => {
  const change = (limits: object) => admin('PUT', '/v1/limits/team-a', limits);

  it('hold from the next request on, are kept, and go back to the fleet’s', async () => {
    for (const status of [200, 200, 429]) expect(await ask('sk-of-the-file')).toBe(status);
    const changed = await answered<object>(tenantSchema, 200, change({ requestsPerMinute: null }));
    expect(changed).toMatchObject({ limits: { requestsPerMinute: null }, limitsFrom: 'admin' });
    expect(await ask('sk-of-the-file')).toBe(200);
    await bench.close();
    await start();
    for (let request = 0; request < 5; request += 1) expect(await ask('sk-of-the-file')).toBe(200);
    const back = answered<object>(tenantSchema, 200, admin('DELETE', '/v1/limits/team-a'));
    expect(await back).toMatchObject({ limits: LIMITS, limitsFrom: 'fleet' });
    expect((await change({ requestsPerMinute: 1 })).status).toBe(200);
    await answered(limitsSchema, 200, admin('GET', '/v1/limits'));
  });
});

it('limits of a tenant on one model stay the fleet’s when those on all are changed', async () => {
  const modelLimits = { chat: { ...LIMITS, requestsPerMinute: 1 } };
  const team = aTenant({ name: tenantName('team-a'), keys: [], limits: LIMITS, modelLimits });
  const live = await createLiveTenants({ tenants: [team], store, clock: systemClock, logger });
  const changed = await live.admin.setLimits('team-a', { requestsPerMinute: null });
  expect(changed).toMatchObject({ limits: { requestsPerMinute: null }, modelLimits });
  expect(live.admin.tenants()).toMatchObject([{ modelLimits }]);
});

describe('a change', () => {
  const CHANGES: readonly (readonly [method: string, at: string, body: object])[] = [
    ['POST', '/v1/keys', { tenant: 'team-b' }],
    ['DELETE', `/v1/keys/${digestKey('sk-of-the-file').slice(0, 12)}`, {}],
    ['PUT', '/v1/limits/team-a', { concurrent: 1 }],
    ['DELETE', '/v1/limits/team-a', {}],
  ];

  it.each(CHANGES)(
    '%s %s needs a token that is there, on loopback too',
    async (method, at, body) => {
      const bare = await fetch(`${bench.adminUrl}${at}`, {
        method,
        body: JSON.stringify(body),
      });
      expect(bare.status).toBe(401);
      await bench.close();
      await start({ adminToken: null });
      expect(await codeOf(403, admin(method, at, body))).toBe('ERR_TOKEN_NEEDED');
      expect((await admin('GET', '/v1/keys')).status).toBe(200);
      expect(await ask('sk-of-the-file')).toBe(200);
    },
  );

  const REFUSED: readonly (readonly [
    string,
    string,
    object | string | undefined,
    number,
    string,
  ])[] = [
    ['PUT', '/v1/limits/nobody', { concurrent: 1 }, 404, 'ERR_TENANT_UNKNOWN'],
    ['POST', '/v1/keys', { tenant: 'nobody' }, 404, 'ERR_TENANT_UNKNOWN'],
    ['POST', '/v1/keys', {}, 400, 'ERR_CONFIG_INVALID'],
    ['POST', '/v1/keys', { tenant: 'team-a', key: 'sk-x' }, 400, 'ERR_CONFIG_INVALID'],
    ['POST', '/v1/keys', { tenant: 'team-a', sha256: 'short' }, 400, 'ERR_CONFIG_INVALID'],
    ['POST', '/v1/keys', '{"tenant":', 400, 'ERR_CONFIG_INVALID'],
    ['POST', '/v1/keys', `"${'x'.repeat(100_000)}"`, 400, 'ERR_CONFIG_INVALID'],
    ['PUT', '/v1/limits/team-a', { requestsPerMinute: -1 }, 400, 'ERR_CONFIG_INVALID'],
    ['PUT', '/v1/limits/team-a', { requests: 1 }, 400, 'ERR_CONFIG_INVALID'],
    ['DELETE', '/v1/keys/', undefined, 404, 'ERR_ROUTE_UNKNOWN'],
    ['DELETE', '/v1/keys/a', undefined, 404, 'ERR_KEY_UNKNOWN'],
  ];

  it.each(REFUSED)(
    '%s %s with %j: %i %s, and nothing is changed',
    async (method, at, body, status, code) => {
      const before = [tenants.admin.keys(), tenants.admin.tenants()];
      expect(await codeOf(status, admin(method, at, body))).toBe(code);
      expect([tenants.admin.keys(), tenants.admin.tenants()]).toEqual(before);
    },
  );

  it('that cannot be stored does not count', async () => {
    const inner = store;
    store = {
      ...inner,
      snapshot: <T>(name: string) => ({
        ...inner.snapshot<T>(name),
        read: () => inner.snapshot<T>(name).read(),
        write: () =>
          Promise.reject(
            new AimError({ code: 'ERR_STATE_IO', kind: 'unavailable', message: 'no space' }),
          ),
      }),
    };
    await bench.close();
    await start();
    expect(await codeOf(503, admin('POST', '/v1/keys', { tenant: 'team-b' }))).toBe('ERR_STATE_IO');
    expect(tenants.admin.keys()).toHaveLength(1);
  });
});

it('tenants that were given as they are cannot be changed', async () => {
  await bench.close();
  bench = await startBench([aServedModel('chat')], { adminToken: TOKEN });
  const refused = admin('POST', '/v1/keys', { tenant: 'team-a' });
  expect(await codeOf(422, refused)).toBe('ERR_TENANTS_FIXED');
  await answered(keysSchema, 200, admin('GET', '/v1/keys'));
});
