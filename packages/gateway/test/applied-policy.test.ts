/**
 * Bounds that are changed while the gateway runs: bodies, open requests, holds and time-outs, each from the next request
 * on.
 */
import { DEFAULT_GATEWAY_POLICY, type GatewayPolicy, mib } from '@aim-gpu/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeEngine, startFakeEngine } from './support/fake-engine.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';

let engine: FakeEngine;
let bench: Bench;
beforeEach(async () => {
  engine = await startFakeEngine();
  bench = await startBench([aServedModel('chat'), aServedModel('away')]);
  bench.directory.set('chat', [engine]);
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

const apply = (changes: Partial<GatewayPolicy>): void =>
  bench.gateway.applyPolicy({ ...DEFAULT_GATEWAY_POLICY, ...changes });

const ask = (more: object = {}): Promise<Response> =>
  fetch(`${bench.url}/v1/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'chat', prompt: 'hello', ...more }),
  });

async function statusOf(asked: Promise<Response>): Promise<number> {
  const response = await asked;
  await response.text();
  return response.status;
}

describe('a bound that is applied holds from the next request on', () => {
  it('the largest body', async () => {
    const large = { prompt: 'x'.repeat(2 * mib(1)), max_tokens: 1 };
    apply({ maxBodyBytes: mib(1) });
    expect(await statusOf(ask(large))).toBe(413);
    apply({ maxBodyBytes: mib(3) });
    expect(await statusOf(ask(large))).not.toBe(413);
  });

  it('how many requests of one tenant are open', async () => {
    engine.behave('pause');
    const open = await ask({ stream: true });
    engine.behave('normal');
    apply({ openPerTenant: 1 });
    expect(await statusOf(ask())).toBe(429);
    apply({ openPerTenant: 2 });
    expect(await statusOf(ask())).toBe(200);
    engine.finish();
    await open.text();
  });

  it('how long a model is waited for', async () => {
    apply({ holdMs: 20 });
    expect(await statusOf(ask({ model: 'away' }))).toBe(503);
  });

  it('how long an engine may be silent, for requests that begin then', async () => {
    engine.behave('pause');
    const before = await ask({ stream: true });
    const short = { firstByteMs: 60_000, idleMs: 60, totalMs: 60_000 };
    apply({ timeouts: { ...DEFAULT_GATEWAY_POLICY.timeouts, standard: short } });
    expect(await (await ask({ stream: true })).text()).toContain('upstream_timeout');
    // The one that began before has been silent for longer, and goes on.
    engine.finish();
    expect(await before.text()).toMatch(/\[DONE\]\n\n$/);
  });
});
