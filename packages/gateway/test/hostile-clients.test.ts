/**
 * Clients that try to be taken for somebody else's request, send slowly, too much, or without a right to. Each test
 * ends with an honest request that is answered.
 */
import { Agent, request as httpRequest } from 'node:http';
import { tenantName } from '@aim-gpu/core';
import { aTenant, createRecordingLogger } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { openRaw, type RawClient, statusesOf } from './support/raw-client.js';
import { until } from './support/until.js';

const MODELS = [aServedModel('chat')];
const BODY = JSON.stringify({ model: 'chat', prompt: 'hello' });
const CHUNKED = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`;
/** What an attacker wants an engine to see as a request of its own. */
const HIDDEN = `POST /v1/hidden HTTP/1.1\r\nhost: x\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`;

let engine: FakeEngine;
let bench: Bench;
let raws: RawClient[];
beforeEach(async () => {
  raws = [];
  engine = await startFakeEngine();
  bench = await startBench(MODELS);
  bench.directory.set('chat', [engine]);
});
afterEach(async () => {
  for (const { socket } of raws) socket.destroy();
  await bench.close();
  await engine.close();
});

function raw(bytes: string | Buffer): RawClient {
  const client = openRaw(bench.gateway.address.port, bytes);
  raws.push(client);
  return client;
}

const post = (headers: readonly string[], rest: string): string =>
  ['POST /v1/completions HTTP/1.1', 'host: x', ...headers, '', rest].join('\r\n');

/** The body of the last answer that was heard, as OpenAI's clients read it. */
function errorHeard({ heard }: RawClient): { readonly error: Record<string, unknown> } {
  const text = heard();
  const head = text.slice(text.lastIndexOf('HTTP/1.1 '), text.lastIndexOf('\r\n\r\n'));
  const body = text.slice(text.lastIndexOf('\r\n\r\n') + 4);
  expect(head).toMatch(/content-type: application\/json/);
  expect(head).toContain(`content-length: ${body.length}`);
  expect(head).toContain('x-should-retry: false');
  return JSON.parse(body) as { error: Record<string, unknown> };
}

async function honestRequestIsAnswered(): Promise<void> {
  const before = engine.seen.length;
  const response = await fetch(`${bench.url}/v1/completions`, { method: 'POST', body: BODY });
  expect(response.status).toBe(200);
  expect(engine.seen.length).toBe(before + 1);
}

describe('a request with two ends', () => {
  it.each([
    [
      'content-length and transfer-encoding',
      [`content-length: ${CHUNKED.length}`, 'transfer-encoding: chunked'],
      CHUNKED + HIDDEN,
    ],
    [
      'transfer-encoding and content-length',
      ['transfer-encoding: chunked', 'content-length: 4'],
      CHUNKED + HIDDEN,
    ],
    [
      'two content-lengths that differ',
      [`content-length: ${BODY.length}`, `content-length: ${BODY.length + HIDDEN.length}`],
      BODY + HIDDEN,
    ],
    [
      'two content-lengths that are alike',
      [`content-length: ${BODY.length}`, `content-length: ${BODY.length}`],
      BODY + HIDDEN,
    ],
    ['a list as content-length', [`content-length: ${BODY.length}, ${BODY.length}`], BODY + HIDDEN],
    ['a content-length with a sign', [`content-length: +${BODY.length}`], BODY + HIDDEN],
    ['a content-length in hex', [`content-length: 0x${BODY.length.toString(16)}`], BODY + HIDDEN],
    ['a content-length below zero', ['content-length: -1'], BODY + HIDDEN],
    ['a content-length beyond all numbers', [`content-length: ${'9'.repeat(40)}`], BODY + HIDDEN],
    ['a blank before the colon', [`content-length : ${BODY.length}`], BODY + HIDDEN],
    ['a coding that is not the last', ['transfer-encoding: chunked, identity'], CHUNKED + HIDDEN],
    ['a coding nobody knows', ['transfer-encoding: xchunked'], CHUNKED + HIDDEN],
    ['a hidden coding', ['transfer-encoding: \x0bchunked'], CHUNKED + HIDDEN],
    ['a size of a chunk that is none', ['transfer-encoding: chunked'], `xyz\r\n${BODY}${HIDDEN}`],
    ['a header that goes on in the next line', ['x-a: b', ' c: d'], HIDDEN],
    ['no host', [], ''],
  ])('%s: 400, the connection ends, no engine sees either', async (name, headers, rest) => {
    const text = name === 'no host' ? `POST /v1/completions HTTP/1.1\r\n\r\n` : post(headers, rest);
    const client = raw(text);
    await until(() => client.isClosed());
    expect(statusesOf(client.heard())).toEqual([400]);
    // A host that is missing is found by Node's server, not its parser: it answers without a body.
    if (name !== 'no host') {
      expect(errorHeard(client)).toEqual({
        error: {
          // Node's parser lets this one through and stops at the body.
          message:
            name === 'a coding nobody knows'
              ? 'the transfer-encoding must be chunked'
              : 'the request is no valid HTTP/1.1',
          type: 'invalid_request_error',
          param: null,
          code: null,
        },
      });
    }
    expect(engine.seen).toHaveLength(0);
    await honestRequestIsAnswered();
  });

  it('a chunk that says less than it holds: what follows is no request', async () => {
    const client = raw(post(['transfer-encoding: chunked'], `5\r\n${BODY}\r\n0\r\n\r\n${HIDDEN}`));
    await until(() => client.isClosed());
    expect(statusesOf(client.heard())).toEqual([400]);
    expect(engine.seen).toHaveLength(0);
    await honestRequestIsAnswered();
  });

  it('a request in the body of another stays a body', async () => {
    const inner = JSON.stringify({ model: 'chat', prompt: HIDDEN });
    const client = raw(post([`content-length: ${inner.length}`], inner));
    await until(() => statusesOf(client.heard()).length === 1);
    expect(engine.seen.map(({ path }) => path)).toEqual(['/v1/completions']);
    expect(engine.seen[0]?.body['prompt']).toBe(HIDDEN);
  });

  it.each([413, 415])('the body of a %i is not read as the next request', async (status) => {
    await bench.close();
    bench = await startBench(MODELS, { limits: { maxBodyBytes: 50 } });
    bench.directory.set('chat', [engine]);
    const headers = [`content-length: ${HIDDEN.length + BODY.length}`];
    if (status === 415) headers.push('content-encoding: gzip');
    const client = raw(post(headers, HIDDEN + BODY + HIDDEN));
    await until(() => client.isClosed());
    expect(statusesOf(client.heard())).toEqual([status]);
    expect(engine.seen).toHaveLength(0);
  });

  it('requests one after the other on one connection are each answered', async () => {
    const one = post([`content-length: ${BODY.length}`], BODY);
    const client = raw(one + post(['transfer-encoding: chunked'], CHUNKED) + one);
    await until(() => statusesOf(client.heard()).length === 3);
    expect(statusesOf(client.heard())).toEqual([200, 200, 200]);
  });
});

describe('what comes after a good request on its connection', () => {
  it('and is none: the answer under way is not mixed with another, and the connection ends', async () => {
    engine.behave('pause');
    const stream = JSON.stringify({ model: 'chat', prompt: 'x', stream: true });
    const client = raw(post([`content-length: ${stream.length}`], stream));
    await until(() => client.heard().includes('one '));
    client.socket.write('\0\0 no HTTP at all\r\n\r\n');
    await until(() => client.isClosed());
    expect(statusesOf(client.heard())).toEqual([200]);
    expect(client.heard()).not.toContain('no valid HTTP');
    engine.behave('normal');
    await honestRequestIsAnswered();
  });

  it('is counted, with names that exist', () => {
    raw('hello\r\n\r\n');
    return until(() =>
      bench.metrics.records.some(
        ({ name, labels }) =>
          name === 'aim_gpu_rejects_total' &&
          labels['code'] === '400' &&
          labels['reason'] === 'bad_request',
      ),
    );
  });
});

describe('headers', () => {
  it('beyond 32 KiB: 431, and nothing reaches an engine', async () => {
    const client = raw(
      post([`x-a: ${'a'.repeat(40_000)}`, `content-length: ${BODY.length}`], BODY),
    );
    await until(() => client.isClosed());
    expect(statusesOf(client.heard())).toEqual([431]);
    expect(errorHeard(client)).toMatchObject({ error: { message: 'the headers are too large' } });
    expect(engine.seen).toHaveLength(0);
    await honestRequestIsAnswered();
  });

  it('twice: the first key counts, a doubled wish counts as none', async () => {
    await bench.close();
    const tenant = aTenant({ keys: [{ kind: 'env', name: 'K' }] });
    bench = await startBench(MODELS, { tenants: [tenant], env: { K: 'right' } });
    bench.directory.set('chat', [engine]);
    const doubled = (first: string, second: string): string =>
      post(
        [
          `authorization: Bearer ${first}`,
          `authorization: Bearer ${second}`,
          'x-aim-band: batch',
          'x-aim-band: best_effort',
          'x-aim-ttft-ms: 5',
          'x-aim-ttft-ms: 7',
          'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
          'traceparent: 00-0af7651916cd43dd8448eb211c80319d-b7ad6b7169203331-01',
          'content-type: application/json',
          'content-type: text/plain',
          `content-length: ${BODY.length}`,
        ],
        BODY,
      );
    const wrong = raw(doubled('wrong', 'right'));
    await until(() => statusesOf(wrong.heard()).length === 1);
    expect(statusesOf(wrong.heard())).toEqual([401]);
    const right = raw(doubled('right', 'wrong'));
    await until(() => statusesOf(right.heard()).length === 1);
    expect(statusesOf(right.heard())).toEqual([200]);
    expect(right.heard()).toMatch(/x-aim-band: standard/i);
    expect(engine.seen).toHaveLength(1);
    const headers = engine.seen[0]?.headers;
    expect(headers?.['content-type']).toBe('application/json');
    expect(headers?.['traceparent']).not.toContain('0af7651916cd43dd');
  });

  it.each([
    ['a NUL', 'x-stainless-os: a\0b'],
    ['a lone line end', 'x-stainless-os: a\nx-request-id: b'],
    ['a lone return', 'x-stainless-os: a\rx-request-id: b'],
  ])('with %s never become other headers at the engine', async (_, header) => {
    const client = raw(post([header, `content-length: ${BODY.length}`], BODY));
    await until(() => client.isClosed() || statusesOf(client.heard()).length === 1);
    const [status] = statusesOf(client.heard());
    // Whatever the parser makes of it: refused, or two headers of which only ours goes on.
    expect([200, 400]).toContain(status);
    for (const { headers } of engine.seen) expect(headers['x-request-id']).not.toBe('b');
    await honestRequestIsAnswered();
  });

  it('that ask for another protocol get HTTP/1.1 or no answer', async () => {
    const upgrade = raw(
      post(['connection: upgrade', 'upgrade: h2c', `content-length: ${BODY.length}`], BODY),
    );
    const tunnel = raw('CONNECT example.org:443 HTTP/1.1\r\nhost: example.org\r\n\r\n');
    const absolute = raw(
      `POST http://example.org/v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`,
    );
    await until(() => tunnel.isClosed() && statusesOf(absolute.heard()).length === 1);
    expect(tunnel.heard()).toBe('');
    expect(statusesOf(absolute.heard())).toEqual([404]);
    await until(() => upgrade.isClosed() || statusesOf(upgrade.heard()).length === 1);
    expect(statusesOf(upgrade.heard())).not.toContain(101);
    for (const { headers } of engine.seen) expect(headers).not.toHaveProperty('upgrade');
  });
});

