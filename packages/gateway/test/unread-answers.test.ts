/**
 * Clients that ask and do not read: the engine has long ended, and the answer is watched until its connection closes.
 * Their tenant's places come back, and nobody waits for them.
 */
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ChaosEngine,
  eventStream,
  startChaosEngine,
  wholeAnswer,
} from './support/chaos-proxy.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';
import { readAdmin } from './support/leftovers.js';
import { openRaw, statusesOf } from './support/raw-client.js';
import { until } from './support/until.js';

const TIMES = { standard: { firstByteMs: 5_000, idleMs: 400, totalMs: 5_000 } };
/** More than what the kernel takes between the gateway and a client that does not read. */
const MAX_OPEN = 40;
/** Just below what the gateway holds of an answer in one piece. */
const LONG_BYTES = 250_000;
const LONG = wholeAnswer({ choices: [], pad: 'x'.repeat(LONG_BYTES) });

let engine: ChaosEngine;
let bench: Bench;
let sockets: Socket[];
beforeEach(async () => {
  sockets = [];
  engine = await startChaosEngine();
  engine.play({ bytes: LONG, after: 'keep' });
  await start(TIMES);
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await bench.close();
  await engine.close();
});

async function start(timeouts: object): Promise<void> {
  bench = await startBench([aServedModel('chat')], {
    timeouts,
    limits: { maxOpenPerTenant: MAX_OPEN },
  });
  bench.directory.set('chat', [engine]);
}

function post(model = 'chat'): string {
  const body = JSON.stringify({ model, prompt: 'hello' });
  return `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

/** A connection whose client does not read; `cut` waits until there is nothing of it at the gateway, and hears its end. */
function deaf(bytes: string): { readonly socket: Socket; readonly cut: () => Promise<void> } {
  const socket = connect(bench.gateway.address.port, '127.0.0.1').pause();
  sockets.push(socket);
  let isClosed = false;
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
  });
  socket.write(bytes);
  return {
    socket,
    cut: async () => {
      await until(async () => (await shown()).length === 0);
      socket.resume();
      await until(() => isClosed);
    },
  };
}

async function shown(): Promise<readonly Record<string, unknown>[]> {
  const { requests } = await readAdmin(bench, '/v1/requests');
  return requests as Record<string, unknown>[];
}

async function ask(model = 'chat'): Promise<number> {
  const response = await fetch(`${bench.url}/v1/completions`, {
    method: 'POST',
    body: JSON.stringify({ model, prompt: 'hello' }),
  });
  await response.arrayBuffer();
  return response.status;
}

/** Lets a client read some 2 MB a second; the kernel tells the other side each megabyte or so. */
function sipping(socket: Socket): () => void {
  const sip = setInterval(() => {
    socket.once('data', () => socket.pause());
    socket.resume();
  }, 25);
  return () => clearInterval(sip);
}

/** Everything the kernel takes is full, and one answer waits for its client. */
async function untilFull(): Promise<void> {
  await until(async () => {
    const { inFlight, waiting } = await readAdmin(bench, '/v1/queues');
    return inFlight === 0 && waiting === 0 && (await shown()).length > 0;
  });
}

describe('an answer in one piece that nobody reads', () => {
  it('is shown while it waits, and cut after its band’s idle time', async () => {
    const { cut } = deaf(post().repeat(40));
    await untilFull();
    expect(await shown()).toContainEqual(
      expect.objectContaining({ state: 'passing', model: 'chat', instance: 'chat-0' }),
    );
    await cut();
  });

  it('gives its tenant’s places back, those of the answers behind it too', async () => {
    const { cut } = deaf(post().repeat(60));
    await untilFull();
    await cut();
    // Each place would be missing for good.
    for (let round = 0; round < 2; round += 1) {
      const statuses = await Promise.all(Array.from({ length: MAX_OPEN }, () => ask()));
      expect(statuses).toEqual(statuses.map(() => 200));
    }
  });

  it('does not keep the gateway from ending', async () => {
    deaf(post().repeat(40));
    await untilFull();
    const sinceMs = performance.now();
    await bench.gateway.drain();
    expect(performance.now() - sinceMs).toBeLessThan(5_000);
  });

  it('is cut at its total time although its client reads on', async () => {
    await bench.close();
    await start({ standard: { firstByteMs: 5_000, idleMs: 1_000, totalMs: 1_500 } });
    const { socket, cut } = deaf(post().repeat(MAX_OPEN));
    await untilFull();
    const stop = sipping(socket);
    await cut();
    stop();
    // More than the kernel held, so that the gateway saw it read.
    expect(socket.bytesRead).toBeGreaterThan(2_000_000);
    expect(socket.bytesRead).toBeLessThan(MAX_OPEN * LONG_BYTES);
  });

  it('is left to a client that reads slowly and steadily', async () => {
    await bench.close();
    await start({ standard: { firstByteMs: 5_000, idleMs: 1_000, totalMs: 30_000 } });
    const { socket, heard } = openRaw(bench.gateway.address.port, post().repeat(MAX_OPEN));
    sockets.push(socket);
    socket.pause();
    await untilFull();
    const stop = sipping(socket);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    stop();
    socket.resume();
    await until(() => statusesOf(heard()).filter((status) => status === 200).length === MAX_OPEN);
  });
});

describe('what stands behind answers that nobody reads', () => {
  it.each([
    ['the end of a stream', 'chat', 200],
    ['a refusal', 'nobody', 404],
  ])('%s goes with them, and its tenant’s place comes back', async (_, model, status) => {
    const before = 30;
    const stream = eventStream([
      'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n',
      'data: [DONE]\n\n',
    ]);
    let asked = 0;
    engine.play((socket) => {
      asked += 1;
      socket.write(asked > before ? stream : LONG);
    });
    expect(await ask(model)).toBe(status);
    asked = 0;
    const { cut } = deaf(post().repeat(before));
    await untilFull();
    await until(() => asked === before);
    sockets[0]?.write(post(model).repeat(MAX_OPEN - before));
    await cut();
    engine.play({ bytes: LONG, after: 'keep' });
    const statuses = await Promise.all(Array.from({ length: MAX_OPEN }, () => ask()));
    expect(statuses).toEqual(statuses.map(() => 200));
  });
});
