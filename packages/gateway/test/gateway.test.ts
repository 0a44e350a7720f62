/**
 * The gateway over fake engines with the official `openai` client: what clients see, what engines see, what is counted.
 */
import { createServer } from 'node:net';
import { AimError, tenantName } from '@aim-gpu/core';
import { aTenant } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { until } from './support/until.js';

const messages = [{ role: 'user' as const, content: 'hello there' }];
const MODELS = [
  aServedModel('chat', { band: 'interactive', aliases: ['gpt-4o-mini'], fallback: 'small' }),
  aServedModel('small', { band: 'batch' }),
];

let engine: FakeEngine;
let other: FakeEngine;
let bench: Bench;
beforeEach(async () => {
  engine = await startFakeEngine();
  other = await startFakeEngine();
  bench = await startBench(MODELS);
  bench.directory.set('chat', [engine]);
});
afterEach(async () => {
  await bench.close();
  await Promise.all([engine.close(), other.close()]);
});

async function inFlight(): Promise<number> {
  const queues = (await (await fetch(`${bench.adminUrl}/v1/queues`)).json()) as {
    inFlight: number;
  };
  return queues.inFlight;
}

describe('answers', () => {
  it('JSON as the engine gave it, with the gateway’s headers and not the engine’s server', async () => {
    const { data, response } = await bench
      .client()
      .chat.completions.create({ model: 'chat', messages })
      .withResponse();
    expect(data.choices[0]?.message.content).toBe('one two three');
    expect(response.headers.get('x-aim-instance')).toBe('chat-0');
    expect(response.headers.get('x-aim-band')).toBe('interactive');
    expect(response.headers.get('x-request-id')).toBe('r1');
    expect(response.headers.get('server')).toBeNull();
  });

  it('streams without the usage that only the gateway asked for, and counts it', async () => {
    const stream = await bench
      .client()
      .chat.completions.create({ model: 'chat', messages, stream: true });
    let text = '';
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      expect(chunk.usage ?? null).toBeNull();
    }
    expect(text).toBe('one two three');
    expect(engine.seen[0]?.body['stream_options']).toEqual({ include_usage: true });
    await until(() =>
      bench.metrics.records.some(
        ({ name, labels, value }) =>
          name === 'aim_gpu_tokens_total' && labels['kind'] === 'output' && value === 3,
      ),
    );
  });

  it('streams with usage when the client asks for it', async () => {
    const stream = await bench.client().chat.completions.create({
      model: 'chat',
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    const usage: unknown[] = [];
    for await (const chunk of stream) if (chunk.usage) usage.push(chunk.usage);
    expect(usage).toHaveLength(1);
  });

  it('under an alias, with the bytes untouched', async () => {
    const body =
      '{"model":"gpt-4o-mini",  "messages":[{"role":"user","content":"h\\u00e9"}],"x_extra":1e400}';
    const response = await fetch(`${bench.url}/v1/chat/completions`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    });
    expect(response.status).toBe(200);
    expect(engine.seen[0]?.body['model']).toBe('gpt-4o-mini');
  });

  it('passes other paths on to the engine of the model', async () => {
    const response = await fetch(`${bench.url}/v1/tokenize?x=1`, {
      method: 'POST',
      body: JSON.stringify({ model: 'chat', prompt: 'a' }),
    });
    expect(response.status).toBe(200);
    expect(engine.seen[0]?.path).toBe('/v1/tokenize?x=1');
  });

  it('an engine’s own refusal of the request as it is', async () => {
    engine.behave('error');
    await expect(
      bench.client().chat.completions.create({ model: 'chat', messages }),
    ).rejects.toMatchObject({ status: 400 });
  });

  it('never shows the engine the client’s key', async () => {
    await bench.client('secret-key').chat.completions.create({ model: 'chat', messages });
    expect(JSON.stringify(engine.seen)).not.toContain('secret-key');
  });
});

describe('models', () => {
  it('lists names and aliases, and finds one', async () => {
    const ids = (await bench.client().models.list()).data.map(({ id }) => id);
    expect(ids).toEqual(['chat', 'gpt-4o-mini', 'small']);
    expect((await bench.client().models.retrieve('gpt-4o-mini')).id).toBe('gpt-4o-mini');
  });

  it('404 in OpenAI’s shape for an unknown one', async () => {
    const unknown = { status: 404, code: 'model_not_found', type: 'invalid_request_error' };
    await expect(bench.client().models.retrieve('none')).rejects.toMatchObject(unknown);
    await expect(
      bench.client().chat.completions.create({ model: 'none', messages }),
    ).rejects.toMatchObject(unknown);
  });
});

