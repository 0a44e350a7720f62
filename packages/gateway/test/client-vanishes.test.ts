/**
 * A client that vanishes, in every state its request can be in and in every way a connection can end: the engine is
 * told, and nothing is left behind.
 */
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ChaosEngine,
  eventStream,
  startChaosEngine,
  wholeAnswer,
} from './support/chaos-proxy.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { createHastyClock } from './support/hasty-clock.js';
import {
  createCountingClock,
  type Held,
  readAdmin,
  readHeld,
  untilNothingIsLeft,
  type Watched,
} from './support/leftovers.js';
import { openRaw, type RawClient, statusesOf } from './support/raw-client.js';
import { until } from './support/until.js';

const MODELS = [aServedModel('chat'), aServedModel('away')];
const WHOLE = wholeAnswer({ choices: [{ message: { role: 'assistant', content: 'hi' } }] });
const TOKEN = 'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n';
/** More than the gateway holds back of an answer in one piece, and more than the kernel buffers for its client. */
const MUCH = 32 * 1024 * 1024;
const MAX_SEQS = 4;
/** How often the gateway looks for requests that are late; the look after the last request is its last. */
const SWEEP_MS = 1_000;

let chaos: ChaosEngine;
let bench: Bench;
let watched: Watched;
let before: Held;
let clients: RawClient[];
beforeEach(async () => {
  clients = [];
  const clock = createCountingClock(createHastyClock(SWEEP_MS));
  chaos = await startChaosEngine();
  bench = await startBench(MODELS, { clock, limits: { suspendMs: 1_500 } });
  bench.directory.set('chat', [chaos]);
  watched = { bench, clock, enginePort: chaos.address.port };
  before = await readHeld(watched);
});
afterEach(async () => {
  for (const { socket } of clients) socket.destroy();
  await bench.close();
  await chaos.close();
});

function open(bytes: string): RawClient {
  const client = openRaw(bench.gateway.address.port, bytes);
  clients.push(client);
  return client;
}

