/**
 * Requests that engines fail of: each reaches two engines at most, and takes none of them away from the others. Engines
 * that fail everybody are left alone all the same.
 */
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEngineTrust } from '../src/engine-trust.js';
import { type ChaosEngine, startChaosEngine, wholeAnswer } from './support/chaos-proxy.js';
import { aServedModel, type Bench, startBench } from './support/gateway-bench.js';

const WHOLE = wholeAnswer({ choices: [{ message: { role: 'assistant', content: 'hi' } }] });

/** An engine that does something for requests with the word `poison`, and answers the others. */
interface PoisonedEngine extends ChaosEngine {
  readonly poisoned: () => number;
}

let engines: PoisonedEngine[];
let bench: Bench;
beforeEach(async () => {
  engines = [];
  bench = await startBench([aServedModel('chat')]);
});
afterEach(async () => {
  await bench.close();
  for (const engine of engines) await engine.close();
});

async function serve(count: number, poison: (socket: Socket) => void): Promise<void> {
  for (let index = 0; index < count; index += 1) {
    const engine = await startChaosEngine();
    let poisoned = 0;
    engine.play((socket, _, request) => {
      if (request.includes('poison')) {
        poisoned += 1;
        poison(socket);
      } else socket.write(WHOLE);
    });
    engines.push(Object.assign(engine, { poisoned: () => poisoned }));
  }
  bench.directory.set('chat', engines);
}

const ask = (prompt = 'hello'): Promise<Response> =>
  fetch(`${bench.url}/v1/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'chat', prompt }),
  });

const reached = (): number => engines.reduce((sum, { poisoned }) => sum + poisoned(), 0);

const WAYS: readonly (readonly [name: string, poison: (socket: Socket) => void])[] = [
  ['closes its connection', (socket) => socket.destroy()],
  ['resets its connection', (socket) => void socket.resetAndDestroy()],
  ['answers with what is no HTTP', (socket) => void socket.end('SSH-2.0-x\r\n')],
  ['breaks off its status', (socket) => void socket.end('HTTP/1.1 20')],
  [
    'breaks off its answer',
    (socket) => void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{'),
  ],
];

describe.each(WAYS)('a request of which an engine %s', (way, poison) => {
  it.each([1, 2, 3])(
    'with %i engines: 502 after two tries, on fresh connections',
    async (count) => {
      await serve(count, poison);
      expect((await ask('poison')).status).toBe(502);
      expect(reached()).toBe(2);
      if (count > 1) expect(Math.max(...engines.map(({ poisoned }) => poisoned()))).toBe(1);
    },
  );

  it('on kept connections: a silent repeat more, where not a byte has come', async () => {
    await serve(1, poison);
    expect((await ask()).status).toBe(200);
    expect((await ask('poison')).status).toBe(502);
    expect(reached()).toBe(way.includes('its connection') ? 3 : 2);
  });

  it('leaves the engines to the others, however often it comes', async () => {
    await serve(2, poison);
    const until = performance.now() + 1_500;
    const poisons: Promise<Response>[] = [];
    const tookMs: number[] = [];
    for (let round = 0; performance.now() < until; round += 1) {
      if (round % 3 === 0) poisons.push(ask('poison'));
      const sinceMs = performance.now();
      expect((await ask()).status).toBe(200);
      tookMs.push(performance.now() - sinceMs);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    await Promise.all(poisons);
    // Left alone for a second, an engine would have made somebody wait that long.
    expect(Math.max(...tookMs)).toBeLessThan(900);
    expect(reached()).toBeLessThanOrEqual(3 * poisons.length);
  });
});

it.each(WAYS)(
  'requests of which an engine %s do not end the keeping of connections',
  async (_, poison) => {
    await serve(1, poison);
    const users = new Set<Socket>();
    expect((await ask()).status).toBe(200);
    expect((await ask('poison')).status).toBe(502);
    engines[0]?.play((socket) => {
      users.add(socket);
      socket.write(WHOLE);
    });
    for (let request = 0; request < 4; request += 1) expect((await ask()).status).toBe(200);
    expect(users.size).toBe(1);
  },
);

describe('the record of an engine', () => {
  it('is bad when different requests in a row break off and nobody was answered meanwhile', () => {
    const record = createEngineTrust().of('a');
    expect([record.broke('r1', 0), record.broke('r1', 1), record.broke('r2', 2)]).toEqual([
      false,
      false,
      true,
    ]);
    record.answered(10);
    expect([record.broke('r3', 11), record.broke('r4', 12)]).toEqual([false, false]);
    expect(record.broke('r5', 2_000)).toBe(true);
  });

  it('is one for each engine, and bounded in number', () => {
    const trust = createEngineTrust();
    const first = trust.of('a');
    expect(trust.of('a')).toBe(first);
    expect(trust.of('b')).not.toBe(first);
    for (let index = 0; index < 5_000; index += 1) trust.of(`i${index}`);
    expect(trust.of('a')).not.toBe(first);
  });
});

it('an engine that breaks off everything is left alone', async () => {
  await serve(2, (socket) => socket.destroy());
  let broken = 0;
  engines[0]?.play((socket) => {
    broken += 1;
    socket.destroy();
  });
  for (let request = 0; request < 30; request += 1) expect((await ask()).status).toBe(200);
  expect(broken).toBeLessThan(10);
});
