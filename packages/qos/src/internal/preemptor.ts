/**
 * Makes room for an urgent request that nothing else makes room for: first from those without a first byte, whose
 * clients notice nothing; then, where the host allows it, from preemptible streams, a few at a time. Owns the asking;
 * who is chosen is decided in preemption.ts.
 */
import type { EndpointCapacity } from '../endpoint-capacity.js';
import { chooseVictims, createStopAndWait, type StopAndWait } from '../preemption.js';
import type { QosContext } from './context.js';
import type { Flight } from './flight.js';
import { GUARDED_RANK } from './group-guards.js';
import type { ModelPool } from './model-pool.js';

/** Streams stopped in one decision, at most. */
const MOST_STREAMS = 2;
/** Requests without a first byte taken back in one decision, at most. */
const MOST_UNSEEN = 8;
/** Sent longer ago without a first byte it is probably an answer that comes whole, with much work to lose. */
const UNSEEN_MS = 2_000;
/** Of its TTFT target, how long an urgent request waits before streams are stopped for it. */
const STREAM_PATIENCE = 0.5;

interface Candidate {
  readonly flight: Flight;
  readonly rank: number;
  readonly sentMs: number;
  readonly tokens: number;
}

export class Preemptor {
  readonly #context: QosContext;
  readonly #takeBack: (flight: Flight) => void;
  readonly #streams: Map<string, StopAndWait> = new Map();

  /** `takeBack` frees a victim's endpoint. */
  constructor(context: QosContext, takeBack: (flight: Flight) => void) {
    this.#context = context;
    this.#takeBack = takeBack;
  }

  /** True when an endpoint has room for the flight at once. */
  preempt(flight: Flight, pool: ModelPool, nowMs: number): boolean {
    if (pool.ready.length === 0 || !this.#isWorthwhile(flight, pool)) return false;
    const candidates = this.#candidates(flight, 'sent', nowMs).filter(
      ({ sentMs }) => nowMs - sentMs <= UNSEEN_MS,
    );
    for (const { capacity } of pool.ready) {
      const victims = this.#choose(
        flight,
        pool,
        { capacity, candidates, most: MOST_UNSEEN },
        nowMs,
      );
      for (const { flight: victim } of victims) {
        this.#takeBack(victim);
        victim.cut();
        this.#context.observer.preempted(victim.request, flight.request, false);
      }
      if (victims.length > 0) return true;
    }
    if (this.#context.preemptStreams) this.#stopStreams(flight, pool, nowMs);
    return false;
  }

  /** Takes note that a stopped stream has ended. */
  gone(flight: Flight, nowMs: number): void {
    this.#streams.get(flight.model)?.gone(nowMs);
  }

  forget(model: string): void {
    this.#streams.delete(model);
  }

  /** Reservations are promises: what they hold back from the flight is not taken from others. */
  #isWorthwhile(flight: Flight, pool: ModelPool): boolean {
    return pool.reservations.size === 0 && pool.bands.hasLower(flight.rank);
  }

  #stopStreams(flight: Flight, pool: ModelPool, nowMs: number): void {
    const target = pool.bands.of(flight.rank).targets.ttftMs;
    if (target === null || nowMs - flight.arrivedMs < target * STREAM_PATIENCE) return;
    let gate = this.#streams.get(pool.name);
    if (gate === undefined) {
      gate = createStopAndWait();
      this.#streams.set(pool.name, gate);
    }
    if (!gate.ready(nowMs)) return;
    const candidates = this.#candidates(flight, 'streaming', nowMs);
    for (const { capacity } of pool.ready) {
      const victims = this.#choose(
        flight,
        pool,
        { capacity, candidates, most: MOST_STREAMS },
        nowMs,
      );
      if (victims.length === 0) continue;
      gate.asked(victims.length, nowMs);
      for (const { flight: victim } of victims) {
        victim.stop();
        this.#context.observer.preempted(victim.request, flight.request, true);
      }
      return;
    }
  }

  #candidates(flight: Flight, state: 'sent' | 'streaming', nowMs: number): readonly Candidate[] {
    const candidates: Candidate[] = [];
    for (const other of this.#context.live.list()) {
      if (other.model !== flight.model || other.state !== state || other.rank <= flight.rank) {
        continue;
      }
      // The share that a band is promised is not taken back.
      if (other.isOwed) continue;
      const policy = this.#context.policies[other.rank];
      if (state === 'sent') {
        // Whoever has used up its tries would be refused; only the most urgent band may ask that.
        if (other.preemptions >= this.#context.maxPreemptions && flight.rank > 0) continue;
      } else if (!(other.request.preemptible ?? policy?.preemptible)) continue;
      candidates.push({
        flight: other,
        rank: other.rank,
        sentMs: other.sentMs ?? nowMs,
        tokens: other.footprint,
      });
    }
    return candidates;
  }

  #choose(
    flight: Flight,
    pool: ModelPool,
    from: {
      readonly capacity: EndpointCapacity;
      readonly candidates: readonly Candidate[];
      readonly most: number;
    },
    nowMs: number,
  ): readonly Candidate[] {
    const { capacity, candidates, most } = from;
    const rank = Math.min(flight.rank, GUARDED_RANK);
    const ceiling = pool.ceiling(rank, rank, capacity, nowMs);
    const need = capacity.lacks(flight.footprint, ceiling, nowMs);
    if (need === null) return [];
    const here = candidates.filter((candidate) => candidate.flight.at === capacity);
    return chooseVictims(here, need, most);
  }
}
