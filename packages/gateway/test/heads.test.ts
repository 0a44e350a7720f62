/**
 * Heads of requests that are HTTP and not as they should be: two hosts, codings that are none, what nobody does; and
 * pages of other sites, where no key is asked for.
 */
import { request as httpRequest } from 'node:http';
import { tenantName } from '@aim-gpu/core';
import { aTenant } from '@aim-gpu/core/testing';
import type { LimitState, Limits } from '@aim-gpu/qos';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccessRecord } from '../src/access-log.js';
import { isLoopbackHost, isLoopbackOrigin } from '../src/loopback.js';
import { pushRateHeaders } from '../src/rate-headers.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { openRaw, statusesOf } from './support/raw-client.js';
import { until } from './support/until.js';

const BODY = JSON.stringify({ model: 'chat', prompt: 'hello' });
const CHUNKED = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`;
const LENGTH = `content-length: ${BODY.length}\r\n`;
const HIDDEN = 'GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n';

let engine: FakeEngine;
let bench: Bench;
let log: AccessRecord[];
beforeEach(async () => {
  log = [];
  engine = await startFakeEngine();
  bench = await startBench([aServedModel('chat')], {
    accessLog: (record) => void log.push(record),
  });
  bench.directory.set('chat', [engine]);
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

const post = (headers: string, body = BODY): string =>
  `POST /v1/completions HTTP/1.1\r\n${headers}\r\n${body}`;

async function hear(bytes: string): Promise<string> {
  const client = openRaw(bench.gateway.address.port, bytes);
  await until(() => statusesOf(client.heard()).length > 0 || client.isClosed());
  // Whatever was taken for a second request would be answered now.
  await new Promise((resolve) => setTimeout(resolve, 50));
  client.socket.destroy();
  return client.heard();
}

describe('a request with', () => {
  it.each([
    ['two hosts', post(`host: x\r\nHost: y\r\n${LENGTH}`)],
    ['the same host twice', post(`host: x\r\nhost: x\r\n${LENGTH}`)],
    [
      'identity before chunked',
      post('host: x\r\ntransfer-encoding: identity, chunked\r\n', CHUNKED),
    ],
    ['chunked twice', post('host: x\r\ntransfer-encoding: chunked, chunked\r\n', CHUNKED)],
    ['another coding before it', post('host: x\r\ntransfer-encoding: gzip, chunked\r\n', CHUNKED)],
  ])('%s: 400, and nothing behind it is read', async (_, bytes) => {
    const heard = await hear(bytes + HIDDEN);
    expect(statusesOf(heard)).toEqual([400]);
    expect(heard.toLowerCase()).toContain('connection: close');
    expect(heard).toContain('"type":"invalid_request_error"');
    expect(engine.seen).toEqual([]);
  });

  it.each([
    ['one host', post(`host: x\r\n${LENGTH}`)],
    ['chunks', post('host: x\r\ntransfer-encoding: chunked\r\n', CHUNKED)],
    ['chunks in capitals', post('host: x\r\ntransfer-encoding: Chunked\r\n', CHUNKED)],
    ['100-continue', post(`host: x\r\nexpect: 100-continue\r\n${LENGTH}`)],
  ])('%s: answered', async (_, bytes) => {
    expect(statusesOf(await hear(bytes)).at(-1)).toBe(200);
  });

  it('an expectation that nobody meets: 417 with an error in OpenAI’s shape, counted and logged', async () => {
    const heard = await hear(post(`host: x\r\nexpect: a-miracle\r\n${LENGTH}`));
    expect(statusesOf(heard)).toEqual([417]);
    expect(heard).toContain('connection: close');
    const body = heard.slice(heard.indexOf('\r\n\r\n') + 4);
    expect(JSON.parse(body)).toMatchObject({ error: { type: 'invalid_request_error' } });
    expect(log.map(({ code }) => code)).toEqual([417]);
    expect(engine.seen).toEqual([]);
  });
});

describe('a gateway without keys, on loopback', () => {
  const ask = (headers: Record<string, string>, path = '/v1/completions'): Promise<number> =>
    fetch(`${bench.url}${path}`, {
      method: path.endsWith('models') ? 'GET' : 'POST',
      headers,
      ...(path.endsWith('models') ? {} : { body: BODY }),
    }).then(({ status }) => status);

  it.each(['https://evil.example', 'http://127.0.0.1.evil.example', 'null', 'file://'])(
    'refuses pages of %s',
    async (origin) => {
      expect(await ask({ origin, 'content-type': 'text/plain' })).toBe(403);
      expect(await ask({ origin }, '/v1/models')).toBe(403);
      expect(engine.seen).toEqual([]);
    },
  );

  it.each([
    'http://localhost:3000',
    'http://127.0.0.1:8080',
    'https://[::1]',
    'http://ui.localhost',
  ])('serves pages of its own machine: %s', async (origin) => {
    expect(await ask({ origin })).toBe(200);
  });

  it('leaves that to keys where there are some', async () => {
    await bench.close();
    const tenant = aTenant({ name: tenantName('team'), keys: [{ kind: 'env', name: 'K' }] });
    bench = await startBench([aServedModel('chat')], { tenants: [tenant], env: { K: 'key' } });
    bench.directory.set('chat', [engine]);
    const origin = 'https://app.example';
    expect(await ask({ origin })).toBe(401);
    expect(await ask({ origin, authorization: 'Bearer key' })).toBe(200);
  });
});

describe('an admin face without a token', () => {
  const look = (path: string, host: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const { port } = bench.gateway.adminAddress;
      httpRequest({ host: '127.0.0.1', port, path, headers: { host } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });

  it.each([
    'evil.example',
    'evil.example:8081',
    'localhost.evil.example',
    '127.0.0.1.nip.io',
    '10.0.0.1',
  ])('answers nobody who calls it %s', async (host) => {
    expect(await look('/v1/requests', host)).toBe(403);
    expect(await look('/metrics', host)).toBe(403);
    expect(await look('/healthz', host)).toBe(200);
  });

  it.each(['localhost', 'localhost:8081', '127.0.0.1:1', '[::1]:8081', 'LocalHost'])(
    'answers who calls it %s',
    async (host) => {
      expect(await look('/v1/requests', host)).toBe(200);
    },
  );

  it('with one it asks for that, under any name', async () => {
    await bench.close();
    bench = await startBench([aServedModel('chat')], { adminToken: 'token' });
    expect(await look('/v1/requests', 'gpu.example')).toBe(401);
  });
});

it('no name is this machine’s that only begins or ends like one', () => {
  const names = ['', 'localhost.com', 'notlocalhost', '127.0.0.1.com', '128.0.0.1', '[::2]'];
  expect(names.filter(isLoopbackHost)).toEqual([]);
  expect(isLoopbackHost(undefined)).toBe(false);
  expect(['null', 'localhost', 'ftp://localhost'].filter(isLoopbackOrigin)).toEqual([]);
});

describe('times in limits’ headers', () => {
  it.each([
    [0, '0s'],
    [0.2, '1ms'],
    [999, '999ms'],
    [1_500, '1.5s'],
    [59_999, '59.999s'],
    [59_999.5, '1m0s'],
    [60_000, '1m0s'],
    [119_001, '2m0s'],
    [119_500, '2m0s'],
    [360_000, '6m0s'],
    [3_599_999, '60m0s'],
  ])('%d ms: %s', (resetMs, written) => {
    const requests: LimitState = { limit: 10, remaining: 1, resetMs };
    const none = { requests: null, inputTokens: null, outputTokens: null, concurrent: null };
    const limits = { state: () => ({ ...none, requests }) } as unknown as Limits;
    const headers: string[] = [];
    pushRateHeaders(headers, limits, [{}] as never, 0);
    expect(headers[headers.indexOf('x-ratelimit-reset-requests') + 1]).toBe(written);
  });
});
