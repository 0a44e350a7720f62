/**
 * Limits of models and of a tenant on one model: who is charged for what, what a refusal says, what the headers tell and
 * to whom.
 */
import type { ServedModel, Tenant, TenantLimits } from '@aim-gpu/core';
import { tenantName } from '@aim-gpu/core';
import { aTenant } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limitsSchema } from '../src/admin-schema.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';

const NONE: TenantLimits = {
  requestsPerMinute: null,
  inputTokensPerMinute: null,
  outputTokensPerMinute: null,
  concurrent: null,
};
const perMinute = (requestsPerMinute: number): TenantLimits => ({ ...NONE, requestsPerMinute });
const team = (name: 'a' | 'b', more: Partial<Tenant> = {}): Tenant =>
  aTenant({ name: tenantName(`team-${name}`), keys: [{ kind: 'env', name }], ...more });

let engine: FakeEngine;
let bench: Bench;
beforeEach(async () => {
  engine = await startFakeEngine();
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

/** Starts with an engine for each model but those that are away. */
async function start(
  models: readonly ServedModel[],
  tenants: readonly Tenant[],
  away: readonly string[] = [],
): Promise<void> {
  bench = await startBench(models, { tenants, env: { a: 'sk-a', b: 'sk-b' } });
  for (const { workload } of models) {
    if (!away.includes(workload)) bench.directory.set(workload, [engine]);
  }
}

interface Answer {
  readonly status: number;
  readonly message: string | null;
  readonly headers: Headers;
  /** `limit remaining` of requests, or null. */
  readonly rate: string | null;
}

async function ask(who: 'a' | 'b', model: string, more: object = {}): Promise<Answer> {
  const response = await fetch(`${bench.url}/v1/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer sk-${who}` },
    body: JSON.stringify({ model, prompt: 'hello', ...more }),
  });
  const { headers, status } = response;
  const document = (await response.json()) as { error?: { message: string } };
  const limit = headers.get('x-ratelimit-limit-requests');
  const remaining = headers.get('x-ratelimit-remaining-requests');
  const rate = limit === null ? null : `${limit} ${remaining}`;
  return { status, message: document.error?.message ?? null, headers, rate };
}

const statuses = async (asked: readonly (readonly ['a' | 'b', string])[]): Promise<number[]> => {
  const seen: number[] = [];
  for (const [who, model] of asked) seen.push((await ask(who, model)).status);
  return seen;
};

async function accounts(): Promise<readonly string[]> {
  const document: unknown = await (await fetch(`${bench.adminUrl}/v1/limits`)).json();
  expect(limitsSchema.safeParse(document).error).toBeUndefined();
  return (document as { accounts: { account: string }[] }).accounts.map(({ account }) => account);
}

