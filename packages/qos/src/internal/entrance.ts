/**
 * The way in: limits, then whether it makes sense to wait, then the queue. Owns the order of those checks and that each
 * refusal undoes what came before it; what happens after dispatch is not here.
 */
import {
  type Admission,
  type AdmitRequest,
  explainRefusal,
  REASON_OF_LIMIT,
  type RefusalReason,
} from '../admission.js';
import { bandRank } from '../bands.js';
import { toWeight } from '../fair-queue.js';
import { createFeasibility, type Feasibility } from '../feasibility.js';
import type { LimitSubject, Reservation } from '../limits-interface.js';
import { toRefusal } from './answers.js';
import type { QosContext } from './context.js';
import { answersOf, toCost } from './cost.js';
import { Flight, type FlightOwner } from './flight.js';
import type { ModelPool } from './model-pool.js';
import type { Refusals } from './refusals.js';

const NO_SUBJECTS: readonly LimitSubject[] = [];
/** Each level of a standing queue above halves what may wait below. */
const SHED_SHARE = 0.5;

export class Entrance {
  readonly #context: QosContext;
  readonly #refusals: Refusals;
  readonly #owner: FlightOwner;
  readonly #feasibility: Map<ModelPool, Feasibility> = new Map();

  constructor(context: QosContext, refusals: Refusals, owner: FlightOwner) {
    this.#context = context;
    this.#refusals = refusals;
    this.#owner = owner;
  }

  forget(pool: ModelPool): void {
    this.#feasibility.delete(pool);
  }

  /** A flight that has paid and may be sent or wait, or the refusal that came first. */
  enter(request: AdmitRequest, pool: ModelPool | undefined, nowMs: number): Flight | Admission {
    const { weights, draining, closed } = this.#context;
    if (pool === undefined) return this.#turnAway(request, 'model_unknown', null);
    const rank = bandRank(request.band);
    if (draining || closed) {
      const ms = this.#refusals.retryAfterMs(pool, rank, 'draining', nowMs);
      return this.#turnAway(request, 'draining', ms);
    }
    const prompt = toCost(request.promptTokens);
    const max = request.maxOutputTokens ?? null;
    const answers = answersOf(request);
    const mostOfOne = max === null ? null : max / answers;
    const expectedOfOne = pool.outputs.expected(mostOfOne, nowMs);
    // Of many answers few are long.
    const high = toCost(pool.outputs.high(mostOfOne, nowMs) + (answers - 1) * expectedOfOne);
    const state = pool.bands.of(rank);
    state.seenMs = nowMs;
    state.requests.add(1, nowMs);
    state.offered.add(prompt + high, nowMs);
    const least = toCost(request.leastPromptTokens ?? prompt);
    const leastOfOne = toCost(request.leastTokensOfOne ?? least);
    if (!pool.couldFit(leastOfOne + 1)) return this.#turnAway(request, 'request_too_large', null);
    if (pool.brownout.paused(request.band, nowMs)) {
      const ms = this.#refusals.retryAfterMs(pool, rank, 'shed', nowMs);
      return this.#turnAway(request, 'shed', ms);
    }
    let reservation: Reservation | null = null;
    let drawn = 0;
    const subjects = request.limits ?? NO_SUBJECTS;
    if (subjects.length > 0) {
      const expected = max === null ? withinBurst(high, 'output', subjects) : high;
      const input = Math.max(least, withinBurst(prompt, 'input', subjects));
      const cost = { inputTokens: input, outputTokens: expected };
      let result = this.#context.limits.reserve(subjects, cost, nowMs);
      if (!result.ok && result.kind !== 'concurrency' && result.kind !== 'budget') {
        drawn = this.#draw(pool, request, input + expected, nowMs);
        if (drawn > 0) {
          const borrowed = this.#context.limits.reserve(subjects, cost, nowMs, { rates: false });
          if (borrowed.ok) result = borrowed;
          else {
            pool.burst?.settle(drawn, nowMs);
            drawn = 0;
          }
        }
      }
      if (!result.ok) {
        const never = result.retryAfterMs === Number.POSITIVE_INFINITY;
        const isSize = never && result.kind !== 'concurrency' && result.kind !== 'requests';
        const reason = isSize ? 'request_too_large' : REASON_OF_LIMIT[result.kind];
        const ms = never ? null : result.retryAfterMs;
        return this.#turnAway(request, reason, ms, result.account);
      }
      reservation = result.reservation;
    }
    const expected = toCost(answers * expectedOfOne);
    const cost = weights.input * prompt + weights.output * expected;
    const footprint = prompt + high;
    state.need.arrived(state.inFlight + pool.queue.band(rank).count + 1, footprint);
    const flight = new Flight(this.#owner, request, rank, cost, footprint, nowMs, reservation);
    flight.drawn = drawn;
    if (pool.reservations.size > 0) pool.reservations.asked(request, flight.footprint, nowMs);
    return flight;
  }

  /** Puts a flight into its queue; the refusal when it should not wait or has no room. */
  enqueue(flight: Flight, pool: ModelPool, nowMs: number): Admission | null {
    const { request, rank } = flight;
    const { policy } = pool.bands.of(rank);
    const isEmptyPool = pool.ready.length === 0;
    const own = request.deadlineMs ?? null;
    const patienceMs = Math.min(
      own ?? policy.ttlMs,
      isEmptyPool ? this.#context.emptyPoolWaitMs : policy.ttlMs,
    );
    if (!isEmptyPool && pool.queue.count > 0) {
      const waitMs = pool.waits.predictedMs(rank, request.tenant, request.weight);
      const newcomer = { band: request.band, waitMs, patienceMs, own: own !== null };
      if (!this.#feasibilityOf(pool).allows(newcomer)) {
        return this.#refusals.refuse(flight, 'infeasible', nowMs);
      }
    }
    // Who is sent at once takes no room in the queue, so there is nothing to shed.
    const level = rank === 0 || pool.queue.count === 0 ? 0 : pool.waits.shedLevel(rank, nowMs);
    pool.queue.scaleBound(rank, level === 0 ? 1 : SHED_SHARE ** level);
    setTimes(flight, patienceMs, policy.ttlMs, nowMs);
    if (!pool.queue.offer(flight, rank, request.tenant, toWeight(request.weight), nowMs)) {
      const reason = level > 0 && pool.queue.refusedOf === 'band' ? 'shed' : 'queue_full';
      return this.#refusals.refuse(flight, reason, nowMs);
    }
    for (const victim of pool.queue.displaced) this.#refusals.refuse(victim, 'displaced', nowMs);
    return null;
  }

  /** Sends a flight at once when nothing waits and an endpoint has room; null when it would have to wait. */
  sendNow(flight: Flight, pool: ModelPool, nowMs: number): Admission | null {
    if (pool.queue.count > 0) return null;
    const capacity = pool.pick(flight, nowMs);
    if (capacity === null) return null;
    // It passes through the queue all the same, so that fairness counts it.
    const { rank, request } = flight;
    pool.queue.scaleBound(rank, 1);
    if (!pool.queue.pass(flight, rank, request.tenant, toWeight(request.weight), nowMs)) {
      return this.#refusals.refuse(flight, 'queue_full', nowMs);
    }
    // It may come back by `retry`, and waits no longer than it wanted then.
    const { ttlMs } = pool.bands.of(rank).policy;
    setTimes(flight, request.deadlineMs ?? ttlMs, ttlMs, nowMs);
    pool.send(flight, capacity, nowMs);
    return flight;
  }

  #draw(pool: ModelPool, request: AdmitRequest, tokens: number, nowMs: number): number {
    const saturation = pool.saturation(nowMs);
    const isDrawn = pool.burst?.draw(tokens, { band: request.band, saturation }, nowMs) ?? false;
    return isDrawn ? tokens : 0;
  }

