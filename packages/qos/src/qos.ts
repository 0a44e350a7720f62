/**
 * The composition of every piece into one object that admits requests: limits, then shedding, then the model's queue,
 * then an endpoint. Owns the models, the one timer, the coalesced dispatch and the permits in flight; single-writer,
 * so it must only ever be called from one thread.
 */
import { silentLogger, systemRng } from '@aim-gpu/core';
import {
  type Admission,
  type AdmitRequest,
  explainRefusal,
  REASON_OF_LIMIT,
  type RefusalReason,
} from './admission.js';
import { type BandPolicy, bandOfRank, bandRank, toBandPolicies } from './bands.js';
import type { EndpointCapacity } from './endpoint-capacity.js';
import { toCost } from './internal/cost.js';
import { Flight, type FlightOwner } from './internal/flight.js';
import { ModelPool, type PoolHost, resolveFlight, toRefusal } from './internal/model-pool.js';
import { createLimits, type LimitSubject } from './limits.js';
import type { Qos, QosOptions } from './qos-interface.js';
import { jitterRetryAfterMs } from './retry-after.js';
import type { RequestOutcome } from './slo-tracker.js';

const EMPTY_POOL_WAIT_MS = 2_000;
const LEAK_AFTER_MS = 600_000;
const MAX_RETRIES = 2;
const PREEMPTED_RETRY_MS = 1_000;
const LEAK_SWEEPS = 4;
const NO_SUBJECTS: readonly LimitSubject[] = [];
const OVERLOAD: ReadonlySet<RefusalReason> = new Set([
  'queue_full',
  'displaced',
  'queue_timeout',
  'infeasible',
  'shed',
]);