describe('a slow client', () => {
  beforeEach(async () => {
    await bench.close();
    bench = await startBench(MODELS, {
      limits: { headersMs: 400, requestMs: 1000, maxOpenPerTenant: 2 },
    });
    bench.directory.set('chat', [engine]);
  });

  it('that never ends its headers: 408 and no connection; others are served meanwhile', async () => {
    const slow = Array.from({ length: 50 }, () =>
      raw('POST /v1/completions HTTP/1.1\r\nhost: x\r\n'),
    );
    let letters = 0;
    const drip = setInterval(() => {
      letters += 1;
      for (const { socket } of slow) if (!socket.destroyed) socket.write(`x-${letters}: a\r\n`);
    }, 20);
    try {
      await honestRequestIsAnswered();
      await until(() => slow.every(({ isClosed }) => isClosed()));
    } finally {
      clearInterval(drip);
    }
    for (const client of slow) {
      expect(statusesOf(client.heard())).toEqual([408]);
      expect(errorHeard(client)).toMatchObject({
        error: { message: 'the request was not sent in time' },
      });
    }
    expect(engine.seen).toHaveLength(1);
  });

  it('that never ends its body: 408, and its place among the open requests is free again', async () => {
    const slow = [0, 1].map(() => raw(post(['content-length: 1000'], '{"model":"chat"')));
    await until(async () => {
      const refused = await fetch(`${bench.url}/v1/completions`, { method: 'POST', body: BODY });
      await refused.text();
      return refused.status === 429;
    });
    await until(() => slow.every(({ isClosed }) => isClosed()));
    for (const { heard } of slow) expect(statusesOf(heard())).toEqual([408]);
    await honestRequestIsAnswered();
  });

  it('that says nothing at all is let go', async () => {
    const idle = raw('');
    await until(() => idle.isClosed());
    expect(engine.seen).toHaveLength(0);
  });
});

