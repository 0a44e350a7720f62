/**
 * Everything about one model: its queue, its endpoints, what its answers usually cost, and how it does against its
 * targets. Owns the dispatch of one model; limits, timers and other models are the qos object's.
 */
import { BANDS, type Band } from '@aim-gpu/core';
import type { Admission, Refusal, RefusalReason } from '../admission.js';
import { type BandPolicy, bandOfRank, bandRank, type LatencyTargets } from '../bands.js';
import { createDrainRate, type DrainRate } from '../drain-rate.js';
import {
  createEndpointCapacity,
  type EndpointCapacity,
  type EndpointSpec,
} from '../endpoint-capacity.js';
import { createFairQueue, type FairQueue, type FairQueueOptions } from '../fair-queue.js';
import { createOutputEstimate, type OutputEstimate } from '../output-estimate.js';
import { createRetryAfterTracker, type RetryAfterTracker } from '../retry-after.js';
import { createSloTracker, type SloTracker } from '../slo-tracker.js';
import type { Flight } from './flight.js';

/** Holdback of lower bands ends this long after a higher band was last seen. */
const HOLDBACK_MEMORY_MS = 10_000;
/** An endpoint with the prompt's prefix is preferred while it is not fuller than the best by more than this. */
const AFFINITY_MARGIN = 0.25;
/** How often a queue before idle endpoints is looked at. */
const IDLE_CHECK_MS = 250;
const ALL_BANDS = (1 << BANDS.length) - 1;

/** An endpoint and whether it takes new requests. */
export interface PoolEndpoint {
  readonly spec: EndpointSpec;
  readonly capacity: EndpointCapacity;
  readonly ready: boolean;
}

/** What a pool needs of the qos object. */
export interface PoolHost {
  readonly policies: readonly BandPolicy[];
  readonly queue: FairQueueOptions;
  readonly freshMs: number | undefined;
  /** Share of an endpoint that a band may fill now, for reasons beyond the model itself. */
  ceiling(rank: number, capacity: EndpointCapacity, nowMs: number): number;
  granted(flight: Flight, nowMs: number): void;
  refuse(flight: Flight, reason: RefusalReason, nowMs: number): void;
}

export class ModelPool {
  readonly name: string;
  band: Band;
  targets: LatencyTargets | null;
  readonly queue: FairQueue<Flight>;
  readonly outputs: OutputEstimate = createOutputEstimate();
  readonly drain: DrainRate;
  readonly #host: PoolHost;
  readonly #endpoints: Map<string, PoolEndpoint> = new Map();
  #ready: PoolEndpoint[] = [];
  readonly #trackers: (SloTracker | undefined)[] = [];
  readonly #retryAfter: RetryAfterTracker[] = BANDS.map(() => createRetryAfterTracker());
  readonly #seenMs: number[] = BANDS.map(() => Number.NEGATIVE_INFINITY);

  constructor(
    name: string,
    host: PoolHost,
    model: { band: Band; targets: LatencyTargets | null; tokensPerSecond: number | null },
  ) {
    this.name = name;
    this.#host = host;
    this.band = model.band;
    this.targets = model.targets;
    this.drain = createDrainRate(model.tokensPerSecond);
    this.queue = createFairQueue<Flight>(host.queue);
  }

  get endpoints(): ReadonlyMap<string, PoolEndpoint> {
    return this.#endpoints;
  }

  get ready(): readonly PoolEndpoint[] {
    return this.#ready;
  }

