/**
 * Which of several engines a request goes to, and whose repeats have to stand back.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createPrefixAffinity } from '../src/prefix-affinity.js';
import { createTenantTraffic } from '../src/tenant-traffic.js';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { until } from './support/until.js';

const MODELS = [aServedModel('chat')];

let engines: FakeEngine[];
let bench: Bench;
beforeEach(async () => {
  engines = [await startFakeEngine(), await startFakeEngine()];
  bench = await startBench(MODELS);
  bench.directory.set('chat', engines);
});
afterEach(async () => {
  await bench.close();
  for (const engine of engines) await engine.close();
});

const ask = (prompt: string, init: RequestInit = {}, extra: object = {}): Promise<Response> =>
  fetch(`${bench.url}/v1/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'chat', prompt, ...extra }),
    ...init,
  });

async function waiting(): Promise<number> {
  const queues = await fetch(`${bench.adminUrl}/v1/queues`);
  return ((await queues.json()) as { waiting: number }).waiting;
}

/** Instances that answered, one request after the other. */
async function instancesOf(prompts: readonly string[]): Promise<(string | null)[]> {
  const instances: (string | null)[] = [];
  for (const prompt of prompts) {
    const response = await ask(prompt);
    await response.text();
    instances.push(response.headers.get('x-aim-instance'));
  }
  return instances;
}

describe('prompts that begin alike', () => {
  const system = 'You are a careful assistant. '.repeat(20);

  /** Streams of other prompts that stay open, so that their instances are fuller. */
  async function occupy(count: number): Promise<Response[]> {
    const open: Response[] = [];
    for (const engine of engines) engine.behave('pause');
    for (let index = 0; index < count; index += 1)
      open.push(await ask(`${index}`, {}, { stream: true }));
    for (const engine of engines) engine.behave('normal');
    return open;
  }

  async function release(open: readonly Response[]): Promise<void> {
    for (const engine of engines) engine.finish();
    for (const response of open) await response.text();
  }

  it('go to the instance that answered the first of them, others to each in turn', async () => {
    const open = await occupy(1);
    expect(await instancesOf([system])).toEqual(['chat-1']);
    await release(open);
    expect(await instancesOf([`${system}a`, `${system}b`])).toEqual(['chat-1', 'chat-1']);
    // Where no beginning is known, engines that are equally empty take turns.
    expect(new Set(await instancesOf(['other', `x${system}`]))).toEqual(
      new Set(['chat-0', 'chat-1']),
    );
  });

  it('go elsewhere while that one is clearly fuller', async () => {
    const first = await occupy(1);
    expect(await instancesOf([system])).toEqual(['chat-1']);
    await release(first);
    // Three on each; then the first instance is emptied, and the other one is fuller by three quarters.
    const open = await occupy(6);
    const [, onSecond] = [0, 1].map((index) =>
      open.filter(({ headers }) => headers.get('x-aim-instance') === `chat-${index}`),
    );
    expect(onSecond).toHaveLength(3);
    engines[0]?.finish();
    for (const response of open) if (!onSecond?.includes(response)) await response.text();
    expect(await instancesOf([`${system}a`])).toEqual(['chat-0']);
    await release(onSecond ?? []);
  });

  it('go elsewhere when that one has gone', async () => {
    const [home] = await instancesOf([system]);
    const index = Number(home?.at(-1));
    await engines[index]?.close();
    const after = await instancesOf([`${system}a`, `${system}b`]);
    expect(new Set(after)).toEqual(new Set([`chat-${1 - index}`]));
  });

  it('are remembered by digests, of one model alone, and boundedly', () => {
    const affinity = createPrefixAffinity();
    const prompt = Buffer.from(system);
    affinity.note(affinity.digest('chat', prompt), 'a');
    expect(affinity.find(affinity.digest('chat', Buffer.from(`${system}more`)))).toBe('a');
    expect(affinity.find(affinity.digest('other', prompt))).toBeNull();
    expect(affinity.digest('chat', Buffer.from('short'))).toEqual([]);
    for (let index = 0; index < 11_000; index += 1) affinity.note([`${index}`], 'b');
    expect(affinity.size).toBe(10_000);
    expect(affinity.find(['999'])).toBeNull();
    expect(affinity.find(['10999'])).toBe('b');
  });
});

describe('repeats of a tenant', () => {
  it('beyond its share are refused while others wait, and not when nobody does', async () => {
    const retry = { 'x-stainless-retry-count': '1' };
    for (const engine of engines) engine.behave('pause');
    // Two engines with four places each, and one that waits.
    const open = await Promise.all(
      Array.from({ length: 8 }, (_, index) => ask(`${index}`, {}, { stream: true })),
    );
    const abort = new AbortController();
    const late = Array.from({ length: 20 }, (_, index) =>
      ask(`${index}`, { signal: abort.signal, ...(index === 0 ? {} : { headers: retry }) }).then(
        ({ status, headers }) => ({ status, after: Number(headers.get('retry-after-ms')) }),
        () => null,
      ),
    );
    const refused: unknown[] = [];
    for (const each of late) void each.then((result) => result !== null && refused.push(result));
    // Nine asked for the first time: 5 repeats always, and a fifth of 9.
    await until(async () => (await waiting()) + refused.length === 20);
    expect(refused).toHaveLength(12);
    for (const each of refused) expect(each).toMatchObject({ status: 429, after: 1000 });
    abort.abort();
    await Promise.all(late);
    for (const engine of engines) {
      engine.behave('normal');
      engine.finish();
    }
    for (const response of open) await response.text();
    await until(async () => (await waiting()) === 0);
    const idle = await ask('x', { headers: retry });
    expect(idle.status).toBe(200);
  });

  it('are counted for each tenant alone, and forgotten after a minute', () => {
    const traffic = createTenantTraffic({ maxOpenPerTenant: 1 });
    const repeats = (tenant: string, nowMs: number): number => {
      let count = 0;
      while (count < 100 && traffic.mayRepeat(tenant, nowMs)) count += 1;
      return count;
    };
    for (let request = 0; request < 50; request += 1) traffic.first('busy', 0);
    expect([repeats('busy', 0), repeats('busy', 1), repeats('quiet', 1)]).toEqual([15, 0, 5]);
    expect(repeats('busy', 61_000)).toBe(5);
  });
});