describe('bounds', () => {
  it.each([
    [8 * 1024, 200],
    [8 * 1024 + 1, 414],
  ])('a URL of %i bytes: %i', async (length, status) => {
    const path = '/v1/completions?x=';
    const url = path + 'a'.repeat(length - path.length);
    const response = await fetch(bench.url + url, { method: 'POST', body: BODY });
    expect(response.status).toBe(status);
    expect(engine.seen).toHaveLength(status === 200 ? 1 : 0);
  });

  it.each([
    ['gzip', 415],
    ['identity, gzip', 415],
    ['br', 415],
    ['identity', 200],
  ])('the content-encoding %s: %i', async (coding, status) => {
    const headers = { 'content-encoding': coding };
    const response = await fetch(`${bench.url}/v1/completions`, {
      method: 'POST',
      headers,
      body: BODY,
    });
    expect(response.status).toBe(status);
    expect(engine.seen).toHaveLength(status === 200 ? 1 : 0);
  });

  it.each([
    ['arrays', '[', ']'],
    ['objects', '{"a":', '}'],
  ])('JSON of %s 64 levels deep goes on, 65 and 100,000 do not', async (_, open, close) => {
    const deep = async (levels: number): Promise<number> => {
      // The body's own object is the first level.
      const inner = `${open.repeat(levels - 1)}${close === '}' ? '1' : ''}${close.repeat(levels - 1)}`;
      const response = await fetch(`${bench.url}/v1/completions`, {
        method: 'POST',
        body: `{"model":"chat","x":${inner}}`,
      });
      await response.text();
      return response.status;
    };
    expect([await deep(64), await deep(65), await deep(100_000)]).toEqual([200, 400, 400]);
    expect(engine.seen).toHaveLength(1);
  });
});

