/**
 * Requests that are several sequences for the engine, and streams by other words: what is let in, reserved, counted and
 * written down of them.
 */
import { tenantName } from '@aim-gpu/core';
import { aTenant, createManualClock, createRecordingLogger } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AccessRecord } from '../src/access-log.js';
import { type ChaosEngine, startChaosEngine } from './support/chaos-proxy.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { until } from './support/until.js';

/** Their context is 4,096 tokens, their engine's memory 100,000. */
const MODELS = [aServedModel('m')];
const OUTPUT_TOKENS = 500;

let engine: ChaosEngine;
let bench: Bench;
let log: AccessRecord[];
let received: string[];
beforeEach(async () => {
  log = [];
  received = [];
  engine = await startChaosEngine();
  const limits = {
    requestsPerMinute: null,
    inputTokensPerMinute: null,
    outputTokensPerMinute: OUTPUT_TOKENS,
    concurrent: null,
  };
  bench = await startBench(MODELS, {
    tenants: [
      aTenant({ name: tenantName('free'), keys: [{ kind: 'env', name: 'FREE' }] }),
      aTenant({ name: tenantName('bound'), keys: [{ kind: 'env', name: 'BOUND' }], limits }),
    ],
    env: { FREE: 'free', BOUND: 'bound' },
    accessLog: (record) => void log.push(record),
  });
  bench.directory.set('m', [engine]);
});
afterEach(async () => {
  await bench.close();
  await engine.close();
});

/** The engine says that of each request. */
function says(usage: object, type = 'application/json'): void {
  const document = JSON.stringify({ choices: [], usage });
  const body = type === 'application/json' ? document : `${EVENT}data: ${document}\n\n${DONE}`;
  engine.play((socket, _, request) => {
    received.push(request.slice(request.indexOf('\r\n\r\n') + 4));
    socket.write(
      `HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
  });
}
const EVENT = 'data: {"choices":[{"text":"a"}]}\n\n';
const DONE = 'data: [DONE]\n\n';

const ask = (path: string, body: object, tenant = 'free'): Promise<Response> =>
  fetch(`${bench.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tenant}` },
    body: JSON.stringify({ model: 'm', ...body }),
  });

async function recordOf(path: string, body: object): Promise<AccessRecord | undefined> {
  const response = await ask(path, body);
  expect(response.status).toBe(200);
  await response.text();
  await until(() => log.length === 1);
  return log[0];
}

describe('a batch', () => {
  it('of many inputs is let in although all of them would not fit at once', async () => {
    says({ prompt_tokens: 120_000, total_tokens: 120_000 });
    const input = Array(300).fill('word '.repeat(400));
    expect(await recordOf('/v1/embeddings', { input })).toMatchObject({ promptTokens: 120_000 });
  });

  it.each([
    ['/v1/embeddings', { input: Array(100).fill('a') }, 10_000, 0],
    ['/v1/completions', { prompt: Array(5).fill('a'), max_tokens: 4_000 }, 5, 20_000],
    ['/v1/completions', { prompt: [[1, 2], [3]], n: 2, max_tokens: 4_000 }, 3, 16_000],
    ['/v1/chat/completions', { messages: [], n: 3 }, 5, 12_000],
  ])('is counted in whole: %s %j', async (path, body, promptTokens, outputTokens) => {
    says({ prompt_tokens: promptTokens, completion_tokens: outputTokens });
    expect(await recordOf(path, body)).toMatchObject({ promptTokens, outputTokens });
  });

  it.each([
    ['/v1/embeddings', { input: ['a', 'b'] }, 2 * 4096],
    ['/v1/completions', { prompt: 'a' }, 4096],
    ['/v1/completions', { prompt: [1, 2, 3] }, 4096],
    ['/v1/chat/completions', { messages: [{ content: 'a' }, { content: 'b' }] }, 4096],
  ])('is counted up to what its sequences can have: %s %j', async (path, body, most) => {
    says({ prompt_tokens: 1e9, completion_tokens: 1e9 });
    expect(await recordOf(path, body)).toMatchObject({ promptTokens: most, outputTokens: most });
  });

  it.each([
    [{ prompt: 'a', max_tokens: 500 }, 200],
    [{ prompt: ['a', 'b', 'c', 'd', 'e'], max_tokens: 100 }, 200],
    [{ prompt: ['a', 'b', 'c', 'd', 'e'], max_tokens: 101 }, 400],
    [{ prompt: ['a', 'b'], n: 3, max_tokens: 84 }, 400],
  ])('reserves the answers to all its prompts: %j', async (body, status) => {
    says({ prompt_tokens: 1, completion_tokens: 1 });
    expect((await ask('/v1/completions', body, 'bound')).status).toBe(status);
  });
});

describe('the estimate of a prompt', () => {
  // 480,000 bytes are 120,000 tokens of four bytes, and 60,000 of eight.
  it('leaves one that may fit to the engine', async () => {
    says({ prompt_tokens: 4_000 });
    expect((await ask('/v1/completions', { prompt: 'a word '.repeat(68_500) })).status).toBe(200);
  });

  it('refuses ids that cannot fit', async () => {
    const response = await ask('/v1/completions', { prompt: Array(100_001).fill(7) });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'request_too_large' } });
  });
});

describe('a stream', () => {
  it.each(['true', 'on', 1])(
    'that is asked for by %j is asked for usage, which is taken out',
    async (stream) => {
      says({ prompt_tokens: 3, completion_tokens: 2 }, 'text/event-stream');
      const response = await ask('/v1/completions', { prompt: 'a', stream });
      expect(await response.text()).toBe(EVENT + DONE);
      expect(received[0]).toContain('"stream_options":{"include_usage":true}');
      await until(() => log.length === 1);
      expect(log[0]).toMatchObject({ stream: true, promptTokens: 3, outputTokens: 2 });
    },
  );
});

it('what a request was is written nowhere with its query', async () => {
  await bench.close();
  const clock = createManualClock();
  const logger = createRecordingLogger();
  const never = { firstByteMs: 1e9, idleMs: 1e9, totalMs: 1e9 };
  bench = await startBench(MODELS, { clock, logger, timeouts: { batch: never } });
  bench.directory.set('m', [engine], 'ready', { maxNumSeqs: 1 });
  const path = '/v1/completions?api_key=sk-hidden';
  const headers = { 'x-aim-band': 'batch' };
  const body = JSON.stringify({ model: 'm', prompt: 'a' });
  const asked = [1, 2].map(() =>
    fetch(`${bench.url}${path}`, { method: 'POST', headers, body }).catch(() => undefined),
  );
  await until(() => engine.requests() === 1);
  const wasTold = (): boolean => JSON.stringify(logger.records).includes('permit-leaked');
  await until(async () => {
    await clock.advance(60_000);
    return wasTold();
  });
  expect(JSON.stringify(logger.records)).toContain('"origin":"/v1/completions"');
  expect(JSON.stringify(logger.records)).not.toContain('sk-hidden');
  await engine.close();
  engine = await startChaosEngine();
  await bench.close();
  await Promise.all(asked);
});
