/** Large bodies at engines: they arrive as they are, also on a second connection, and nothing of them is kept. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '@aim-gpu/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createUpstreams, type UpstreamReceiver, type Upstreams } from '../src/upstream.js';
import { until } from './support/until.js';

const MIB = 1024 * 1024;
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

let server: Server;
let upstreams: Upstreams;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
/** Lengths as announced, and digests of what has come. */
let received: (readonly [string | undefined, string])[];
beforeEach(async () => {
  received = [];
  upstreams = createUpstreams({ clock: systemClock });
  server = createServer((request, response) => {
    const hash = createHash('sha1');
    request.on('data', (chunk: Buffer) => hash.update(chunk));
    request.on('end', () => {
      received.push([request.headers['content-length'], hash.digest('hex')]);
      answer(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  await upstreams.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** What a receiver was told. */
function send(body: Buffer): string[] {
  const told: string[] = [];
  const receiver: UpstreamReceiver = {
    began: (status) => void told.push(String(status)),
    data: (chunk) => told.push(chunk.toString()) > 0,
    ended: () => void told.push('ended'),
    failed: ({ kind }) => void told.push(kind),
  };
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const address = { host: '127.0.0.1', port };
  upstreams.send(address, { method: 'POST', path: '/', headers: ['x-a', 'b'], body }, receiver);
  return told;
}

const digestOf = (bytes: Buffer): string => createHash('sha1').update(bytes).digest('hex');

describe('a body at an engine', () => {
  it.each([10, 16 * 1024, 16 * 1024 + 1, 3 * MIB])(
    'of %i bytes arrives with its length',
    async (size) => {
      answer = (_, response) => response.end('yes');
      const body = Buffer.alloc(size, 'abc');
      const told = send(body);
      await until(() => told.includes('ended'));
      expect(told).toEqual(['200', 'yes', 'ended']);
      expect(received).toEqual([[String(size), digestOf(body)]]);
    },
  );

  it('is sent once more when a kept connection turns out to be closed', async () => {
    answer = (_, response) => response.end('yes');
    const first = send(Buffer.from('{}'));
    await until(() => first.includes('ended'));
    let closed = 0;
    answer = (request, response) => {
      if (closed === 0) request.socket.destroy();
      else response.end('again');
      closed += 1;
    };
    const body = Buffer.alloc(MIB, 'x');
    const second = send(body);
    await until(() => second.length > 0 && second.at(-1) !== 'again');
    expect(second).toEqual(['200', 'again', 'ended']);
    expect(received.slice(1)).toEqual(Array(2).fill([String(MIB), digestOf(body)]));
  });

  it('is let go of while its answer is still coming', async () => {
    answer = (_, response) => void response.write('begun');
    collect();
    const before = process.memoryUsage().arrayBuffers;
    const all = Array.from({ length: 12 }, () => send(Buffer.alloc(4 * MIB, 'x')));
    await until(() => all.every((told) => told.includes('begun')));
    await until(() => {
      collect();
      return process.memoryUsage().arrayBuffers - before < 4 * MIB;
    });
    expect(all.every((told) => !told.includes('ended'))).toBe(true);
  });
});