describe('bad requests', () => {
  const post = (body: string, path = '/v1/chat/completions'): Promise<Response> =>
    fetch(`${bench.url}${path}`, { method: 'POST', body });

  it.each([
    ['', 400],
    ['[]', 400],
    ['{"model":', 400],
    ['{"messages":[]}', 400],
    ['{"model":7}', 400],
    [`{"model":"chat","x":${'['.repeat(100)}${']'.repeat(100)}}`, 400],
    ['{"model":"chat","prompt":"a"} x', 400],
  ])('%j: %i', async (body, status) => {
    const response = await post(body);
    expect(response.status).toBe(status);
    expect(((await response.json()) as { error: { type: string } }).error.type).toBe(
      'invalid_request_error',
    );
    expect(response.headers.get('x-should-retry')).toBe('false');
    expect(engine.seen).toEqual([]);
  });

  it('413 for a body that is too large', async () => {
    await bench.close();
    bench = await startBench(MODELS, { limits: { maxBodyBytes: 100 } });
    bench.directory.set('chat', [engine]);
    expect((await post(JSON.stringify({ model: 'chat', prompt: 'x'.repeat(200) }))).status).toBe(
      413,
    );
  });

  it.each([
    ['GET', '/'],
    ['GET', '/v1/chat/completions'],
    ['DELETE', '/v1/models/chat'],
  ])('404 for %s %s', async (method, path) => {
    expect((await fetch(`${bench.url}${path}`, { method })).status).toBe(404);
  });
});

describe('clients that hang up', () => {
  it('free their place, and the engine is told', async () => {
    engine.behave('silent');
    const abort = new AbortController();
    const request = bench
      .client()
      .chat.completions.create({ model: 'chat', messages, stream: true }, { signal: abort.signal });
    await until(() => engine.seen.length === 1);
    expect(await inFlight()).toBe(1);
    abort.abort();
    await expect(request).rejects.toThrow();
    await until(async () => (await inFlight()) === 0);
    await until(() => engine.aborted() === 1);
  });
});