describe('a tenant', () => {
  const tenant = (name: string, key: string) =>
    aTenant({ name: tenantName(name), keys: [{ kind: 'env', name: key }] });

  it('with too many requests open is refused, others are not, and its places come back', async () => {
    await bench.close();
    bench = await startBench(MODELS, {
      tenants: [tenant('many', 'A'), tenant('few', 'B')],
      env: { A: 'key-a', B: 'key-b' },
      limits: { maxOpenPerTenant: 2 },
    });
    bench.directory.set('chat', [engine]);
    const ask = (key: string): Promise<Response> =>
      fetch(`${bench.url}/v1/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}` },
        body: JSON.stringify({ model: 'chat', prompt: 'x', stream: true }),
      });
    engine.behave('pause');
    const open = [await ask('key-a'), await ask('key-a')];
    const refused = await ask('key-a');
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({ error: { code: 'rate_limit_exceeded' } });
    expect(Number(refused.headers.get('retry-after-ms'))).toBeGreaterThan(0);
    open.push(await ask('key-b'));
    expect(open.map(({ status }) => status)).toEqual([200, 200, 200]);
    engine.finish();
    for (const response of open) await response.text();
    engine.behave('normal');
    await until(async () => {
      const response = await ask('key-a');
      await response.text();
      return response.status === 200;
    });
  });

  it('is not found by 1,000 wrong keys, which leave no label, no log and no open request', async () => {
    await bench.close();
    const logger = createRecordingLogger();
    bench = await startBench(MODELS, {
      tenants: [tenant('team', 'A')],
      env: { A: 'key-a' },
      logger,
    });
    bench.directory.set('chat', [engine]);
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const ask = (key: string): Promise<number> =>
      new Promise((resolve, reject) => {
        httpRequest(`${bench.url}/v1/completions`, {
          agent,
          method: 'POST',
          headers: { authorization: `Bearer ${key}`, 'content-length': BODY.length },
        })
          .on('response', (response) => {
            response.resume().on('end', () => resolve(response.statusCode ?? 0));
          })
          .on('error', reject)
          .end(BODY);
      });
    try {
      const wrong = Array.from({ length: 1000 }, (_, index) => ask(`sk-wrong-${index}`));
      expect(new Set(await Promise.all(wrong))).toEqual(new Set([401]));
      expect(engine.seen).toHaveLength(0);
      expect(await ask('key-a')).toBe(200);
    } finally {
      agent.destroy();
    }
    const rejects = bench.metrics.records.filter(({ name }) => name === 'aim_gpu_rejects_total');
    expect(rejects).toHaveLength(1000);
    expect(new Set(rejects.map(({ labels }) => JSON.stringify(labels))).size).toBe(1);
    expect(JSON.stringify([bench.metrics.records, logger.records])).not.toMatch(/sk-|key-a/);
  });
});
