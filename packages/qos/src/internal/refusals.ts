/**
 * Saying no: the reason, when to come back, and what is undone. Owns that a refused request keeps nothing it took.
 */
import { type Admission, explainRefusal, type RefusalReason } from '../admission.js';
import { jitterRetryAfterMs } from '../retry-after.js';
import { resolveFlight, toRefusal } from './answers.js';
import type { QosContext } from './context.js';
import type { Flight } from './flight.js';
import type { ModelPool } from './model-pool.js';

const PREEMPTED_RETRY_MS = 1_000;
const OVERLOAD: ReadonlySet<RefusalReason> = new Set([
  'queue_full',
  'displaced',
  'queue_timeout',
  'infeasible',
  'shed',
]);

export class Refusals {
  readonly #context: QosContext;
  readonly #settled: () => void;

  /** `settled` is called when something that waited waits no more. */
  constructor(context: QosContext, settled: () => void) {
    this.#context = context;
    this.#settled = settled;
  }

  /** Ends a flight that waits. */
  refuse(flight: Flight, reason: RefusalReason, nowMs: number): Admission {
    const pool = this.#context.pools.get(flight.model);
    flight.state = 'ended';
    flight.reservation?.cancel();
    flight.reservation = null;
    if (flight.drawn > 0) pool?.burst?.settle(flight.drawn, nowMs);
    flight.drawn = 0;
    const refusal = toRefusal(reason, explainRefusal(reason), {
      retryAfterMs:
        pool === undefined ? null : this.retryAfterMs(pool, flight.rank, reason, nowMs, flight),
      queueMs: nowMs - flight.arrivedMs,
    });
    pool?.bands.of(flight.rank).tracker.record(
      {
        outcome:
          reason === 'cancelled' ? 'client_gone' : reason === 'preempted' ? 'preempted' : 'refused',
        ttftMs: null,
        tpotMs: null,
        e2eMs: nowMs - flight.arrivedMs,
        outputTokens: 0,
        ttftTargetMs: flight.request.ttftMs ?? null,
      },
      nowMs,
    );
    this.#context.observer.refused(flight.request, reason);
    resolveFlight(flight, refusal);
    this.#settled();
    return refusal;
  }

  /** When to come back after a refusal, jittered; null when that would not help. */
  retryAfterMs(
    pool: ModelPool,
    rank: number,
    reason: RefusalReason,
    nowMs: number,
    flight?: Flight,
  ): number | null {
    if (reason === 'preempted') return PREEMPTED_RETRY_MS;
    const state = pool.bands.of(rank);
    const { rng } = this.#context;
    if (OVERLOAD.has(reason)) {
      state.retryAfter.dropped(nowMs);
      state.refused.add(1, nowMs);
      const { tenant, weight } = flight?.request ?? {};
      const predicted = pool.waits.predictedMs(rank, tenant, weight) ?? 0;
      return jitterRetryAfterMs(
        Math.max(state.retryAfter.retryAfterMs(nowMs), predicted),
        rng.next(),
      );
    }
    if (reason === 'no_endpoint' || reason === 'draining') {
      if (reason === 'no_endpoint') state.refused.add(1, nowMs);
      return jitterRetryAfterMs(state.retryAfter.retryAfterMs(nowMs), rng.next());
    }
    return null;
  }
}