  #feasibilityOf(pool: ModelPool): Feasibility {
    let feasibility = this.#feasibility.get(pool);
    if (feasibility === undefined) {
      feasibility = createFeasibility();
      this.#feasibility.set(pool, feasibility);
    }
    return feasibility;
  }

  #turnAway(
    request: AdmitRequest,
    reason: RefusalReason,
    retryAfterMs: number | null,
    account: string | null = null,
  ): Admission {
    this.#context.observer.refused(request, reason);
    return toRefusal(reason, explainRefusal(reason), { retryAfterMs, account });
  }
}

/** When its first token is due and when it gives up, where that is not its band's. NaN would block the heap it stands in. */
function setTimes(flight: Flight, patienceMs: number, ttlMs: number, nowMs: number): void {
  const { ttftMs } = flight.request;
  if (ttftMs != null && !Number.isNaN(ttftMs)) flight.ownDeadlineMs = nowMs + ttftMs;
  if (patienceMs < ttlMs) flight.ownExpiresMs = nowMs + Math.max(0, patienceMs);
}

/** Expected tokens cut to what the accounts can hold at once: a guess alone must not make a request impossible. */
function withinBurst(
  tokens: number,
  kind: 'input' | 'output',
  subjects: readonly LimitSubject[],
): number {
  let most = tokens;
  for (const { limits } of subjects) {
    const perMinute = kind === 'input' ? limits.inputTokensPerMinute : limits.outputTokensPerMinute;
    if (perMinute !== null) most = Math.min(most, perMinute * (limits.burst ?? 1));
  }
  return Math.max(0, most);
}
