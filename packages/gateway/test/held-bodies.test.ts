/** What bodies may hold of a gateway that runs: who is refused when it is much, who passes, and that it comes back. */
import { tenantName } from '@aim-gpu/core';
import { aTenant } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { openRaw, type RawClient, statusesOf } from './support/raw-client.js';
import { until } from './support/until.js';

const KIB = 1024;
const MODELS = [aServedModel('chat'), aServedModel('parked')];
const limits = { maxHeldBytes: 4_000 * KIB, maxHeldBytesPerTenant: 2_000 * KIB, holdMs: 20_000 };
const TENANTS = ['a', 'b', 'c'].map((name) =>
  aTenant({ name: tenantName(name), keys: [{ kind: 'env', name: `KEY_${name}` }] }),
);
const env = { KEY_a: 'key-of-a', KEY_b: 'key-of-b', KEY_c: 'key-of-c' };

let engine: FakeEngine;
let bench: Bench;
let raws: RawClient[];
beforeEach(async () => {
  raws = [];
  engine = await startFakeEngine();
  bench = await startBench(MODELS, { tenants: TENANTS, env, limits });
  bench.directory.set('chat', [engine]);
});
afterEach(async () => {
  for (const { socket } of raws) socket.destroy();
  await bench.close();
  await engine.close();
});

const bodyOf = (kib: number, model = 'chat', more: object = {}): string =>
  JSON.stringify({ model, prompt: 'x'.repeat(kib * KIB), ...more });

async function ask(tenant: string, kib: number, model?: string): Promise<Response> {
  return fetch(`${bench.url}/v1/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer key-of-${tenant}` },
    body: bodyOf(kib, model),
  });
}

/** Announces a body and sends nothing of it, or chunks of it without announcing any. */
function hang(
  tenant: string,
  how: { readonly announced: number } | { readonly sent: number },
): RawClient {
  const length =
    'announced' in how ? `content-length: ${how.announced * KIB}` : 'transfer-encoding: chunked';
  const head = `POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-of-${tenant}\r\n${length}\r\n\r\n`;
  const bytes = 'sent' in how ? how.sent * KIB : 0;
  const chunk = bytes === 0 ? '' : `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n`;
  const client = openRaw(bench.gateway.address.port, head + chunk);
  raws.push(client);
  return client;
}

async function refusal(response: Response): Promise<unknown> {
  const { error } = (await response.json()) as { error: { code: string; type: string } };
  const { headers, status } = response;
  return [status, error.code, headers.get('retry-after'), headers.get('x-should-retry')];
}

const OF_TENANT = [429, 'rate_limit_exceeded', '1', 'true'];
const OF_ALL = [429, 'overloaded', '1', 'true'];

/** Until a large body of a tenant is refused, or is not: what hangs is counted when its headers have come. */
async function untilLarge(tenant: string, want: number): Promise<void> {
  await until(async () => (await ask(tenant, 900)).status === want);
}

describe('bodies of one tenant', () => {
  it('hold its share at most; small ones and other tenants pass, and what ends comes back', async () => {
    hang('a', { announced: 1_500 });
    await untilLarge('a', 429);
    expect(await refusal(await ask('a', 900))).toEqual(OF_TENANT);
    expect((await ask('a', 400)).status).toBe(200);
    expect((await ask('a', 1)).status).toBe(200);
    expect((await ask('b', 900)).status).toBe(200);
    for (const { socket } of raws) socket.destroy();
    await untilLarge('a', 200);
  });

  it('count as they come where nothing was announced', async () => {
    const clients = [hang('a', { sent: 800 }), hang('a', { sent: 800 })];
    await untilLarge('a', 429);
    for (const { socket } of clients) {
      const rest = 300 * KIB;
      socket.write(`${rest.toString(16)}\r\n${'x'.repeat(rest)}\r\n`);
    }
    await until(() => clients.some(({ isClosed }) => isClosed()));
    const closed = clients.find(({ isClosed }) => isClosed());
    expect(statusesOf(closed?.heard() ?? '')).toEqual([429]);
    expect(closed?.heard()).toMatch(/connection: close/);
    for (const { socket } of clients) socket.destroy();
    await untilLarge('a', 200);
  });

  it('count while they wait for a model', async () => {
    const waiting = ask('a', 1_500, 'parked');
    await untilLarge('a', 429);
    bench.directory.set('parked', [engine]);
    expect((await waiting).status).toBe(200);
    expect((await ask('a', 900)).status).toBe(200);
  });

  it('count while an engine has not answered', async () => {
    engine.behave('silent');
    const asked = new AbortController();
    const gone = fetch(`${bench.url}/v1/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer key-of-a' },
      body: bodyOf(1_500, 'chat', { stream: true }),
      signal: asked.signal,
    }).catch(() => undefined);
    await until(() => engine.seen.length === 1);
    expect(await refusal(await ask('a', 900))).toEqual(OF_TENANT);
    asked.abort();
    await gone;
    engine.behave('normal');
    await untilLarge('a', 200);
  });
});

describe('the body of a stream', () => {
  it('counts until its first content has passed', async () => {
    engine.behave('pause');
    const streams = [];
    for (let index = 0; index < 3; index += 1) {
      const stream = await fetch(`${bench.url}/v1/completions`, {
        method: 'POST',
        headers: { authorization: 'Bearer key-of-a' },
        body: bodyOf(1_500, 'chat', { stream: true }),
      });
      expect(stream.status).toBe(200);
      streams.push(stream);
    }
    expect(engine.seen).toHaveLength(3);
    engine.finish();
    for (const stream of streams) expect(await stream.text()).toContain('[DONE]');
  });
});

describe('bodies of all tenants', () => {
  it('hold what the gateway gives them at most; those that are not large pass beyond it', async () => {
    hang('a', { announced: 1_500 });
    hang('b', { announced: 1_500 });
    await untilLarge('c', 429);
    expect(await refusal(await ask('c', 900))).toEqual(OF_ALL);
    expect((await ask('c', 200)).status).toBe(200);
    expect((await ask('c', 1)).status).toBe(200);
    raws[0]?.socket.destroy();
    await untilLarge('c', 200);
  });

  it('come back one and all', async () => {
    for (let round = 0; round < 20; round += 1) {
      expect((await ask('a', 1_000)).status).toBe(200);
      expect((await ask('a', 1_000, 'unknown')).status).toBe(404);
    }
  });

  it('that were refused before they were read leave the connection to the next request', async () => {
    hang('a', { announced: 1_900 });
    await untilLarge('a', 429);
    const large = bodyOf(1_000);
    const small = bodyOf(1);
    const post = (body: string): string =>
      `POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-of-a\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    const client = openRaw(bench.gateway.address.port, post(large) + post(small));
    raws.push(client);
    await until(() => statusesOf(client.heard()).length === 2);
    expect(statusesOf(client.heard())).toEqual([429, 200]);
  });
});