describe('engines that fail', () => {
  it.each(['reset', 'full'] as const)(
    '%s before the first byte: another one answers',
    async (behaviour) => {
      engine.behave(behaviour);
      bench.directory.set('chat', [engine, other]);
      for (let request = 0; request < 4; request += 1) {
        const answer = await bench
          .client()
          .chat.completions.create({ model: 'chat', messages, stream: request % 2 === 0 } as never);
        expect(answer).toBeDefined();
      }
      expect(other.seen.length).toBeGreaterThanOrEqual(3);
    },
  );

  it('all of them: 502 or 503, with a hint when to retry', async () => {
    engine.behave('reset');
    const failure = await bench
      .client()
      .chat.completions.create({ model: 'chat', messages })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ status: 502 });
    expect((failure as { headers: Headers }).headers.get('retry-after-ms')).toMatch(/^\d+$/);
  });

  it('in the middle of a stream: an error event and no [DONE]', async () => {
    engine.behave('break');
    const response = await fetch(`${bench.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'chat', messages, stream: true }),
    });
    const text = await response.text();
    expect(text).toContain('"content":"one "');
    expect(text).toContain('"code":"upstream_broken"');
    expect(text).not.toContain('[DONE]');
    await until(async () => (await inFlight()) === 0);
  });
});

describe('a model that is not ready', () => {
  it('is answered by its fallback under the fallback’s name', async () => {
    bench.directory.set('chat', []);
    bench.directory.set('small', [other]);
    const { response } = await bench
      .client()
      .chat.completions.create({ model: 'chat', messages })
      .withResponse();
    expect(response.headers.get('x-aim-instance')).toBe('small-0');
    expect(other.seen[0]?.body['model']).toBe('small');
  });

  it('is waited for, then served', async () => {
    bench.directory.set('chat', []);
    const request = bench.client().chat.completions.create({ model: 'chat', messages });
    await new Promise((resolve) => setTimeout(resolve, 50));
    bench.directory.set('chat', [engine]);
    expect((await request).choices[0]?.message.content).toBe('one two three');
  });

  it('is 503 with Retry-After when it does not come in time', async () => {
    await bench.close();
    bench = await startBench(MODELS, { limits: { holdMs: 50 } });
    const failure = await bench
      .client()
      .chat.completions.create({ model: 'chat', messages })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ status: 503, code: 'model_unavailable' });
    expect((failure as { headers: Headers }).headers.get('retry-after')).toMatch(/^\d+$/);
  });
});

describe('bands', () => {
  const bandOf = async (
    headers: Record<string, string>,
    extra: object = {},
  ): Promise<string | null> => {
    const { response } = await bench
      .client()
      .chat.completions.create({ model: 'chat', messages, ...extra } as never, { headers })
      .withResponse();
    return response.headers.get('x-aim-band');
  };

  it.each([
    [{}, {}, 'interactive'],
    [{ 'x-aim-band': 'critical' }, {}, 'standard'],
    [{ 'x-aim-band': 'batch' }, {}, 'batch'],
    [{ 'x-aim-band': 'urgent' }, {}, 'interactive'],
    [{}, { service_tier: 'flex' }, 'batch'],
    [{}, { service_tier: 'priority' }, 'standard'],
    [{ 'x-aim-ttft-ms': 'soon', 'x-aim-deadline-ms': '60000' }, {}, 'interactive'],
  ])('%j %j: %s', async (headers, extra, want) => {
    expect(await bandOf(headers, extra)).toBe(want);
  });
});

describe('tenants', () => {
  const tenant = aTenant({
    name: tenantName('team-a'),
    keys: [{ kind: 'env', name: 'KEY_A' }],
    bands: ['standard', 'batch'],
    limits: {
      requestsPerMinute: 2,
      inputTokensPerMinute: null,
      outputTokensPerMinute: null,
      concurrent: null,
    },
  });
  beforeEach(async () => {
    await bench.close();
    bench = await startBench(MODELS, { tenants: [tenant], env: { KEY_A: 'key-a' } });
    bench.directory.set('chat', [engine]);
  });

  it.each(['wrong', 'key-a ', ''])('401 for the key %j', async (key) => {
    const response = await fetch(`${bench.url}/v1/models`, {
      headers: key === '' ? {} : { authorization: `Bearer x${key}` },
    });
    expect(response.status).toBe(401);
    expect(((await response.json()) as { error: { code: string } }).error.code).toBe(
      'invalid_api_key',
    );
  });

  it('are held to their bands and limits', async () => {
    const ask = () =>
      bench.client('key-a').chat.completions.create({ model: 'chat', messages }).withResponse();
    expect((await ask()).response.headers.get('x-aim-band')).toBe('standard');
    // A minute's worth may come at once; the first request beyond it is refused.
    let failure: unknown;
    for (let request = 0; request < 5 && failure === undefined; request += 1) {
      await ask().catch((error: unknown) => {
        failure = error;
      });
    }
    expect(failure).toMatchObject({ status: 429, code: 'rate_limit_exceeded' });
    const { headers } = failure as { headers: Headers };
    expect(Number(headers.get('retry-after-ms'))).toBeGreaterThan(1000);
    expect(headers.get('x-should-retry')).toBe('true');
  });

  it('whose key is nowhere refuse the start', async () => {
    await expect(startBench(MODELS, { tenants: [tenant] })).rejects.toMatchObject({
      code: 'ERR_KEY_MISSING',
      kind: 'invalid',
    });
    const bad = aTenant({ keys: [{ kind: 'sha256', digest: 'abc' }] });
    await expect(startBench(MODELS, { tenants: [bad] })).rejects.toMatchObject({
      code: 'ERR_KEY_MISSING',
    });
    const file = aTenant({ keys: [{ kind: 'file', path: '/nonexistent/key' }] });
    await expect(startBench(MODELS, { tenants: [file] })).rejects.toMatchObject({
      code: 'ERR_KEY_MISSING',
    });
  });
});

describe('life', () => {
  it('refuses a port in use', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const bound = server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
    await expect(startBench(MODELS, { listen: { host: '127.0.0.1', port } })).rejects.toSatisfy(
      (error: unknown) => AimError.is(error, 'ERR_PORT_IN_USE'),
    );
    server.close();
  });

  it('refuses to be open to all without tenants', async () => {
    const listen = { host: '0.0.0.0', port: 0 };
    await expect(startBench(MODELS, { listen })).rejects.toMatchObject({
      code: 'ERR_ANONYMOUS_REFUSED',
      kind: 'denied',
    });
  });

  it('drains: what runs ends, what comes is refused', async () => {
    engine.behave('silent');
    const abort = new AbortController();
    const running = bench
      .client()
      .chat.completions.create({ model: 'chat', messages, stream: true }, { signal: abort.signal })
      .catch(() => null);
    await until(() => engine.seen.length === 1);
    const drained = bench.gateway.drain();
    await expect(
      bench.client().chat.completions.create({ model: 'chat', messages }),
    ).rejects.toMatchObject({ status: 503 });
    expect((await fetch(`${bench.adminUrl}/readyz`)).status).toBe(503);
    abort.abort();
    await drained;
    await running;
    await bench.gateway.close();
    await bench.gateway.close();
  });

  it('the admin face: health, readiness, metrics, endpoints, unknown routes', async () => {
    const get = (path: string): Promise<Response> => fetch(`${bench.adminUrl}${path}`);
    expect((await get('/healthz')).status).toBe(200);
    expect(await (await get('/readyz')).text()).toBe('ok, without: small\n');
    bench.directory.set('chat', []);
    const away = await get('/readyz');
    expect([away.status, await away.text()]).toEqual([503, 'not ready: chat, small\n']);
    bench.directory.set('chat', [engine]);
    bench.directory.set('small', [other]);
    expect(await (await get('/readyz')).text()).toBe('ok\n');
    expect(await (await get('/metrics')).text()).toBe('aim_gpu_up 1\n');
    expect(await (await get('/v1/endpoints')).json()).toMatchObject({
      endpoints: [{ instance: 'chat-0' }, { instance: 'small-0' }],
    });
    const unknown = await get('/nothing');
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ error: { code: 'ERR_ROUTE_UNKNOWN' } });
  });
});
