/**
 * Everything about one model: its queue, its endpoints, what its answers usually cost, and how it does against its
 * targets. Owns the dispatch of one model; limits, timers and other models are the qos object's.
 */
import type { Band } from '@aim-gpu/core';
import type { RefusalReason } from '../admission.js';
import { type BandPolicy, bandOfRank, bandRank, type LatencyTargets } from '../bands.js';
import { type Brownout, createBrownout } from '../brownout.js';
import type { BurstPool } from '../burst-pool.js';
import type { EndpointCapacity, EndpointSpec } from '../endpoint-capacity.js';
import { createQueueCore } from '../fair-queue.js';
import type { FairQueueOptions } from '../fair-queue-interface.js';
import { createOutputEstimate, type OutputEstimate } from '../output-estimate.js';
import { createReservations, type Reservations } from '../reservations.js';
import type { Flight } from './flight.js';
import { GUARDED_RANK } from './group-guards.js';
import { PoolBands } from './pool-bands.js';
import { type PoolEndpoint, PoolEndpoints } from './pool-endpoints.js';
import { PoolWaits } from './pool-waits.js';
import { turnByPrefix } from './prefix-turn.js';
import { PromptPace } from './prompt-pace.js';
import { ALL_BANDS, type QueueCore } from './queue-core.js';
import type { TenantLane } from './tenant-lane.js';

/** How often a queue before idle endpoints, or one that a guard or reservation holds, is looked at. */
const LOOK_AGAIN_MS = 250;
/** From this band on, device groups and brown-outs hold back. */
const HELD_BACK_RANK: number = bandRank('batch');

/** What a pool needs of the qos object. */
export interface PoolHost {
  readonly policies: readonly BandPolicy[];
  readonly queue: FairQueueOptions;
  readonly freshMs: number | undefined;
  /** Share of an endpoint that a band may fill now, for reasons beyond the model itself. */
  ceiling(rank: number, capacity: EndpointCapacity, nowMs: number): number;
  granted(flight: Flight, nowMs: number): void;
  refuse(flight: Flight, reason: RefusalReason, nowMs: number): void;
  /** Whether streams may be stopped for a flight that has waited for a while. */
  readonly preemptStreams: boolean;
  /** Makes room for a blocked flight by stopping lower ones; true when some is free at once. */
  preempt(flight: Flight, pool: ModelPool, nowMs: number): boolean;
}

export class ModelPool {
  readonly name: string;
  band: Band;
  readonly bands: PoolBands;
  readonly queue: QueueCore<Flight>;
  readonly outputs: OutputEstimate = createOutputEstimate();
  readonly waits: PoolWaits;
  readonly pace: PromptPace = new PromptPace();
  readonly reservations: Reservations = createReservations();
  readonly brownout: Brownout;
  readonly burst: BurstPool | null;
  readonly #host: PoolHost;
  readonly #endpoints: PoolEndpoints;

