/**
 * The endpoints of one model and which of them takes a request. Owns the choice among gates; how far a band may fill a
 * gate is told by the caller.
 */
import {
  createEndpointCapacity,
  type EndpointCapacity,
  type EndpointSpec,
} from '../endpoint-capacity.js';
import type { SharedRoom } from '../reservations.js';
import type { Flight } from './flight.js';
import { PromptBacklog } from './prompt-pace.js';

/** An endpoint with the prompt's prefix is preferred while it is not fuller than the best by more than this. */
const AFFINITY_MARGIN = 0.25;
/** The endpoint that just failed is last, but still better than none: its socket may have been merely stale. */
const FAILED_PENALTY = 1e6;

/** An endpoint and whether it takes new requests. */
export interface PoolEndpoint {
  readonly spec: EndpointSpec;
  readonly capacity: EndpointCapacity;
  /** Of lower bands. */
  readonly backlog: PromptBacklog;
  readonly ready: boolean;
}

/** Share of an endpoint that a band may fill now, 0 to 1. */
type CeilingOf = (rank: number, turn: number, capacity: EndpointCapacity, nowMs: number) => number;

/** How far a band may fill an endpoint: what it may in any case, and what it may at most, which takes longer to say. */
export interface Ceilings {
  readonly least: CeilingOf;
  readonly most: CeilingOf;
}

export class PoolEndpoints {
  readonly #freshMs: number | undefined;
  readonly #ceilings: Ceilings;
  readonly #all: Map<string, PoolEndpoint> = new Map();
  #ready: readonly PoolEndpoint[] = [];
  /** Where looking begins, so that of equally full endpoints each has its turn. */
  #turn: number = 0;

  constructor(freshMs: number | undefined, ceilings: Ceilings) {
    this.#freshMs = freshMs;
    this.#ceilings = ceilings;
  }

  get all(): ReadonlyMap<string, PoolEndpoint> {
    return this.#all;
  }

  get ready(): readonly PoolEndpoint[] {
    return this.#ready;
  }

  /** Replaces the endpoints; what is in flight stays where it is. Returns the capacities that were replaced. */
  set(
    specs: readonly (EndpointSpec & { readonly ready: boolean })[],
  ): ReadonlyMap<EndpointCapacity, EndpointCapacity> {
    const replaced = new Map<EndpointCapacity, EndpointCapacity>();
    const before = new Map(this.#all);
    this.#all.clear();
    for (const spec of specs) {
      const old = before.get(spec.id);
      const same =
        old !== undefined &&
        old.spec.maxSeqs === spec.maxSeqs &&
        old.spec.kvCapacityTokens === spec.kvCapacityTokens &&
        (old.spec.group ?? null) === (spec.group ?? null);
      const options = this.#freshMs === undefined ? {} : { freshMs: this.#freshMs };
      const capacity = same ? old.capacity : createEndpointCapacity(spec, options);
      if (old !== undefined && !same) replaced.set(old.capacity, capacity);
      const backlog = old?.backlog ?? new PromptBacklog();
      this.#all.set(spec.id, { spec, capacity, backlog, ready: spec.ready });
    }
    this.#ready = [...this.#all.values()].filter((endpoint) => endpoint.ready);
    return replaced;
  }

  /**
   * Least full endpoint that may take the flight now; of equally full ones each in turn; null when none may. `turn` is
   * the rank whose turn it is: the flight's, or a more urgent one that gave its turn to it. `budgetTokens` bounds the
   * unread prompts that it may join; null does not.
   */
  pick(
    flight: Flight,
    turn: number,
    budgetTokens: number | null,
    nowMs: number,
  ): EndpointCapacity | null {
    const ready = this.#ready;
    const count = ready.length;
    const affinity = flight.request.affinity ?? null;
    let best: EndpointCapacity | null = null;
    let bestScore = Number.POSITIVE_INFINITY;
    let bestAt = 0;
    let near: EndpointCapacity | null = null;
    let nearScore = Number.POSITIVE_INFINITY;
    for (let looked = 0; looked < count; looked += 1) {
      const at = (this.#turn + looked) % count;
      const { capacity, backlog } = ready[at] as PoolEndpoint;
      if (budgetTokens !== null && !backlog.takes(flight.promptSize, budgetTokens, nowMs)) continue;
      const { rank, footprint } = flight;
      const least = this.#ceilings.least(rank, turn, capacity, nowMs);
      if (!capacity.fits(footprint, least, nowMs)) {
        const most = this.#ceilings.most(rank, turn, capacity, nowMs);
        if (most <= least || !capacity.fits(footprint, most, nowMs)) continue;
      }
      const penalty = capacity.id === flight.avoid ? FAILED_PENALTY : 0;
      const score = count === 1 ? penalty : capacity.saturation(nowMs) + penalty;
      if (score < bestScore) {
        best = capacity;
        bestScore = score;
        bestAt = at;
      }
      if (capacity.id === affinity) {
        near = capacity;
        nearScore = score;
      }
    }
    if (near !== null && nearScore <= bestScore + AFFINITY_MARGIN) return near;
    if (best !== null) this.#turn = (bestAt + 1) % count;
    return best;
  }

  /** Share of the model that is in use: its fullest measure, over the endpoints that are ready. */
  saturation(nowMs: number): number {
    let sum = 0;
    for (const { capacity } of this.#ready) sum += capacity.saturation(nowMs);
    return this.#ready.length === 0 ? 1 : sum / this.#ready.length;
  }

  /** Whether any endpoint could ever hold so many tokens; true while there is none to ask. */
  couldFit(tokens: number): boolean {
    if (this.#ready.length === 0) return true;
    for (const { capacity } of this.#ready) if (capacity.couldFit(tokens)) return true;
    return false;
  }

  /** Capacity of all that are ready together, and what of it is in use. */
  room(): SharedRoom {
    let seqs = 0;
    let tokens = 0;
    let usedSeqs = 0;
    let usedTokens = 0;
    for (const { capacity } of this.#ready) {
      seqs += capacity.limit;
      tokens += capacity.capTokens;
      usedSeqs += capacity.inFlight;
      usedTokens += capacity.inFlightTokens;
    }
    return { seqs, tokens, usedSeqs, usedTokens };
  }
}