/** Makes an empty qos object; give it models and endpoints, then admit. */
export function createQos(options: QosOptions): Qos {
  const { clock } = options;
  const rng = options.rng ?? systemRng;
  const logger = options.logger ?? silentLogger;
  const observer = options.observer ?? {};
  const policies = toBandPolicies(options.bands);
  const weights = options.tokenWeights ?? { input: 1, output: 2 };
  const emptyPoolWaitMs = options.emptyPoolWaitMs ?? EMPTY_POOL_WAIT_MS;
  const leakAfterMs = options.leakAfterMs ?? LEAK_AFTER_MS;
  const maxRetries = options.maxRetries ?? MAX_RETRIES;
  const pools = new Map<string, ModelPool>();
  const capacities = new Map<string, EndpointCapacity>();
  const limits = createLimits();
  const live = new Set<Flight>();
  const dirty = new Set<ModelPool>();
  let pumping = false;
  let draining = false;
  let closed = false;
  let idleWaiters: (() => void)[] = [];
  let disarm: (() => void) | null = null;
  let armedForMs = Number.POSITIVE_INFINITY;
  let nextSweepMs = Number.NEGATIVE_INFINITY;

  const nowMs = (): number => clock.monoMs();
  const tell = (call: () => void): void => {
    try {
      call();
    } catch (error) {
      logger.warn('observer-failed', {
        message: error instanceof Error ? error.message : 'unknown',
      });
    }
  };
  const waiting = (): number => {
    let sum = 0;
    for (const pool of pools.values()) sum += pool.queue.size;
    return sum;
  };
  const settleIdle = (): void => {
    if (idleWaiters.length === 0 || live.size > 0 || waiting() > 0) return;
    const resolvers = idleWaiters;
    idleWaiters = [];
    for (const resolve of resolvers) resolve();
  };

  const retryAfterOf = (
    pool: ModelPool,
    rank: number,
    reason: RefusalReason,
    now: number,
  ): number | null => {
    if (reason === 'preempted') return PREEMPTED_RETRY_MS;
    const tracker = pool.retryAfter(rank);
    if (OVERLOAD.has(reason)) {
      tracker.dropped(now);
      const predicted = pool.predictedWaitMs(rank) ?? 0;
      return jitterRetryAfterMs(Math.max(tracker.retryAfterMs(now), predicted), rng.next());
    }
    if (reason === 'no_endpoint' || reason === 'draining') {
      return jitterRetryAfterMs(tracker.retryAfterMs(now), rng.next());
    }
    return null;
  };

  /** Ends a flight that waits with a refusal. */
  const refuse = (flight: Flight, reason: RefusalReason, now: number): Admission => {
    const pool = pools.get(flight.model);
    flight.state = 'ended';
    flight.reservation?.cancel();
    flight.reservation = null;
    const refusal = toRefusal(reason, explainRefusal(reason), {
      retryAfterMs: pool === undefined ? null : retryAfterOf(pool, flight.rank, reason, now),
      queueMs: now - flight.arrivedMs,
    });
    pool?.tracker(flight.rank).record(
      {
        outcome:
          reason === 'cancelled' ? 'client_gone' : reason === 'preempted' ? 'preempted' : 'refused',
        ttftMs: null,
        tpotMs: null,
        e2eMs: now - flight.arrivedMs,
        outputTokens: 0,
        ttftTargetMs: flight.request.ttftMs ?? null,
      },
      now,
    );
    tell(() => observer.refused?.(flight.request, reason));
    resolveFlight(flight, refusal);
    settleIdle();
    return refusal;
  };

  const host: PoolHost = {
    policies,
    queue: {
      ...(options.order === undefined ? {} : { order: options.order }),
      ...(options.bands === undefined ? {} : { bands: options.bands }),
      ...(options.perBand === undefined ? {} : { perBand: options.perBand }),
      ...(options.total === undefined ? {} : { total: options.total }),
    },
    freshMs: options.freshMs,
    ceiling: () => 1,
    granted: (flight) => {
      live.add(flight);
      tell(() => observer.granted?.(flight.request, flight.waitedMs));
      if (flight.resolve !== null) resolveFlight(flight, { ok: true, permit: flight });
    },
    refuse: (flight, reason, now) => {
      refuse(flight, reason, now);
    },
  };

  const schedule = (pool: ModelPool): void => {
    dirty.add(pool);
    if (pumping) return;
    pumping = true;
    queueMicrotask(() => {
      pumping = false;
      const now = nowMs();
      for (const each of dirty) {
        dirty.delete(each);
        if (each.queue.size > 0) each.pump(now);
      }
      arm(now);
      settleIdle();
    });
  };

  /** Arms the timer for the next thing that only time brings: an expiry, a stuck queue, a leak while others wait. */
  const arm = (now: number): void => {
    let soonest = Number.POSITIVE_INFINITY;
    for (const pool of pools.values()) {
      if (pool.queue.size === 0) continue;
      soonest = Math.min(soonest, pool.queue.nextExpiryMs());
      soonest = Math.min(soonest, pool.lookAgainMs(now));
      if (live.size > 0) soonest = Math.min(soonest, now + leakAfterMs / LEAK_SWEEPS);
    }
    if (soonest >= armedForMs && soonest !== Number.POSITIVE_INFINITY) return;
    disarm?.();
    disarm = null;
    armedForMs = soonest;
    if (closed || soonest === Number.POSITIVE_INFINITY) return;
    disarm = clock.timer(Math.max(0, soonest - now), () => {
      disarm = null;
      armedForMs = Number.POSITIVE_INFINITY;
      const due = nowMs();
      sweepLeaks(due);
      for (const pool of pools.values()) {
        if (pool.queue.size === 0) continue;
        pool.expire(due);
        pool.pump(due);
      }
      arm(due);
      settleIdle();
    });
  };

  const sweepLeaks = (now: number): void => {
    if (now < nextSweepMs) return;
    nextSweepMs = now + leakAfterMs / LEAK_SWEEPS;
    for (const flight of live) {
      const idleMs = now - flight.activeMs;
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
      tell(() => observer.leaked?.(request, flight.endpoint, idleMs));
      finish(flight, 'failed');
    }
  };

  /** Gives an endpoint back. */
  const giveBack = (flight: Flight): void => {
    live.delete(flight);
    flight.at?.release(flight.footprint, flight.firstByteMs !== null);
  };

  const finish = (flight: Flight, outcome: RequestOutcome): void => {
    const now = nowMs();
    if (flight.state !== 'cut') giveBack(flight);
    flight.state = 'ended';
    const prompt = flight.promptTokens ?? toCost(flight.request.promptTokens);
    // An answer that ended without usage is taken at what was reserved, one that never began at nothing.
    const output = flight.outputTokens ?? (flight.firstByteMs === null ? 0 : null);
    const pool = pools.get(flight.model);
    if (flight.reservation !== null) {
      if (output === null) flight.reservation.abandon();
      else flight.reservation.settle({ inputTokens: prompt, outputTokens: output });
      flight.reservation = null;
    }
    if (pool !== undefined) {
      if (flight.ticket !== null) {
        const uncached = Math.max(0, prompt - flight.cachedTokens);
        const actual =
          output === null ? flight.cost : weights.input * uncached + weights.output * output;
        pool.queue.settle(flight.ticket, actual, now);
      }
      if (outcome === 'complete' && output !== null) pool.outputs.record(output, now);
      const decoded = output === null ? 0 : output;
      pool.tracker(flight.rank).record(
        {
          outcome,
          ttftMs: flight.ttftMs,
          tpotMs:
            flight.firstTokenMs !== null && decoded > 1
              ? (now - flight.firstTokenMs) / (decoded - 1)
              : null,
          e2eMs: now - flight.arrivedMs,
          outputTokens: decoded,
          ttftTargetMs: flight.request.ttftMs ?? null,
        },
        now,
      );
      if (pool.queue.size > 0) schedule(pool);
    }
    flight.ticket = null;
    tell(() => observer.ended?.(flight.request, outcome));
    settleIdle();
  };

  /** Lets a flight wait for an endpoint; resolves when it has one or is refused. */
  const wait = (flight: Flight, signal: AbortSignal | undefined): Promise<Admission> =>
    new Promise((resolve) => {
      flight.resolve = resolve;
      if (signal === undefined) return;
      flight.signalOfCaller = signal;
      flight.onAbort = () => {
        if (flight.ticket !== null && flight.state === 'waiting') {
          pools.get(flight.model)?.queue.cancel(flight.ticket, nowMs());
          refuse(flight, 'cancelled', nowMs());
        }
      };
      signal.addEventListener('abort', flight.onAbort, { once: true });
    });

  const owner: FlightOwner = {
    nowMs,
    began: (flight) => {
      flight.at?.streaming();
    },
    ended: finish,
    again: (flight, signal) => {
      const now = nowMs();
      const pool = pools.get(flight.model);
      if (flight.state === 'sent') giveBack(flight);
      else if (flight.state !== 'cut') {
        return Promise.resolve(
          toRefusal('cancelled', 'only a request without its first byte can be tried again', {
            retryAfterMs: null,
          }),
        );
      }
      const preempted = flight.state === 'cut';
      flight.tries += 1;
      flight.avoid = flight.at?.id ?? null;
      flight.at = null;
      flight.rearm();
      const { ticket } = flight;
      const spent = preempted ? flight.preemptions > maxRetries : flight.tries > maxRetries;
      if (pool === undefined || ticket === null || spent || signal?.aborted) {
        if (pool !== undefined && ticket !== null) pool.queue.settle(ticket, 0, now);
        const reason = signal?.aborted ? 'cancelled' : preempted ? 'preempted' : 'no_endpoint';
        return Promise.resolve(refuse(flight, reason, now));
      }
      flight.state = 'waiting';
      pool.queue.restore(ticket, now);
      const admitted = wait(flight, signal);
      schedule(pool);
      return admitted;
    },
  };

  /** A flight ready to wait, or the refusal that came first. */
  const enter = (
    request: AdmitRequest,
    now: number,
  ): { flight: Flight; pool: ModelPool } | Admission => {
    const pool = pools.get(request.model);
    const rank = bandRank(request.band);
    const refuseEarly = (
      reason: RefusalReason,
      retryAfterMs: number | null,
      account: string | null = null,
    ): Admission => {
      tell(() => observer.refused?.(request, reason));
      return toRefusal(reason, explainRefusal(reason), { retryAfterMs, account });
    };
    if (pool === undefined) return refuseEarly('model_unknown', null);
    if (draining || closed)
      return refuseEarly('draining', retryAfterOf(pool, rank, 'draining', now));
    pool.seen(rank, now);
    const prompt = toCost(request.promptTokens);
    const max = request.maxOutputTokens ?? null;
    const high = pool.outputs.high(max, now);
    if (!pool.couldFit(prompt + 1)) return refuseEarly('request_too_large', null);
    let reservation = null;
    const subjects = request.limits ?? NO_SUBJECTS;
    if (subjects.length > 0) {
      const result = limits.reserve(
        subjects,
        { inputTokens: prompt, outputTokens: max === null ? withinBurst(high, subjects) : high },
        now,
      );
      if (!result.ok) {
        const never = result.retryAfterMs === Number.POSITIVE_INFINITY;
        const reason =
          never && result.kind !== 'concurrency' && result.kind !== 'requests'
            ? 'request_too_large'
            : REASON_OF_LIMIT[result.kind];
        return refuseEarly(reason, never ? null : result.retryAfterMs, result.account);
      }
      reservation = result.reservation;
    }
    const expected = pool.outputs.expected(max, now);
    const flight = new Flight(owner, request, {
      rank,
      cost: weights.input * prompt + weights.output * expected,
      footprint: prompt + high,
      arrivedMs: now,
      reservation,
    });
    return { flight, pool };
  };

  /** Puts a flight into its queue; the refusal when it has no room. */
  const enqueue = (flight: Flight, pool: ModelPool, now: number): Admission | null => {
    const { request } = flight;
    const policy = policies[flight.rank] as BandPolicy;
    const patience = Math.min(
      request.deadlineMs ?? policy.ttlMs,
      pool.ready.length === 0 ? emptyPoolWaitMs : policy.ttlMs,
    );
    const result = pool.queue.offer(
      {
        value: flight,
        band: request.band,
        tenant: request.tenant,
        weight: request.weight ?? 1,
        cost: flight.cost,
        tokens: flight.footprint,
        bytes: request.bytes ?? 0,
        ...(request.ttftMs == null ? {} : { deadlineMs: now + request.ttftMs }),
        ...(patience < policy.ttlMs ? { expiresMs: now + Math.max(0, patience) } : {}),
      },
      now,
    );
    if (!result.ok) return refuse(flight, 'queue_full', now);
    flight.ticket = result.ticket;
    for (const victim of result.displaced) refuse(victim.value, 'displaced', now);
    return null;
  };

  /** Sends a flight at once when nothing waits and an endpoint has room; null when it would have to wait. */
  const sendNow = (flight: Flight, pool: ModelPool, now: number): Admission | null => {
    if (pool.queue.size > 0) return null;
    const capacity = pool.pick(flight, now);
    if (capacity === null) return null;
    // It passes through the queue all the same, so that fairness counts it.
    const refused = enqueue(flight, pool, now);
    if (refused !== null || flight.ticket === null) return refused;
    pool.queue.take(flight.ticket, now);
    pool.send(flight, capacity, now);
    return { ok: true, permit: flight };
  };

  const maybeSweep = (now: number): void => {
    if (live.size > 0 && now >= nextSweepMs) sweepLeaks(now);
  };

  const close = (): void => {
    if (closed) return;
    closed = true;
    draining = true;
    disarm?.();
    disarm = null;
    const now = nowMs();
    for (const pool of pools.values()) {
      for (const ticket of pool.queue.waiting()) {
        pool.queue.cancel(ticket, now);
        refuse(ticket.value, 'draining', now);
      }
    }
  };

  return {
    limits,
    get inFlight() {
      return live.size;
    },
    get waiting() {
      return waiting();
    },
    setModel: (model) => {
      const existing = pools.get(model.name);
      const targets = model.targets ?? null;
      if (existing !== undefined) {
        existing.retarget(model.band, targets);
        return;
      }
      pools.set(
        model.name,
        new ModelPool(model.name, host, {
          band: model.band,
          targets,
          tokensPerSecond: model.tokensPerSecond ?? null,
        }),
      );
    },
    removeModel: (name) => {
      const pool = pools.get(name);
      if (pool === undefined) return;
      const now = nowMs();
      for (const ticket of pool.queue.waiting()) {
        pool.queue.cancel(ticket, now);
        refuse(ticket.value, 'model_unknown', now);
      }
      // A model of the same name may come back; its queue must not be given this one's tickets.
      for (const flight of live) if (flight.model === name) flight.ticket = null;
      for (const id of pool.endpoints.keys()) capacities.delete(id);
      pools.delete(name);
    },
    setEndpoints: (model, endpoints) => {
      const pool = pools.get(model);
      if (pool === undefined) return;
      for (const id of pool.endpoints.keys()) capacities.delete(id);
      const replaced = pool.setEndpoints(endpoints);
      for (const [id, endpoint] of pool.endpoints) capacities.set(id, endpoint.capacity);
      if (replaced.size > 0) {
        for (const flight of live) {
          const next = flight.at === null ? undefined : replaced.get(flight.at);
          if (next === undefined) continue;
          next.acquire(flight.footprint);
          if (flight.state === 'streaming') next.streaming();
          flight.at = next;
        }
      }
      if (pool.queue.size > 0) schedule(pool);
    },
    observe: (endpoint, sample) => {
      capacities.get(endpoint)?.observe(sample, nowMs());
      for (const pool of pools.values()) {
        if (pool.queue.size > 0 && pool.endpoints.has(endpoint)) schedule(pool);
      }
    },
    suspend: (endpoint, ms) => {
      capacities.get(endpoint)?.suspend(nowMs() + ms);
      // What waits must be looked at when the suspension ends.
      for (const pool of pools.values()) {
        if (pool.queue.size > 0 && pool.endpoints.has(endpoint)) schedule(pool);
      }
    },
    admit: (request, { signal } = {}) => {
      const now = nowMs();
      maybeSweep(now);
      const entered = enter(request, now);
      if ('ok' in entered) return Promise.resolve(entered);
      const { flight, pool } = entered;
      if (signal?.aborted) return Promise.resolve(refuse(flight, 'cancelled', now));
      if (pool.ready.length === 0 && emptyPoolWaitMs <= 0) {
        return Promise.resolve(refuse(flight, 'no_endpoint', now));
      }
      const sent = sendNow(flight, pool, now);
      if (sent !== null) return Promise.resolve(sent);
      const refused = enqueue(flight, pool, now);
      if (refused !== null) return Promise.resolve(refused);
      const admitted = wait(flight, signal);
      schedule(pool);
      return admitted;
    },
    tryAdmit: (request) => {
      const now = nowMs();
      maybeSweep(now);
      const pool = pools.get(request.model);
      // Whether it would wait is asked first, so that a null costs the tenant nothing.
      if (pool !== undefined && !draining && !closed && pool.queue.size > 0) return null;
      const entered = enter(request, now);
      if ('ok' in entered) return entered;
      const sent = sendNow(entered.flight, entered.pool, now);
      if (sent !== null) return sent;
      entered.flight.state = 'ended';
      entered.flight.reservation?.cancel();
      entered.flight.reservation = null;
      return null;
    },
    report: () => {
      const now = nowMs();
      return [...pools.values()].map((pool) => {
        const slo = new Map(pool.trackers());
        return {
          model: pool.name,
          band: pool.band,
          endpoints: [...pool.endpoints.values()].map(({ spec, capacity, ready }) => ({
            id: spec.id,
            ready,
            inFlight: capacity.inFlight,
            inFlightTokens: capacity.inFlightTokens,
            limit: capacity.limit,
            saturation: capacity.saturation(now),
          })),
          bands: policies.map((_, rank) => {
            const band = bandOfRank(rank);
            return {
              band,
              ...pool.queue.depth(band),
              predictedWaitMs: pool.predictedWaitMs(rank),
              slo: slo.get(band)?.report(now) ?? null,
            };
          }),
        };
      });
    },
    drain: () => {
      draining = true;
      const now = nowMs();
      for (const pool of pools.values()) {
        for (const ticket of pool.queue.waiting()) {
          if (ticket.value.band !== 'best_effort') continue;
          pool.queue.cancel(ticket, now);
          refuse(ticket.value, 'draining', now);
        }
      }
      if (live.size === 0 && waiting() === 0) return Promise.resolve();
      return new Promise((resolve) => idleWaiters.push(resolve));
    },
    close,
    [Symbol.dispose]: close,
  };
}

/** An expected answer cut to what the accounts can hold at once: a guess alone must not make a request impossible. */
function withinBurst(tokens: number, subjects: readonly LimitSubject[]): number {
  let most = tokens;
  for (const { limits } of subjects) {
    if (limits.outputTokensPerMinute === null) continue;
    most = Math.min(most, limits.outputTokensPerMinute * (limits.burst ?? 1));
  }
  return Math.max(0, most);
}