describe('limits of a model', () => {
  it('are for all tenants together, and for this model alone', async () => {
    await start(
      [aServedModel('chat', { limits: perMinute(2) }), aServedModel('code')],
      [team('a'), team('b')],
    );
    expect(
      await statuses([
        ['a', 'chat'],
        ['b', 'chat'],
      ]),
    ).toEqual([200, 200]);
    for (const who of ['a', 'b'] as const) {
      const refused = await ask(who, 'chat');
      expect(refused.status).toBe(429);
      expect(refused.message).toBe(
        'The limit of requests a minute of model chat for all tenants together is reached (requestsPerMinute in limits of the model).',
      );
      expect(refused.headers.get('x-should-retry')).toBe('true');
      expect(Number(refused.headers.get('retry-after-ms'))).toBeGreaterThan(1000);
    }
    expect(
      await statuses([
        ['a', 'code'],
        ['b', 'code'],
      ]),
    ).toEqual([200, 200]);
  });

  it('hold for whoever has no name', async () => {
    await start([aServedModel('chat', { limits: { ...NONE, concurrent: 1 } })], []);
    engine.behave('pause');
    const open = await fetch(`${bench.url}/v1/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'chat', prompt: 'hello', stream: true }),
    });
    expect(open.status).toBe(200);
    engine.behave('normal');
    const refused = await ask('a', 'chat');
    expect([refused.status, refused.message]).toEqual([
      429,
      'The limit of requests at the same time of model chat for all tenants together is reached (concurrent in limits of the model).',
    ]);
    engine.finish();
    await open.text();
    expect((await ask('a', 'chat')).status).toBe(200);
  });

  it('are charged by every name of the model, and by whoever falls back to it', async () => {
    const models = [
      aServedModel('big', { fallback: 'small', limits: perMinute(1) }),
      aServedModel('small', { aliases: ['mini'], adapters: ['legal'], limits: perMinute(4) }),
    ];
    await start(models, [team('a')], ['big']);
    expect(
      await statuses([
        ['a', 'small'],
        ['a', 'mini'],
        ['a', 'legal'],
        ['a', 'big'],
      ]),
    ).toEqual([200, 200, 200, 200]);
    // Nobody was sent to big, so its account is at rest although its limit is 1.
    expect(await accounts()).toEqual(['*/small']);
    for (const name of ['big', 'legal', 'mini', 'small']) {
      const { status, message } = await ask('a', name);
      expect(status).toBe(429);
      expect(message).toContain('of model small for all tenants together');
    }
  });

  it('that a request can never keep to say so, and whose they are', async () => {
    await start(
      [aServedModel('chat', { limits: { ...NONE, outputTokensPerMinute: 100 } })],
      [team('a', { modelLimits: { chat: { ...NONE, inputTokensPerMinute: 50 } } })],
    );
    const { status, message } = await ask('a', 'chat', { max_tokens: 200 });
    expect([status, message]).toEqual([
      400,
      'The request is larger than what model chat for all tenants together may take in a minute; send a shorter one, or ask for fewer tokens.',
    ]);
    const long = await ask('a', 'chat', { prompt: 'hello '.repeat(2000), max_tokens: 1 });
    expect(long.status).toBe(400);
    expect(long.message).toContain('than what tenant team-a on model chat may take');
    expect((await ask('a', 'chat', { max_tokens: 50 })).status).toBe(200);
  });

  it('of 0 let nobody in, and tell nobody to come back', async () => {
    await start(
      [
        aServedModel('never', { limits: perMinute(0) }),
        aServedModel('full', { limits: { ...NONE, concurrent: 0 } }),
      ],
      [team('a')],
    );
    for (const model of ['never', 'full']) {
      const { status, headers } = await ask('a', model);
      expect([status, headers.get('retry-after'), headers.get('x-should-retry')]).toEqual([
        429,
        null,
        'false',
      ]);
    }
    expect(engine.seen).toEqual([]);
  });

  it('are shown by the admin face beside those of tenants', async () => {
    const modelLimits = { chat: perMinute(5) };
    await start(
      [aServedModel('chat', { limits: perMinute(7) }), aServedModel('free', { limits: NONE })],
      [team('a', { limits: perMinute(9), modelLimits })],
    );
    await ask('a', 'chat');
    expect(await accounts()).toEqual(['team-a', 'team-a/chat', '*/chat']);
    const document: unknown = await (await fetch(`${bench.adminUrl}/v1/limits`)).json();
    expect(document).toMatchObject({ models: [{ model: 'chat', limits: perMinute(7) }] });
  });
});

describe('limits of a tenant on one model', () => {
  it('are its own, on this model alone, beside those on all together', async () => {
    await start(
      [aServedModel('chat'), aServedModel('code')],
      [team('a', { limits: perMinute(3), modelLimits: { chat: perMinute(1) } }), team('b')],
    );
    expect((await ask('a', 'chat')).status).toBe(200);
    const refused = await ask('a', 'chat');
    expect([refused.status, refused.message]).toEqual([
      429,
      'The limit of requests a minute of tenant team-a on model chat is reached (requestsPerMinute in modelLimits.chat).',
    ]);
    expect(
      await statuses([
        ['b', 'chat'],
        ['a', 'code'],
        ['a', 'code'],
      ]),
    ).toEqual([200, 200, 200]);
    expect((await ask('a', 'code')).message).toBe(
      'The limit of requests a minute of tenant team-a is reached (requestsPerMinute in limits).',
    );
  });

  it('say when the slowest of all accounts lets it in again', async () => {
    await start(
      [aServedModel('chat', { limits: perMinute(12) })],
      [team('a', { modelLimits: { chat: perMinute(6) } }), team('b')],
    );
    for (let request = 0; request < 6; request += 1) {
      expect(
        await statuses([
          ['a', 'chat'],
          ['b', 'chat'],
        ]),
      ).toEqual([200, 200]);
    }
    const retryMs = async (who: 'a' | 'b'): Promise<number> =>
      Number((await ask(who, 'chat')).headers.get('retry-after-ms'));
    // One more of the model's 12 comes every 5 s, one of the tenant's own 6 every 10 s.
    expect(await retryMs('b')).toBeLessThanOrEqual(5_000);
    expect(await retryMs('a')).toBeGreaterThan(5_000);
    expect(await retryMs('a')).toBeLessThanOrEqual(10_000);
  });

  it('that refuse take nothing from the other accounts', async () => {
    await start(
      [aServedModel('chat', { limits: perMinute(100) }), aServedModel('code')],
      [team('a', { limits: perMinute(50), modelLimits: { chat: perMinute(1) } }), team('b')],
    );
    await ask('a', 'chat');
    for (let request = 0; request < 5; request += 1) await ask('a', 'chat');
    expect((await ask('a', 'code')).rate).toBe('50 48');
    expect((await ask('b', 'chat')).rate).toBe('100 98');
  });

  it('of a model named like what every object has are none', async () => {
    await start([aServedModel('constructor')], [team('a', { modelLimits: {} })]);
    expect((await ask('a', 'constructor')).status).toBe(200);
    expect(await accounts()).toEqual([]);
  });
});

describe('x-ratelimit headers', () => {
  it('tell what has least left, and of others no more than the model has left', async () => {
    await start(
      [aServedModel('chat', { limits: perMinute(5) }), aServedModel('code')],
      [
        team('a', { limits: perMinute(100), modelLimits: { code: perMinute(50) } }),
        team('b', { limits: perMinute(3) }),
      ],
    );
    expect((await ask('a', 'chat')).rate).toBe('5 4');
    expect((await ask('a', 'code')).rate).toBe('50 49');
    // Of its own it has 2 left, of the model 3.
    expect((await ask('b', 'chat')).rate).toBe('3 2');
    expect((await ask('a', 'chat')).rate).toBe('5 2');
    // Where the model has no limit, nothing of what others do is seen.
    expect((await ask('b', 'code')).rate).toBe('3 1');
  });

  it('are there for whoever has no name where the model has limits, and not elsewhere', async () => {
    await start([aServedModel('chat', { limits: perMinute(5) }), aServedModel('code')], []);
    expect((await ask('a', 'chat')).rate).toBe('5 4');
    expect((await ask('a', 'code')).rate).toBeNull();
  });
});
