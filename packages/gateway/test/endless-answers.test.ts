/**
 * Answers without an end, and peers of which one half has gone: each ends by a time, never with something that looks
 * whole, and nothing is left behind.
 */
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ChaosEngine, eventStream, startChaosEngine } from './support/chaos-proxy.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import {
  createCountingClock,
  type Held,
  readHeld,
  untilNothingIsLeft,
  type Watched,
} from './support/leftovers.js';
import { openRaw, type RawClient } from './support/raw-client.js';
import { until } from './support/until.js';

const TIMES = { standard: { firstByteMs: 500, idleMs: 500, totalMs: 1500 } };
const MODELS = [aServedModel('chat')];
const TOKEN = 'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n';
const MIB = 1024 * 1024;

let chaos: ChaosEngine;
let bench: Bench;
let watched: Watched;
let before: Held;
let client: RawClient | null;
beforeEach(async () => {
  client = null;
  const clock = createCountingClock();
  chaos = await startChaosEngine();
  bench = await startBench(MODELS, { clock, timeouts: TIMES, limits: { suspendMs: 1 } });
  bench.directory.set('chat', [chaos]);
  watched = { bench, clock, enginePort: chaos.address.port };
  before = await readHeld(watched);
});
afterEach(async () => {
  client?.socket.destroy();
  await untilNothingIsLeft(watched, before);
  // After a cancelled call undici opens one connection in advance and lets it go after 4 s.
  await until(() => chaos.sockets() <= 1);
  await bench.close();
  await chaos.close();
});

function ask(document: object = {}): RawClient {
  const body = JSON.stringify({ model: 'chat', prompt: 'hello', ...document });
  client = openRaw(
    bench.gateway.address.port,
    `POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  return client;
}

/** Writes pieces for ever, as fast as they are taken. */
function pour(socket: Socket, head: string, piece: Buffer): void {
  const chunk = Buffer.concat([
    Buffer.from(`${piece.length.toString(16)}\r\n`),
    piece,
    Buffer.from('\r\n'),
  ]);
  const more = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.write(`HTTP/1.1 200 OK\r\n${head}\r\ntransfer-encoding: chunked\r\n\r\n`);
  socket.on('drain', more);
  more();
}

const ENDS_WHOLE = /\r\n0\r\n\r\n$/;

describe('an answer without end', () => {
  it('of JSON: passed on in bounded memory, cut at the total time, and not as if it were whole', async () => {
    chaos.play((socket) =>
      pour(socket, 'content-type: application/json', Buffer.alloc(64_000, 97)),
    );
    const { external } = process.memoryUsage();
    const { heard, isClosed, socket } = ask();
    let bytes = 0;
    socket.removeAllListeners('data').on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    await until(isClosed);
    expect(bytes).toBeGreaterThan(MIB);
    expect(heard()).not.toMatch(ENDS_WHOLE);
    expect(process.memoryUsage().external - external).toBeLessThan(64 * MIB);
  });

  it('of JSON, a byte now and then: held back until the total time, then 504', async () => {
    chaos.play((socket) => {
      socket.write(
        'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n',
      );
      const drip = setInterval(() => socket.write('a'), 50);
      socket.on('close', () => clearInterval(drip));
    });
    const { heard, isClosed } = ask();
    await until(isClosed);
    expect(heard()).toMatch(/^HTTP\/1\.1 504 /);
    expect(heard()).toContain('"code":"upstream_timeout"');
  });

  it('of a stream, as fast as it is taken: an error event at the total time', async () => {
    chaos.play((socket) => pour(socket, 'content-type: text/event-stream', Buffer.from(TOKEN)));
    const { heard, isClosed } = ask({ stream: true });
    await until(isClosed);
    const text = heard();
    expect(text).toContain('"code":"upstream_timeout"');
    expect(text).not.toContain('[DONE]');
  });

  it('of a stream’s first event: nothing is kept of it beyond its bound', async () => {
    chaos.play((socket) =>
      pour(socket, 'content-type: text/event-stream', Buffer.from(`data: ${'x'.repeat(60_000)}`)),
    );
    const { external, heapUsed } = process.memoryUsage();
    const { isClosed, heard, socket } = ask({ stream: true });
    socket.removeAllListeners('data').resume();
    await until(isClosed);
    expect(heard()).not.toContain('[DONE]');
    const now = process.memoryUsage();
    expect(now.external + now.heapUsed - external - heapUsed).toBeLessThan(96 * MIB);
  });
});

describe('an engine of which one half has gone', () => {
  it('it says no more (FIN) in the middle of a stream: an error event', async () => {
    chaos.play({ bytes: eventStream([TOKEN], false), after: 'end' });
    const { heard, isClosed } = ask({ stream: true });
    await until(isClosed);
    expect(heard()).toContain('"content":"one"');
    expect(heard()).toContain('"code":"upstream_broken"');
    expect(heard()).not.toContain('[DONE]');
  });

  it('it says no more before its answer: 502', async () => {
    chaos.play((socket) => void socket.end());
    const { heard, isClosed } = ask();
    await until(isClosed);
    expect(heard()).toMatch(/^HTTP\/1\.1 502 /);
  });

  it.each([
    [
      'its machine does not answer any more, before the first byte',
      Buffer.alloc(0),
      /^HTTP\/1\.1 504 /,
    ],
    ['nor in the middle of a stream', eventStream([TOKEN], false), /"code":"upstream_timeout"/],
  ])('%s', async (_, bytes, pattern) => {
    chaos.play((socket) => {
      socket.write(bytes);
      // Nothing that comes is read any more, and nothing is said to it.
      socket.removeAllListeners('data');
      socket.pause();
      setTimeout(() => socket.destroy(), 1_800);
    });
    const { heard, isClosed } = ask({ stream: true });
    await until(isClosed);
    expect(heard()).toMatch(pattern);
    expect(heard()).not.toContain('[DONE]');
  });
});
