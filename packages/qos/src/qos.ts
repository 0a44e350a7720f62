/**
 * The composition of every piece into one object that admits requests: limits, then whether to wait, then the model's
 * queue, then an endpoint. Owns models and endpoints; single-writer, so it must only ever be called from one thread.
 */
import { silentLogger, systemRng } from '@aim-gpu/core';
import { bandOfRank, bandRank, toBandPolicies } from './bands.js';
import { createBurstPool } from './burst-pool.js';
import type { EndpointCapacity } from './endpoint-capacity.js';
import { Admissions } from './internal/admissions.js';
import { resolveFlight } from './internal/answers.js';
import { type QosContext, waitingIn } from './internal/context.js';
import { Dispatcher } from './internal/dispatcher.js';
import { Entrance } from './internal/entrance.js';
import type { Flight, FlightOwner } from './internal/flight.js';
import { GroupGuards, GUARDED_RANK } from './internal/group-guards.js';
import { LiveFlights } from './internal/live-flights.js';
import { isHeldBack, ModelPool, type PoolHost } from './internal/model-pool.js';
import { ObserverGuard } from './internal/observer-guard.js';
import { Preemptor } from './internal/preemptor.js';
import { Refusals } from './internal/refusals.js';
import {
  guardedTpotMs,
  restoreLimits,
  restoreModel,
  toDemand,
  toReport,
  toSnapshot,
} from './internal/reports.js';
import { Settlement } from './internal/settlement.js';
import { createLimits } from './limits.js';
import type { Qos, QosOptions } from './qos-interface.js';
import type { ModelSnapshot } from './qos-snapshot.js';

const EMPTY_POOL_WAIT_MS = 2_000;
const LEAK_AFTER_MS = 600_000;
const MAX_RETRIES = 1;
const MAX_PREEMPTIONS = 2;
const RAMP_MS = 10_000;
/** What of an endpoint is filled right after a restore: engines may still work for the process that died. */
const RAMP_START = 0.25;