  constructor(
    name: string,
    host: PoolHost,
    model: {
      band: Band;
      targets: LatencyTargets | null;
      tokensPerSecond: number | null;
      burst: BurstPool | null;
    },
  ) {
    this.name = name;
    this.#host = host;
    this.band = model.band;
    this.burst = model.burst;
    this.bands = new PoolBands(host.policies, model.band, model.targets);
    this.queue = createQueueCore<Flight>({
      ...host.queue,
      debtCap: (band, weight) => this.waits.debtCap(bandRank(band), weight),
    });
    this.waits = new PoolWaits(this.queue, this.bands, model.tokensPerSecond);
    this.#endpoints = new PoolEndpoints(host.freshMs, {
      least: (rank, turn, capacity, nowMs) =>
        this.#held(rank, turn, capacity, this.bands.leastShare(turn, nowMs), nowMs),
      most: (rank, turn, capacity, nowMs) => this.ceiling(rank, turn, capacity, nowMs),
    });
    this.brownout = createBrownout({ guarded: () => this.bands.guardedTrackers() });
  }

  get endpoints(): ReadonlyMap<string, PoolEndpoint> {
    return this.#endpoints.all;
  }

  get ready(): readonly PoolEndpoint[] {
    return this.#endpoints.ready;
  }

  /** Requests that wait. */
  get waiting(): number {
    return this.queue.count;
  }

  /** Replaces the endpoints; what is in flight stays where it is. Returns the capacities that were replaced. */
  setEndpoints(
    specs: readonly (EndpointSpec & { readonly ready: boolean })[],
  ): ReadonlyMap<EndpointCapacity, EndpointCapacity> {
    return this.#endpoints.set(specs);
  }

  /** Share of the model that is in use. */
  saturation(nowMs: number): number {
    return this.#endpoints.saturation(nowMs);
  }

  /** Whether any endpoint could ever hold so many tokens; true while there is none to ask. */
  couldFit(tokens: number): boolean {
    return this.#endpoints.couldFit(tokens);
  }

  /** Least full endpoint that may take the flight now; null when none may. */
  pick(flight: Flight, nowMs: number, turn: number = flight.rank): EndpointCapacity | null {
    if (this.reservations.size > 0 && !this.#mayUse(flight, nowMs)) return null;
    const isPaced = flight.rank > GUARDED_RANK && this.bands.isGuarded(nowMs);
    return this.#endpoints.pick(flight, turn, isPaced ? this.pace.budgetTokens : null, nowMs);
  }

  /**
   * Share of an endpoint that a band may fill at the turn of one as urgent or more: only what co-tenants need is kept
   * from it then, not what is kept for the band whose turn it is.
   */
  ceiling(rank: number, turn: number, capacity: EndpointCapacity, nowMs: number): number {
    const left = this.bands.holdback(turn, capacity, this.ready.length, nowMs);
    return this.#held(rank, turn, capacity, left, nowMs);
  }

  /** Sends what may be sent, most urgent first. A blocked band blocks only the bands below it. */
  pump(nowMs: number): void {
    let allowed = ALL_BANDS;
    while (allowed !== 0) {
      let flight = this.queue.next(nowMs, allowed);
      if (flight === null) break;
      const turn = this.queue.turnOf(flight.rank);
      let capacity = this.pick(flight, nowMs, turn);
      if (capacity !== null && this.ready.length > 1)
        flight = this.#byPrefix(flight, turn, capacity, nowMs);
      if (capacity === null && flight.rank <= GUARDED_RANK && this.bands.hasLower(flight.rank)) {
        if (this.#host.preempt(flight, this, nowMs)) capacity = this.pick(flight, nowMs);
      }
      if (capacity === null) {
        if (this.reservations.size > 0 && this.#sendReserved(flight.rank, nowMs)) continue;
        allowed &= (1 << flight.rank) - 1;
        continue;
      }
      this.queue.take(flight, flight.lane as TenantLane, nowMs);
      flight.isOwed = turn < flight.rank;
      this.send(flight, capacity, nowMs);
    }
    if (this.queue.count === 0) this.waits.drain.emptied(nowMs);
  }

  /** Marks a taken flight as sent to an endpoint. */
  send(flight: Flight, capacity: EndpointCapacity, nowMs: number): void {
    const { footprint, rank } = flight;
    const state = this.bands.of(rank);
    capacity.acquire(footprint);
    if (this.reservations.size > 0) flight.hold = this.reservations.hold(flight.request, footprint);
    state.inFlight += 1;
    flight.sent(capacity, nowMs);
    if (rank > GUARDED_RANK) {
      const prompt = flight.promptSize;
      flight.unreadAt = this.endpoints.get(capacity.id)?.backlog ?? null;
      flight.unreadAt?.add(prompt, this.pace.prefillMs(prompt), nowMs);
    }
    this.waits.left(flight, nowMs);
    state.served.add(footprint, nowMs);
    state.weighed(flight.cost, footprint);
    this.#host.granted(flight, nowMs);
  }

  /** Takes note that a flight has left its endpoint. */
  left(flight: Flight): void {
    flight.wasRead();
    const state = this.bands.of(flight.rank);
    state.inFlight = Math.max(0, state.inFlight - 1);
    flight.hold?.end();
    flight.hold = null;
  }

  /** Refuses what has waited too long. */
  expire(nowMs: number): void {
    const reason = this.ready.length === 0 ? 'no_endpoint' : 'queue_timeout';
    for (const flight of this.queue.expire(nowMs)) this.#host.refuse(flight, reason, nowMs);
  }

  /** When what waits should be looked at although nothing has happened; Infinity when only an event can help. */
  lookAgainMs(nowMs: number): number {
    if (this.queue.count === 0) return Number.POSITIVE_INFINITY;
    const isIdle = !this.ready.some((endpoint) => endpoint.capacity.inFlight > 0);
    // What a guard, a brown-out or a reservation holds back comes free by time alone.
    const isHeld =
      this.reservations.size > 0 ||
      (this.#host.preemptStreams && this.queue.tokensAhead(GUARDED_RANK) > 0) ||
      this.brownout.active(nowMs) ||
      this.ready.some(({ capacity }) => this.#host.ceiling(HELD_BACK_RANK, capacity, nowMs) < 1);
    let soonest = this.bands.holdbackEndsMs(nowMs);
    if (isIdle || isHeld) soonest = Math.min(soonest, nowMs + LOOK_AGAIN_MS);
    for (const { capacity, backlog } of this.ready) {
      soonest = Math.min(soonest, capacity.opensByItselfMs(nowMs), backlog.opensByItselfMs(nowMs));
    }
    return soonest;
  }

  /** Takes another band and targets; ended requests keep the verdict they had. */
  retarget(band: Band, targets: LatencyTargets | null): void {
    this.band = band;
    this.bands.retarget(band, targets);
  }

  /** The room kept for a tenant is of use only if it may pass those for whom it is not. */
  #sendReserved(rank: number, nowMs: number): boolean {
    for (const tenant of this.reservations.tenants) {
      const flight = this.queue.firstOf(rank, tenant);
      const capacity = flight === null ? null : this.pick(flight, nowMs);
      if (flight === null || capacity === null) continue;
      this.queue.take(flight, flight.lane as TenantLane, nowMs);
      this.send(flight, capacity, nowMs);
      return true;
    }
    return false;
  }

  #byPrefix(first: Flight, turn: number, capacity: EndpointCapacity, nowMs: number): Flight {
    const { targets, policy } = this.bands.of(first.rank);
    const timeMs = targets.ttftMs ?? policy.ttlMs;
    const mayGo = (flight: Flight): boolean => this.pick(flight, nowMs, turn) === capacity;
    return turnByPrefix(first, capacity.id, { nowMs, timeMs }, mayGo);
  }

  #held(
    rank: number,
    turn: number,
    capacity: EndpointCapacity,
    left: number,
    nowMs: number,
  ): number {
    const own = Math.min(left, this.#host.ceiling(rank, capacity, nowMs));
    if (!isHeldBack(turn)) return own;
    return Math.min(own, this.brownout.ceiling(bandOfRank(turn), nowMs));
  }

  #mayUse(flight: Flight, nowMs: number): boolean {
    const room = this.#endpoints.room();
    return this.reservations.mayStart(flight.request, flight.footprint, room, nowMs);
  }
}

/** Whether device groups and brown-outs hold back a band of this rank. */
export function isHeldBack(rank: number): boolean {
  return rank >= HELD_BACK_RANK;
}
