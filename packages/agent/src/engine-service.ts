/**
 * The time in which a ready engine serves, until something ends it: its exit, a hang, nobody using it, a stop. Owns which
 * of these counts; what happens then is the runner's.
 */
import type { ProcessExit } from '@aim-gpu/core';
import type { EngineProcess } from './engine-start.js';
import { untilIdle } from './engine-waits.js';
import { untilHung, untilUnused, type WatchOptions } from './health-watch.js';

/** How a time of service ended. */
export type ServiceEnd =
  | { readonly why: 'exited'; readonly exit: ProcessExit }
  | { readonly why: 'hung' | 'stopped' | 'unused' | 'stopping' };

/** What a time of service is watched with. */
export interface ServiceOptions extends Omit<WatchOptions, 'address' | 'signal'> {
  readonly served: EngineProcess;
  /** Idle time after which it is parked; null for never. */
  readonly idleMs: number | null;
  readonly stopRequested: Promise<unknown>;
  /** Keeps new requests away from it. */
  readonly hide: () => void;
}

/** Resolves with the first thing that ends it. */
export async function untilServiceEnds(options: ServiceOptions): Promise<ServiceEnd> {
  const { served, idleMs, stopRequested, engine, clock, timing } = options;
  const { process, address } = served;
  const over = new AbortController();
  const watch: WatchOptions = { engine, address, clock, timing, signal: over.signal };
  try {
    return await Promise.race([
      process.exited.then((exit): ServiceEnd => ({ why: 'exited', exit })),
      // A process that cannot be killed must not hold up the end.
      stopRequested.then((): ServiceEnd => ({ why: 'stopping' })),
      untilHung({ ...watch, pid: process.pid }).then((why): ServiceEnd => ({ why })),
      ...(idleMs === null ? [] : [untilParkable(watch, idleMs, options.hide)]),
    ]);
  } finally {
    over.abort();
  }
}

/** Unused, and still without a request after new ones were told to stay away. */
async function untilParkable(
  watch: WatchOptions,
  idleMs: number,
  hide: () => void,
): Promise<ServiceEnd> {
  await untilUnused({ ...watch, idleMs });
  hide();
  await untilIdle(watch);
  return { why: 'unused' };
}
