/**
 * How a request is asked for: at once or by a promise, and again by a permit that lost its endpoint. Owns the waiting of
 * the caller and that its signal ends it; the checks are the entrance's.
 */
import type { Admission, AdmitRequest } from '../admission.js';
import { toRefusal } from './answers.js';
import type { QosContext } from './context.js';
import type { Dispatcher } from './dispatcher.js';
import type { Entrance } from './entrance.js';
import { Flight } from './flight.js';
import type { Refusals } from './refusals.js';
import type { Settlement } from './settlement.js';

let lastResolve: ((admission: Admission) => void) | null = null;
/** One executor for all promises: a closure for each would be a good part of what a waiting request costs. */
function keepResolve(resolve: (admission: Admission) => void): void {
  lastResolve = resolve;
}

/** The parts of a qos object that an admission goes through. */
export interface AdmissionParts {
  readonly entrance: Entrance;
  readonly refusals: Refusals;
  readonly settlement: Settlement;
  readonly dispatcher: Dispatcher;
}

export class Admissions {
  readonly #context: QosContext;
  readonly #parts: AdmissionParts;

  constructor(context: QosContext, parts: AdmissionParts) {
    this.#context = context;
    this.#parts = parts;
  }

  admit(request: AdmitRequest, signal: AbortSignal | undefined): Promise<Admission> {
    const { entrance, refusals, dispatcher } = this.#parts;
    const nowMs = this.#context.clock.monoMs();
    dispatcher.sweepLeaks(nowMs);
    const pool = this.#context.pools.get(request.model);
    const flight = entrance.enter(request, pool, nowMs);
    if (pool === undefined || !(flight instanceof Flight)) return Promise.resolve(flight);
    if (signal?.aborted) return Promise.resolve(refusals.refuse(flight, 'cancelled', nowMs));
    if (pool.ready.length === 0 && this.#context.emptyPoolWaitMs <= 0) {
      return Promise.resolve(refusals.refuse(flight, 'no_endpoint', nowMs));
    }
    const sent = entrance.sendNow(flight, pool, nowMs) ?? entrance.enqueue(flight, pool, nowMs);
    if (sent !== null) return Promise.resolve(sent);
    const admitted = this.#wait(flight, signal);
    dispatcher.schedule(pool);
    return admitted;
  }

  tryAdmit(request: AdmitRequest): Admission | null {
    const { entrance, dispatcher } = this.#parts;
    const nowMs = this.#context.clock.monoMs();
    dispatcher.sweepLeaks(nowMs);
    const pool = this.#context.pools.get(request.model);
    // Whether it would wait is asked first, so that a null costs the tenant nothing.
    if (pool !== undefined && !this.#context.draining && pool.queue.count > 0) return null;
    const flight = entrance.enter(request, pool, nowMs);
    if (pool === undefined || !(flight instanceof Flight)) return flight;
    const sent = entrance.sendNow(flight, pool, nowMs);
    if (sent !== null) return sent;
    flight.state = 'ended';
    flight.reservation?.cancel();
    flight.reservation = null;
    if (flight.drawn > 0) pool.burst?.settle(flight.drawn, nowMs);
    return null;
  }

  /** Lets a flight that lost its endpoint, or never reached it, wait at its old place for another one. */
  again(flight: Flight, signal: AbortSignal | undefined): Promise<Admission> {
    const { refusals, settlement, dispatcher } = this.#parts;
    const nowMs = this.#context.clock.monoMs();
    const pool = this.#context.pools.get(flight.model);
    if (flight.state === 'sent') settlement.giveBack(flight);
    else if (flight.state !== 'cut') {
      const message = 'only a request without its first byte can be tried again';
      return Promise.resolve(toRefusal('cancelled', message, { retryAfterMs: null }));
    }
    const wasPreempted = flight.state === 'cut';
    if (!wasPreempted) {
      flight.tries += 1;
      flight.avoid = flight.at?.id ?? null;
    }
    flight.at = null;
    flight.rearm();
    const { lane } = flight;
    const { maxRetries, maxPreemptions } = this.#context;
    const isSpent = wasPreempted ? flight.preemptions > maxPreemptions : flight.tries > maxRetries;
    if (pool === undefined || lane === null || isSpent || signal?.aborted) {
      if (pool !== undefined && lane !== null) pool.queue.settle(flight, lane, 0, nowMs);
      const reason = signal?.aborted ? 'cancelled' : wasPreempted ? 'preempted' : 'no_endpoint';
      return Promise.resolve(refusals.refuse(flight, reason, nowMs));
    }
    flight.state = 'waiting';
    pool.queue.restore(flight, lane, nowMs);
    const admitted = this.#wait(flight, signal);
    dispatcher.schedule(pool);
    return admitted;
  }

  /** Lets a flight wait for an endpoint; resolves when it has one or is refused. */
  #wait(flight: Flight, signal: AbortSignal | undefined): Promise<Admission> {
    const admitted = new Promise<Admission>(keepResolve);
    flight.resolve = lastResolve;
    if (signal !== undefined) {
      const listener = (): void => this.#gaveUp(flight);
      flight.abort = { signal, listener };
      signal.addEventListener('abort', listener, { once: true });
    }
    return admitted;
  }

  #gaveUp(flight: Flight): void {
    const pool = this.#context.pools.get(flight.model);
    if (flight.state !== 'waiting' || flight.lane === null || pool === undefined) return;
    const nowMs = this.#context.clock.monoMs();
    pool.queue.remove(flight, flight.lane, nowMs);
    this.#parts.refusals.refuse(flight, 'cancelled', nowMs);
  }
}
