/**
 * What a gateway in this process holds: permits, exchanges, sockets, timers, listeners. For tests that ask whether a
 * fault left anything behind.
 */
import { get } from 'node:http';
import { type Clock, systemClock } from '@aim-gpu/core';
import type { Bench } from './gateway-bench.js';
import { until } from './until.js';

/** A clock with a count of its timers that are armed. */
export interface CountingClock extends Clock {
  armed(): number;
}

/** Makes one over the host's clock, or another. */
export function createCountingClock(clock: Clock = systemClock): CountingClock {
  let armed = 0;
  return {
    ...clock,
    armed: () => armed,
    timer: (ms, callback) => {
      let isArmed = true;
      armed += 1;
      const cancel = clock.timer(ms, () => {
        isArmed = false;
        armed -= 1;
        callback();
      });
      return () => {
        if (isArmed) armed -= 1;
        isArmed = false;
        cancel();
      };
    },
  };
}

/** What is held at one moment. */
export interface Held {
  readonly permits: number;
  readonly waiting: number;
  readonly exchanges: number;
  /** Of this process, tests' own ones included. */
  readonly sockets: number;
  readonly timers: number;
  readonly listeners: number;
}

/** A socket, a server, or whatever else is open. */
interface Handle {
  readonly localPort?: number;
  readonly remotePort?: number;
  eventNames?(): (string | symbol)[];
  listenerCount?(name: string | symbol): number;
}

/** What is open in this process, without connections to an engine: the pool keeps some of them for a while. */
function handlesBeside(enginePort: number | undefined): readonly Handle[] {
  const inside = process as unknown as { _getActiveHandles(): Handle[] };
  return inside
    ._getActiveHandles()
    .filter(
      ({ localPort, remotePort }) =>
        enginePort === undefined || (localPort !== enginePort && remotePort !== enginePort),
    );
}

function countListeners(handles: readonly Handle[]): number {
  return [process as Handle, ...handles].reduce(
    (sum, handle) =>
      (handle.eventNames?.() ?? []).reduce(
        (count, name) => count + (handle.listenerCount?.(name) ?? 0),
        sum,
      ),
    0,
  );
}

/** Reads a document of the admin face over a connection that is gone afterwards. */
export function readAdmin(bench: Bench, path: string): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    get(`${bench.adminUrl}${path}`, { agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      // Only then is it nobody's any more.
      response.socket.on('close', () => resolve(JSON.parse(text) as Record<string, unknown>));
    }).on('error', reject);
  });
}

/** What is looked at. */
export interface Watched {
  readonly bench: Bench;
  readonly clock: CountingClock;
  /** Connections to it are not counted; all are when left out. */
  readonly enginePort?: number;
}

/** Looks at a gateway. */
export async function readHeld({ bench, clock, enginePort }: Watched): Promise<Held> {
  const queues = await readAdmin(bench, '/v1/queues');
  const { requests } = await readAdmin(bench, '/v1/requests');
  await new Promise((resolve) => setImmediate(resolve));
  const handles = handlesBeside(enginePort);
  return {
    permits: Number(queues['inFlight']),
    waiting: Number(queues['waiting']),
    exchanges: (requests as unknown[]).length,
    sockets: handles.filter(({ remotePort }) => remotePort !== undefined).length,
    timers: clock.armed(),
    listeners: countListeners(handles),
  };
}

/** Waits until nothing is held that was not held before; throws naming what is. */
export async function untilNothingIsLeft(watched: Watched, before: Held): Promise<void> {
  let held = await readHeld(watched);
  const more = (): string[] =>
    Object.entries(held)
      .filter(([what, count]) => count > before[what as keyof Held])
      .map(([what, count]) => `${count - before[what as keyof Held]} ${what}`);
  // Kept connections to engines are let go after 4 s without use.
  await until(async () => {
    held = await readHeld(watched);
    return more().length === 0;
  }, 8_000).catch(() => {
    throw new Error(`left behind: ${more().join(', ')}`);
  });
}