/** Makes an empty qos object; give it models and endpoints, then admit. */
export function createQos(options: QosOptions): Qos {
  const logger = options.logger ?? silentLogger;
  const rampMs = options.rampMs ?? RAMP_MS;
  const context: QosContext = {
    clock: options.clock,
    rng: options.rng ?? systemRng,
    logger,
    observer: new ObserverGuard(options.observer ?? {}, logger),
    policies: toBandPolicies(options.bands),
    weights: options.tokenWeights ?? { input: 1, output: 2 },
    emptyPoolWaitMs: options.emptyPoolWaitMs ?? EMPTY_POOL_WAIT_MS,
    leakAfterMs: options.leakAfterMs ?? LEAK_AFTER_MS,
    maxRetries: options.maxRetries ?? MAX_RETRIES,
    maxPreemptions: options.maxPreemptions ?? MAX_PREEMPTIONS,
    preemptStreams: options.preemptStreams ?? false,
    pools: new Map(),
    capacities: new Map(),
    guards: new GroupGuards(),
    limits: createLimits(),
    live: new LiveFlights(),
    draining: false,
    closed: false,
    rampEndsMs: Number.NEGATIVE_INFINITY,
  };
  const { pools, capacities, guards, live } = context;
  /** What a snapshot holds for models that are not there yet. */
  const remembered = new Map<string, { readonly model: ModelSnapshot; readonly takenMs: number }>();
  let idleWaiters: (() => void)[] = [];
  const nowMs = (): number => context.clock.monoMs();

  const rest = (): void => {
    if (idleWaiters.length === 0 || live.size > 0 || waitingIn(context) > 0) return;
    const resolvers = idleWaiters;
    idleWaiters = [];
    for (const resolve of resolvers) resolve();
  };
  const refusals = new Refusals(context, rest);
  const settlement = new Settlement(context, (pool) => {
    if (pool !== undefined && pool.queue.count > 0) dispatcher.schedule(pool);
    rest();
  });
  const finish = (flight: Flight, outcome: Parameters<FlightOwner['ended']>[1]): void => {
    const now = nowMs();
    if (flight.state === 'stopping') preemptor.gone(flight, now);
    settlement.finish(flight, outcome, now);
  };
  const dispatcher = new Dispatcher(context, (flight) => finish(flight, 'failed'), rest);
  const preemptor = new Preemptor(context, (flight) => settlement.giveBack(flight));

  const ramp = (now: number): number => {
    const left = context.rampEndsMs - now;
    return left <= 0 ? 1 : 1 - (1 - RAMP_START) * Math.min(1, left / rampMs);
  };
  const host: PoolHost = {
    policies: context.policies,
    queue: {
      ...(options.order === undefined ? {} : { order: options.order }),
      ...(options.bands === undefined ? {} : { bands: options.bands }),
      ...(options.perBand === undefined ? {} : { perBand: options.perBand }),
      ...(options.total === undefined ? {} : { total: options.total }),
    },
    freshMs: options.freshMs,
    ceiling: (rank, capacity, now) => {
      const share = ramp(now);
      if (!isHeldBack(rank)) return share;
      return guards.of(capacity).ceiling(bandOfRank(rank), now) * share;
    },
    granted: (flight) => {
      live.add(flight);
      context.observer.granted(flight.request, flight.queueMs);
      if (flight.resolve !== null) resolveFlight(flight, flight);
    },
    refuse: (flight, reason, now) => {
      refusals.refuse(flight, reason, now);
    },
    preemptStreams: context.preemptStreams,
    preempt: (flight, pool, now) => preemptor.preempt(flight, pool, now),
  };

  const owner: FlightOwner = {
    nowMs,
    began: (flight) => {
      flight.at?.streaming();
      const pool = flight.wasRead() ? pools.get(flight.model) : undefined;
      if (pool !== undefined && pool.queue.count > 0) dispatcher.schedule(pool);
    },
    ended: finish,
    again: (flight, signal) => admissions.again(flight, signal),
    tempo: (flight, tpotMs, now) => settlement.tempo(flight, tpotMs, now),
  };
  const entrance = new Entrance(context, refusals, owner);

  const admissions = new Admissions(context, { entrance, refusals, settlement, dispatcher });

  /** What waits must be looked at when an endpoint's picture has changed. */
  const changed = (endpoint: string): void => {
    for (const pool of pools.values()) {
      if (pool.queue.count > 0 && pool.endpoints.has(endpoint)) dispatcher.schedule(pool);
    }
  };
  /** Cancels and refuses everything that waits and is asked for. */
  const refuseWaiting = (
    pool: ModelPool,
    reason: 'draining' | 'model_unknown',
    which: (flight: Flight) => boolean = () => true,
  ): void => {
    const now = nowMs();
    for (const flight of pool.queue.waiting()) {
      if (flight.lane === null || !which(flight)) continue;
      pool.queue.remove(flight, flight.lane, now);
      refusals.refuse(flight, reason, now);
    }
  };
  const adopt = (replaced: ReadonlyMap<EndpointCapacity, EndpointCapacity>): void => {
    if (replaced.size === 0) return;
    for (const flight of live.list()) {
      const next = flight.at === null ? undefined : replaced.get(flight.at);
      if (next === undefined) continue;
      next.acquire(flight.footprint);
      if (flight.hasBegun) next.streaming();
      flight.at = next;
    }
  };
  const close = (): void => {
    if (context.closed) return;
    context.closed = true;
    context.draining = true;
    dispatcher.close();
    for (const pool of pools.values()) refuseWaiting(pool, 'draining');
  };

  return {
    limits: context.limits,
    get inFlight() {
      return live.size;
    },
    get waiting() {
      return waitingIn(context);
    },
    setModel: (model) => {
      const { name, band } = model;
      const targets = model.targets ?? null;
      const existing = pools.get(name);
      if (existing !== undefined) {
        existing.retarget(band, targets);
        return;
      }
      const tokensPerSecond = model.tokensPerSecond ?? null;
      const burst = options.burstPool === undefined ? null : createBurstPool(options.burstPool);
      const pool = new ModelPool(name, host, { band, targets, tokensPerSecond, burst });
      pools.set(name, pool);
      const memory = remembered.get(name);
      if (memory === undefined) return;
      const now = nowMs();
      restoreModel(pool, memory.model, now - memory.takenMs, now);
    },
    removeModel: (name) => {
      const pool = pools.get(name);
      if (pool === undefined) return;
      refuseWaiting(pool, 'model_unknown');
      // A model of the same name may come back; its queue must not be given this one's tickets.
      for (const flight of live.list()) if (flight.model === name) flight.lane = null;
      for (const id of pool.endpoints.keys()) capacities.delete(id);
      pools.delete(name);
      remembered.delete(name);
      entrance.forget(pool);
      preemptor.forget(name);
      guards.keep(capacities.values());
    },
    setEndpoints: (model, endpoints) => {
      const pool = pools.get(model);
      if (pool === undefined) return;
      for (const id of pool.endpoints.keys()) capacities.delete(id);
      const known = new Set(pool.endpoints.keys());
      adopt(pool.setEndpoints(endpoints));
      for (const [id, endpoint] of pool.endpoints) capacities.set(id, endpoint.capacity);
      const memory = remembered.get(model);
      if (memory !== undefined && known.size === 0) restoreLimits(pool, memory.model);
      guards.keep(capacities.values());
      if (pool.queue.count > 0) dispatcher.schedule(pool);
    },
    setReservations: (model, reservations) => {
      const pool = pools.get(model);
      pool?.reservations.set(reservations);
      if (pool !== undefined && pool.queue.count > 0) dispatcher.schedule(pool);
    },
    observe: (endpoint, sample) => {
      const capacity = capacities.get(endpoint);
      if (capacity === undefined) return;
      const now = nowMs();
      const tpotMs = capacity.observe(sample, now);
      for (const pool of pools.values()) {
        if (tpotMs === null || !pool.endpoints.has(endpoint)) continue;
        const target = guardedTpotMs(pool);
        const isBreach = target !== null && guards.of(capacity).tempo(tpotMs, target, now);
        if (isBreach && pool.bands.hasLower(GUARDED_RANK)) capacity.slow(now, 0);
      }
      changed(endpoint);
    },
    suspend: (endpoint, ms) => {
      capacities.get(endpoint)?.suspend(nowMs() + ms);
      changed(endpoint);
    },
    admit: (request, options) => admissions.admit(request, options?.signal),
    tryAdmit: (request) => admissions.tryAdmit(request),
    predictedWaitMs: ({ model, band, tenant, weight }) =>
      pools.get(model)?.waits.predictedMs(bandRank(band), tenant, weight) ?? null,
    report: () => toReport(context, nowMs()),
    demand: () => toDemand(context, nowMs()),
    snapshot: () => toSnapshot(context, nowMs(), context.clock.epochMs()),
    restore: (snapshot) => {
      const now = nowMs();
      // A wall clock that was set back makes a snapshot look young, never older than it is.
      const agoMs = Math.max(0, context.clock.epochMs() - snapshot.takenAtMs);
      context.limits.restore(snapshot.accounts, now, agoMs);
      context.rampEndsMs = now + rampMs;
      for (const model of snapshot.models) {
        remembered.set(model.model, { model, takenMs: now - agoMs });
        const pool = pools.get(model.model);
        if (pool !== undefined) restoreModel(pool, model, agoMs, now);
      }
    },
    drain: () => {
      context.draining = true;
      for (const pool of pools.values()) {
        refuseWaiting(pool, 'draining', (flight) => flight.band === 'best_effort');
      }
      if (live.size === 0 && waitingIn(context) === 0) return Promise.resolve();
      return new Promise((resolve) => idleWaiters.push(resolve));
    },
    close,
    [Symbol.dispose]: close,
  };
}