function post(document: object): string {
  const body = JSON.stringify({ prompt: 'hello', ...document });
  return `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

async function statesOf(): Promise<readonly unknown[]> {
  const { requests } = await readAdmin(bench, '/v1/requests');
  return (requests as { state: string }[]).map(({ state }) => state);
}

const ASK = post({ model: 'chat' });
const ASK_STREAM = post({ model: 'chat', stream: true });
const heads = (size: number): Buffer =>
  Buffer.from(
    `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${size}\r\n\r\n`,
  );

/** Brings a client into a state; the first one is the one that vanishes. */
type Reach = () => Promise<RawClient>;

const STATES: readonly (readonly [name: string, reach: Reach])[] = [
  [
    'connected, without a word',
    async () => {
      const client = open('');
      await until(() => client.socket.readyState === 'open');
      return client;
    },
  ],
  [
    'in the middle of its headers',
    async () => open('POST /v1/completions HTTP/1.1\r\nhost: x\r\n'),
  ],
  ['in the middle of its body', async () => open(ASK.slice(0, -5))],
  ['waiting for a model that is away', async () => open(post({ model: 'away' }))],
  [
    'waiting in the queue',
    async () => {
      for (let index = 0; index < MAX_SEQS; index += 1) open(ASK_STREAM);
      await until(() => chaos.requests() === MAX_SEQS);
      const client = open(ASK);
      await until(async () => (await statesOf()).includes('waiting'));
      return client;
    },
  ],
  [
    'waiting for a second try',
    async () => {
      chaos.play({
        bytes: Buffer.from('HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n'),
        after: 'keep',
      });
      const client = open(ASK);
      await until(() => chaos.requests() === 1);
      await until(async () => (await statesOf()).includes('waiting'));
      return client;
    },
  ],
  [
    'sent, the engine silent',
    async () => {
      const client = open(ASK);
      await until(() => chaos.requests() === 1);
      return client;
    },
  ],
  [
    'sent, the engine at its headers',
    async () => {
      chaos.play({ bytes: heads(100), after: 'stall' });
      const client = open(ASK);
      await until(() => chaos.requests() === 1);
      return client;
    },
  ],
  [
    'half of its JSON answer held back',
    async () => {
      chaos.play({ bytes: WHOLE.subarray(0, WHOLE.length - 10), after: 'stall' });
      const client = open(ASK);
      await until(() => chaos.requests() === 1);
      return client;
    },
  ],
  [
    'in the middle of a long JSON answer',
    async () => {
      chaos.play(
        (socket) => void socket.write(Buffer.concat([heads(MUCH), Buffer.alloc(MUCH / 2)])),
      );
      const client = open(ASK);
      await until(() => client.heard().length > 100_000);
      return client;
    },
  ],
  [
    'in the middle of a stream',
    async () => {
      chaos.play({ bytes: eventStream([TOKEN], false), after: 'stall' });
      const client = open(ASK_STREAM);
      await until(() => client.heard().includes('one'));
      return client;
    },
  ],
  [
    'not reading its stream',
    async () => {
      chaos.play((socket) => pour(socket));
      const client = open(ASK_STREAM);
      client.socket.pause();
      // The engine has stopped: everything between the two is full.
      let seen = -1;
      await until(async () => {
        const was = seen;
        seen = Math.max(...chaos.written());
        await new Promise((resolve) => setTimeout(resolve, 100));
        return seen > 1_000_000 && seen === was;
      });
      return client;
    },
  ],
  [
    'answered, its connection kept',
    async () => {
      chaos.play({ bytes: WHOLE, after: 'keep' });
      const client = open(ASK);
      await until(() => statesOf200(client) === 1);
      return client;
    },
  ],
  [
    'answered, its next request half sent',
    async () => {
      chaos.play({ bytes: WHOLE, after: 'keep' });
      const client = open(ASK + ASK.slice(0, -5));
      await until(() => statesOf200(client) === 1);
      return client;
    },
  ],
];

const statesOf200 = (client: RawClient): number =>
  statusesOf(client.heard()).filter((status) => status === 200).length;

/** An endless stream, as fast as it is taken. */
function pour(socket: Socket): void {
  const event = Buffer.from(
    `data: {"choices":[{"delta":{"content":"${'x'.repeat(60_000)}"}}]}\n\n`,
  );
  const chunk = Buffer.concat([
    Buffer.from(`${event.length.toString(16)}\r\n`),
    event,
    Buffer.from('\r\n'),
  ]);
  const more = (): void => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.write(
    'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n',
  );
  socket.on('drain', more);
  more();
}

const WAYS: Readonly<Record<string, (socket: Socket) => void>> = {
  'with a FIN': (socket) => socket.destroy(),
  'with a reset': (socket) => void socket.resetAndDestroy(),
  'closing its half only': (socket) => void socket.end(),
};

describe.each(Object.keys(WAYS))('a client that vanishes %s', (way) => {
  it.each(STATES)('%s', async (name, reach) => {
    const client = await reach();
    WAYS[way]?.(client.socket);
    await until(() => client.isClosed() || way === 'closing its half only');
    // Its own place first: the others in the queue's case are still there.
    await until(async () => !(await statesOf()).includes('waiting'));
    for (const { socket } of clients) socket.destroy();
    // One timer serves all queues; it fires when the last one who waited would have been refused.
    const timers = before.timers + (name === 'waiting in the queue' ? 1 : 0);
    await untilNothingIsLeft(watched, { ...before, timers });
    chaos.play({ bytes: WHOLE, after: 'keep' });
    const next = open(ASK);
    await until(() => statusesOf(next.heard()).length === 1 || next.isClosed());
    expect(statusesOf(next.heard())).toEqual([200]);
  });
});

it('a hundred clients at once, some waiting, some served: no connection to the engine is left either', async () => {
  const all = { bench: watched.bench, clock: watched.clock };
  const atFirst = await readHeld(all);
  chaos.play({ bytes: eventStream([TOKEN], false), after: 'stall' });
  for (let index = 0; index < 100; index += 1) open(index % 2 === 0 ? ASK : ASK_STREAM);
  await until(async () => (await statesOf()).length === 100);
  for (const [index, { socket }] of clients.entries()) {
    if (index % 3 === 0) socket.resetAndDestroy();
    else socket.destroy();
  }
  await untilNothingIsLeft(all, { ...atFirst, timers: atFirst.timers + 1 });
  expect(chaos.sockets()).toBe(0);
});
