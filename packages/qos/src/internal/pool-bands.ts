/**
 * The bands of one model: by which targets each is judged and how much of an endpoint the more urgent ones leave it.
 * Owns no queue and no endpoint.
 */
import type { Band } from '@aim-gpu/core';
import { type BandPolicy, bandOfRank, bandRank, type LatencyTargets } from '../bands.js';
import type { EndpointCapacity } from '../endpoint-capacity.js';
import type { SloTracker } from '../slo-tracker.js';
import { BandState } from './band-state.js';
import { GUARDED_RANK } from './group-guards.js';

/** Lower bands are held back until this long after a higher band was last seen. */
const HOLDBACK_MEMORY_MS = 60_000;
/** Who asks for less than this wants throughput, not the model's latency. */
const LATENCY_RANK: number = bandRank('standard');

/** What an endpoint holds in all. */
type EndpointRoom = Pick<EndpointCapacity, 'limit' | 'capTokens'>;

export class PoolBands {
  readonly all: readonly BandState[];
  readonly #policies: readonly BandPolicy[];

  constructor(policies: readonly BandPolicy[], band: Band, targets: LatencyTargets | null) {
    this.#policies = policies;
    this.all = policies.map(
      (policy, rank) =>
        new BandState(bandOfRank(rank), rank, policy, this.#targetsOf(rank, band, targets)),
    );
  }

  of(rank: number): BandState {
    return this.all[rank] as BandState;
  }

  /** Whether anything of a band below this rank runs. */
  hasLower(rank: number): boolean {
    for (let lower = rank + 1; lower < this.all.length; lower += 1) {
      if (this.of(lower).inFlight > 0) return true;
    }
    return false;
  }

  /** What is known of how the guarded bands do. */
  guardedTrackers(): readonly SloTracker[] {
    return this.all
      .slice(0, GUARDED_RANK + 1)
      .map((state) => state.trackerIfUsed)
      .filter((tracker): tracker is SloTracker => tracker !== null);
  }

  /** Share of an endpoint that a band may fill whatever more urgent ones lately had; quickly said. */
  leastShare(rank: number, nowMs: number): number {
    const { ceiling } = this.of(rank).policy;
    if (ceiling >= 1) return ceiling;
    for (let higher = 0; higher < rank; higher += 1) {
      if (nowMs - this.of(higher).seenMs <= HOLDBACK_MEMORY_MS) return ceiling;
    }
    return 1;
  }

  /**
   * Share of an endpoint that a band may fill so that more urgent ones find room: as much as they have lately had at once
   * and do not have now is kept free, on all `endpoints` together, and no more than the band's ceiling says.
   */
  holdback(rank: number, room: EndpointRoom, endpoints: number, nowMs: number): number {
    const { ceiling } = this.of(rank).policy;
    if (ceiling >= 1) return ceiling;
    let seqs = 0;
    let tokens = 0;
    for (let higher = 0; higher < rank; higher += 1) {
      const { seenMs, need, inFlight } = this.of(higher);
      // Of those who no longer come, nobody wants the room: keeping it free would only waste the engine.
      if (!(nowMs - seenMs <= HOLDBACK_MEMORY_MS)) continue;
      const missing = Math.max(0, need.seqs - inFlight);
      seqs += missing;
      tokens += missing * need.tokensEach;
    }
    if (seqs === 0) return 1;
    const share = Math.max(seqs / room.limit, tokens / room.capTokens);
    return Math.max(ceiling, 1 - share / Math.max(1, endpoints));
  }

  /** Whether an urgent band was seen lately. */
  isGuarded(nowMs: number): boolean {
    for (let rank = 0; rank <= GUARDED_RANK; rank += 1) {
      if (nowMs - this.of(rank).seenMs <= HOLDBACK_MEMORY_MS) return true;
    }
    return false;
  }

  /** When the next holdback ends, which gives lower bands room without any event; Infinity without any. */
  holdbackEndsMs(nowMs: number): number {
    let soonest = Number.POSITIVE_INFINITY;
    for (const { seenMs } of this.all) {
      const endsMs = seenMs + HOLDBACK_MEMORY_MS + 1;
      if (endsMs > nowMs) soonest = Math.min(soonest, endsMs);
    }
    return soonest;
  }

  /** Takes another band and targets of the model; ended requests keep the verdict they had. */
  retarget(band: Band, targets: LatencyTargets | null): void {
    for (const state of this.all) state.retarget(this.#targetsOf(state.rank, band, targets));
  }

  #targetsOf(rank: number, band: Band, targets: LatencyTargets | null): LatencyTargets {
    const isOwn = rank <= Math.max(bandRank(band), LATENCY_RANK);
    if (isOwn && targets !== null) return targets;
    return (this.#policies[rank] as BandPolicy).targets;
  }
}