  /** Replaces the endpoints; what is in flight stays where it is. Returns the capacities that were replaced. */
  setEndpoints(
    specs: readonly (EndpointSpec & { readonly ready: boolean })[],
  ): ReadonlyMap<EndpointCapacity, EndpointCapacity> {
    const replaced = new Map<EndpointCapacity, EndpointCapacity>();
    const before = new Map(this.#endpoints);
    this.#endpoints.clear();
    for (const spec of specs) {
      const old = before.get(spec.id);
      const same =
        old !== undefined &&
        old.spec.maxSeqs === spec.maxSeqs &&
        old.spec.kvCapacityTokens === spec.kvCapacityTokens &&
        (old.spec.group ?? null) === (spec.group ?? null);
      const capacity = same
        ? old.capacity
        : createEndpointCapacity(
            spec,
            this.#host.freshMs === undefined ? {} : { freshMs: this.#host.freshMs },
          );
      if (old !== undefined && !same) replaced.set(old.capacity, capacity);
      this.#endpoints.set(spec.id, { spec, capacity, ready: spec.ready });
    }
    this.#ready = [...this.#endpoints.values()].filter((endpoint) => endpoint.ready);
    return replaced;
  }

  /** Takes note that a band asked for this model. */
  seen(rank: number, nowMs: number): void {
    this.#seenMs[rank] = nowMs;
  }

  tracker(rank: number): SloTracker {
    let tracker = this.#trackers[rank];
    if (tracker === undefined) {
      tracker = createSloTracker(this.#targetsOf(rank));
      this.#trackers[rank] = tracker;
    }
    return tracker;
  }

  /** Trackers that have been used. */
  trackers(): readonly (readonly [Band, SloTracker])[] {
    return this.#trackers.flatMap((tracker, rank) =>
      tracker === undefined ? [] : [[bandOfRank(rank), tracker] as const],
    );
  }

  retryAfter(rank: number): RetryAfterTracker {
    return this.#retryAfter[rank] as RetryAfterTracker;
  }

  /** Predicted wait of a newcomer in a band, in milliseconds; 0 with nothing ahead, null when not known. */
  predictedWaitMs(rank: number): number | null {
    const ahead = this.queue.tokensAhead(bandOfRank(rank));
    if (ahead === 0) return 0;
    const rate = this.drain.tokensPerSecond();
    return rate === null || rate <= 0 ? null : (ahead / rate) * 1000;
  }

  /** Whether any endpoint could ever hold so many tokens; true while there is none to ask. */
  couldFit(tokens: number): boolean {
    if (this.#ready.length === 0) return true;
    return this.#ready.some((endpoint) => endpoint.capacity.couldFit(tokens));
  }

  /** Least full endpoint that may take the flight now; null when none may. */
  pick(flight: Flight, nowMs: number): EndpointCapacity | null {
    let best: EndpointCapacity | null = null;
    let bestScore = Number.POSITIVE_INFINITY;
    let near: EndpointCapacity | null = null;
    let nearScore = Number.POSITIVE_INFINITY;
    const affinity = flight.request.affinity ?? null;
    const holdback = this.#holdback(flight.rank, nowMs);
    for (const { capacity } of this.#ready) {
      const ceiling = Math.min(holdback, this.#host.ceiling(flight.rank, capacity, nowMs));
      if (!capacity.fits(flight.footprint, ceiling, nowMs)) continue;
      // The one that just failed is last, but still better than none: its socket may have been merely stale.
      const score = capacity.saturation(nowMs) + (capacity.id === flight.avoid ? 1e6 : 0);
      if (score < bestScore) {
        best = capacity;
        bestScore = score;
      }
      if (capacity.id === affinity) {
        near = capacity;
        nearScore = score;
      }
    }
    return near !== null && nearScore <= bestScore + AFFINITY_MARGIN ? near : best;
  }

  /** Sends what may be sent, most urgent first. A blocked band blocks only the bands below it. */
  pump(nowMs: number): void {
    let allowed = ALL_BANDS;
    while (allowed !== 0) {
      const ticket = this.queue.next(nowMs, allowed);
      if (ticket === null) break;
      const flight = ticket.value;
      const capacity = this.pick(flight, nowMs);
      if (capacity === null) {
        allowed &= (1 << flight.rank) - 1;
        continue;
      }
      this.queue.take(ticket, nowMs);
      this.send(flight, capacity, nowMs);
    }
    if (this.queue.size === 0) this.drain.emptied(nowMs);
  }

  /** Marks a taken flight as sent to an endpoint. */
  send(flight: Flight, capacity: EndpointCapacity, nowMs: number): void {
    capacity.acquire(flight.footprint);
    flight.at = capacity;
    flight.state = 'sent';
    flight.grantedMs = nowMs;
    flight.waitedMs = nowMs - flight.arrivedMs;
    flight.activeMs = nowMs;
    this.drain.dispatched(flight.footprint, this.queue.size > 0, nowMs);
    this.#host.granted(flight, nowMs);
  }

  /** Refuses what has waited too long. */
  expire(nowMs: number): void {
    for (const ticket of this.queue.expire(nowMs)) {
      this.#host.refuse(
        ticket.value,
        this.#ready.length === 0 ? 'no_endpoint' : 'queue_timeout',
        nowMs,
      );
    }
  }

  /** When what waits should be looked at although nothing has happened; Infinity when only an event can help. */
  lookAgainMs(nowMs: number): number {
    if (this.queue.size === 0) return Number.POSITIVE_INFINITY;
    const isIdle = !this.#ready.some((endpoint) => endpoint.capacity.inFlight > 0);
    let soonest = isIdle ? nowMs + IDLE_CHECK_MS : Number.POSITIVE_INFINITY;
    for (const { capacity } of this.#ready) {
      soonest = Math.min(soonest, capacity.opensByItselfMs(nowMs));
    }
    // The end of a holdback gives lower bands room without any event.
    for (const seenMs of this.#seenMs) {
      const endsMs = seenMs + HOLDBACK_MEMORY_MS + 1;
      if (endsMs > nowMs) soonest = Math.min(soonest, endsMs);
    }
    return soonest;
  }

  /** Takes another band and targets; ended requests keep the verdict they had. */
  retarget(band: Band, targets: LatencyTargets | null): void {
    this.band = band;
    this.targets = targets;
    this.#trackers.forEach((tracker, rank) => {
      tracker?.retarget(this.#targetsOf(rank));
    });
  }

  #targetsOf(rank: number): LatencyTargets {
    // Who asks for less than standard wants throughput, not the model's latency.
    const isOwn = rank <= Math.max(bandRank(this.band), bandRank('standard'));
    if (isOwn && this.targets !== null) return this.targets;
    return (this.#host.policies[rank] as BandPolicy).targets;
  }

  #holdback(rank: number, nowMs: number): number {
    const policy = this.#host.policies[rank] as BandPolicy;
    if (policy.ceiling >= 1) return policy.ceiling;
    for (let higher = 0; higher < rank; higher += 1) {
      if (nowMs - (this.#seenMs[higher] as number) <= HOLDBACK_MEMORY_MS) return policy.ceiling;
    }
    // Nobody above wants the room, so keeping it free would only waste the engine.
    return 1;
  }
}

/** Builds the value of a refusal. */
export function toRefusal(
  reason: RefusalReason,
  message: string,
  rest: { retryAfterMs: number | null; account?: string | null; queueMs?: number },
): Refusal {
  return {
    ok: false,
    reason,
    message,
    retryAfterMs: rest.retryAfterMs,
    account: rest.account ?? null,
    queueMs: rest.queueMs ?? 0,
  };
}

/** Resolves a flight's promise once, and drops the caller's abort listener. */
export function resolveFlight(flight: Flight, admission: Admission): void {
  if (flight.onAbort !== null) flight.signalOfCaller?.removeEventListener('abort', flight.onAbort);
  flight.onAbort = null;
  flight.signalOfCaller = null;
  const resolve = flight.resolve;
  flight.resolve = null;
  resolve?.(admission);
}
