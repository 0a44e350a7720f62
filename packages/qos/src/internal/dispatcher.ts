/**
 * When queues are looked at: once a microtask after anything changed, and by one timer for what only time brings.
 * Owns that timer and the search for permits that nobody ends.
 */
import type { QosContext } from './context.js';
import type { Flight } from './flight.js';
import type { ModelPool } from './model-pool.js';

const LEAK_SWEEPS = 4;
const NOW: Promise<void> = Promise.resolve();

export class Dispatcher {
  readonly #context: QosContext;
  readonly #onLeak: (flight: Flight) => void;
  readonly #onRest: () => void;
  readonly #dirty: Set<ModelPool> = new Set();
  /** One function for all looks: a closure for each would be made as often as requests end. */
  readonly #look: () => void = () => {
    this.#pumping = false;
    const nowMs = this.#context.clock.monoMs();
    for (const each of this.#dirty) {
      this.#dirty.delete(each);
      if (each.queue.count > 0) each.pump(nowMs);
    }
    this.#arm(nowMs);
    this.#onRest();
  };
  #pumping: boolean = false;
  #disarm: (() => void) | null = null;
  #armedForMs: number = Number.POSITIVE_INFINITY;
  #nextSweepMs: number = Number.NEGATIVE_INFINITY;

  constructor(context: QosContext, onLeak: (flight: Flight) => void, onRest: () => void) {
    this.#context = context;
    this.#onLeak = onLeak;
    this.#onRest = onRest;
  }

  /** Looks at a pool's queue soon, however often it is asked. */
  schedule(pool: ModelPool): void {
    this.#dirty.add(pool);
    if (this.#pumping) return;
    this.#pumping = true;
    // A microtask without the async context that `queueMicrotask` makes for each.
    void NOW.then(this.#look);
  }

  /** Takes back permits without a sign of life; cheap when it was done lately. */
  sweepLeaks(nowMs: number): void {
    const { live, leakAfterMs, logger, observer } = this.#context;
    if (live.size === 0 || nowMs < this.#nextSweepMs) return;
    this.#nextSweepMs = nowMs + leakAfterMs / LEAK_SWEEPS;
    for (const flight of live.list()) {
      if (flight.isAlive) {
        flight.isAlive = false;
        flight.alive(nowMs);
      }
      const idleMs = flight.idleMs(nowMs);
      if (idleMs < leakAfterMs) continue;
      const { request } = flight;
      logger.warn('permit-leaked', {
        tenant: request.tenant,
        model: request.model,
        band: request.band,
        endpoint: flight.endpoint,
        origin: request.origin ?? null,
        idleMs,
      });
      observer.leaked(request, flight.endpoint, idleMs);
      this.#onLeak(flight);
    }
  }

  close(): void {
    this.#disarm?.();
    this.#disarm = null;
  }

  /** Arms the timer for the next expiry, opening of a gate, or leak while others wait. */
  #arm(nowMs: number): void {
    const { pools, live, leakAfterMs, closed, clock } = this.#context;
    let soonest = Number.POSITIVE_INFINITY;
    for (const pool of pools.values()) {
      if (pool.queue.count === 0) continue;
      soonest = Math.min(soonest, pool.queue.nextExpiryMs(), pool.lookAgainMs(nowMs));
      if (live.size > 0) soonest = Math.min(soonest, nowMs + leakAfterMs / LEAK_SWEEPS);
    }
    if (soonest >= this.#armedForMs && soonest !== Number.POSITIVE_INFINITY) return;
    this.#disarm?.();
    this.#disarm = null;
    this.#armedForMs = soonest;
    if (closed || soonest === Number.POSITIVE_INFINITY) return;
    this.#disarm = clock.timer(Math.max(0, soonest - nowMs), () => this.#due());
  }

  #due(): void {
    this.#disarm = null;
    this.#armedForMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#context.clock.monoMs();
    this.sweepLeaks(nowMs);
    for (const pool of this.#context.pools.values()) {
      if (pool.queue.count === 0) continue;
      pool.expire(nowMs);
      pool.pump(nowMs);
    }
    this.#arm(nowMs);
    this.#onRest();
  }
}
