/**
 * What one model remembers of one band besides its queue: SLO, Retry-After, waits, rates. Owns no decision; the pool and
 * the entrance ask it.
 */
import type { Band } from '@aim-gpu/core';
import type { BandPolicy, LatencyTargets } from '../bands.js';
import { type CodelGuard, createCodelGuard } from '../codel-guard.js';
import { createDrainRate, type DrainRate } from '../drain-rate.js';
import { createRetryAfterTracker, type RetryAfterTracker } from '../retry-after.js';
import { createSloTracker, type SloTracker } from '../slo-tracker.js';
import { RateMeter } from './rate-meter.js';
import { SeatNeed } from './seat-need.js';

/** Of the TTFT target, what a request may wait before the queue counts as standing. */
const CODEL_TARGET_SHARE = 0.1;

const WEIGHED_OVER = 50;

export class BandState {
  readonly band: Band;
  readonly rank: number;
  readonly policy: BandPolicy;
  readonly drain: DrainRate = createDrainRate();
  readonly requests: RateMeter = new RateMeter();
  readonly offered: RateMeter = new RateMeter();
  readonly served: RateMeter = new RateMeter();
  readonly refused: RateMeter = new RateMeter();
  readonly need: SeatNeed = new SeatNeed();
  readonly retryAfter: RetryAfterTracker = createRetryAfterTracker();
  /** Null for bands without a TTFT target: their queues may stand. */
  codel: CodelGuard | null;
  seenMs: number = Number.NEGATIVE_INFINITY;
  inFlight: number = 0;
  /** Weighted tokens of fairness to one of capacity, as a mean over about fifty requests. */
  costPerToken: number = 1;
  #targets: LatencyTargets;
  #tracker: SloTracker | null = null;

  constructor(band: Band, rank: number, policy: BandPolicy, targets: LatencyTargets) {
    this.band = band;
    this.rank = rank;
    this.policy = policy;
    this.#targets = targets;
    this.codel = toGuard(targets);
  }

  get targets(): LatencyTargets {
    return this.#targets;
  }

  /** Made when first asked for: most bands of most models are never used. */
  get tracker(): SloTracker {
    this.#tracker ??= createSloTracker(this.#targets);
    return this.#tracker;
  }

  get trackerIfUsed(): SloTracker | null {
    return this.#tracker;
  }

  get isUsed(): boolean {
    return this.seenMs !== Number.NEGATIVE_INFINITY;
  }

  weighed(cost: number, tokens: number): void {
    if (tokens > 0) this.costPerToken += (cost / tokens - this.costPerToken) / WEIGHED_OVER;
  }

  retarget(targets: LatencyTargets): void {
    if (targets.ttftMs !== this.#targets.ttftMs) this.codel = toGuard(targets);
    this.#targets = targets;
    this.#tracker?.retarget(targets);
  }
}

function toGuard({ ttftMs }: LatencyTargets): CodelGuard | null {
  if (ttftMs === null) return null;
  return createCodelGuard({ targetMs: ttftMs * CODEL_TARGET_SHARE, intervalMs: ttftMs });
}
