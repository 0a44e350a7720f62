import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { driveLoad, type RequestTiming } from '@aim-gpu/backends';
import { AimError, createSequentialIds, systemClock } from '@aim-gpu/core';
import { afterEach, describe, expect, it } from 'vitest';
import { createEventStreamReader } from '../../src/load/event-stream.js';
import { summarizeLoad } from '../../src/load/load-summary.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener) {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

const load = {
  model: 'm',
  concurrency: 2,
  promptTokens: 100,
  outputTokens: 3,
  clock: systemClock,
  ids: createSequentialIds('run-'),
};
const chunk = (content: string): string =>
  `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`;

describe('server-sent events', () => {
  it.each([
    ['whole', ['data: a\n\ndata: b\n\n'], ['a', 'b']],
    ['in pieces', ['da', 'ta: a\n', '\ndata', ': b\n\n'], ['a', 'b']],
    ['Windows line ends', ['data: a\r\n\r\n'], ['a']],
    ['several lines', ['data: a\ndata: b\n\n'], ['a\nb']],
    ['comments and other fields', [': hi\n\nevent: x\nid: 1\ndata:a\n\n'], ['a']],
    ['unfinished', ['data: a'], []],
  ])('%s', (_, pieces, expected) => {
    const reader = createEventStreamReader();
    expect(pieces.flatMap((piece) => reader.push(piece))).toEqual(expected);
  });
});

describe('a closed loop', () => {
  it('keeps its clients busy, sends different prompts and counts what it got', async () => {
    let now = 0;
    let most = 0;
    const prompts: string[] = [];
    const endpoint = await serve((request, response) => {
      now += 1;
      most = Math.max(most, now);
      let body = '';
      request.on('data', (data) => {
        body += String(data);
      });
      request.on('end', () => {
        prompts.push(
          (JSON.parse(body) as { messages: { content: string }[] }).messages[0]?.content ?? '',
        );
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(
          `data: ${JSON.stringify({ choices: [{ delta: { role: 'assistant', content: '' } }] })}\n\n`,
        );
        response.write(chunk('a'));
        setTimeout(() => {
          response.write(chunk(' b') + chunk(' c'));
          now -= 1;
          response.end(
            `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 100, completion_tokens: 3 } })}\n\ndata: [DONE]\n\n`,
          );
        }, 30);
      });
    });
    const { timings, summary } = await driveLoad({
      ...load,
      endpoint,
      requests: 6,
      headers: { authorization: 'Bearer x' },
    });
    expect(timings).toHaveLength(6);
    expect(most).toBe(2);
    expect(new Set(prompts).size).toBe(6);
    for (const timing of timings) {
      expect(timing).toMatchObject({ error: null, promptTokens: 100, outputTokens: 3 });
      expect(timing.tpotMs).toBeGreaterThan(0);
      expect(timing.ttftMs).toBeLessThan(timing.e2eMs);
    }
    expect(summary).toMatchObject({ completed: 6, failed: 0 });
  });

  it('ends after a time, with what was under way', async () => {
    const endpoint = await serve((request, response) => {
      request.resume();
      setTimeout(() => response.end(chunk('a')), 20);
    });
    const { timings } = await driveLoad({ ...load, endpoint, durationMs: 100 });
    expect(timings.length).toBeGreaterThanOrEqual(2);
    expect(timings.every(({ error, tpotMs }) => error === null && tpotMs === null)).toBe(true);
  });

  it('reports refusals and broken connections as timings', async () => {
    let count = 0;
    const endpoint = await serve((request, response) => {
      count += 1;
      if (count === 1) response.writeHead(503).end('busy');
      else request.socket.destroy();
    });
    const { timings, summary } = await driveLoad({
      ...load,
      concurrency: 1,
      endpoint,
      requests: 2,
    });
    expect(timings.map(({ error }) => error?.status)).toEqual([503, null]);
    expect(summary).toMatchObject({
      completed: 0,
      failed: 2,
      ttftMs: null,
      outputTokensPerSecond: 0,
    });
  });

  it('stops when told to', async () => {
    const endpoint = await serve((request) => void request.resume());
    const controller = new AbortController();
    const running = driveLoad({ ...load, endpoint, requests: 5, signal: controller.signal });
    setTimeout(() => controller.abort(), 30);
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
  });

  it.each([
    ['no end', {}],
    ['no clients', { requests: 1, concurrency: 0 }],
    ['half a client', { requests: 1, concurrency: 1.5 }],
  ])('refuses a load with %s', async (_, options) => {
    const endpoint = { host: '127.0.0.1', port: 1 };
    await expect(driveLoad({ ...load, endpoint, ...options })).rejects.toSatisfy((error) =>
      AimError.is(error, 'ERR_LOAD_INVALID'),
    );
  });
});

describe('a summary', () => {
  const timing = (ttftMs: number, overrides: Partial<RequestTiming> = {}): RequestTiming => ({
    startMs: 0,
    ttftMs,
    tpotMs: 10,
    e2eMs: 1000,
    counted: true,
    promptTokens: 10,
    outputTokens: 50,
    error: null,
    ...overrides,
  });

  it('takes quantiles and rates over what completed', () => {
    const timings = [
      ...Array.from({ length: 100 }, (_, index) => timing(index + 1)),
      timing(9999, { error: { status: 500, why: 'status', message: 'x' } }),
    ];
    expect(summarizeLoad(timings)).toEqual({
      completed: 100,
      failed: 1,
      ttftMs: { mean: 50.5, p50: 50, p90: 90, p99: 99 },
      tpotMs: { mean: 10, p50: 10, p90: 10, p99: 10 },
      e2eMs: { mean: 1000, p50: 1000, p90: 1000, p99: 1000 },
      outputTokensPerSecond: 5000,
    });
  });

  it('of nothing is nothing', () => {
    expect(summarizeLoad([])).toMatchObject({
      completed: 0,
      ttftMs: null,
      outputTokensPerSecond: 0,
    });
  });
});
