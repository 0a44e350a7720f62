/**
 * What each band means by default: targets, waiting time, ceilings, starvation bounds. Owns the figures of the five
 * bands and the lowering of a wish to what a tenant may use; must not queue or count anything.
 */
import { BANDS, type Band } from '@aim-gpu/core';

/** Latency targets a request is judged by; null where the band has none. */
export interface LatencyTargets {
  /** Request fully read to the first token, in milliseconds. */
  readonly ttftMs: number | null;
  /** Mean time between tokens after the first, in milliseconds. */
  readonly tpotMs: number | null;
  /** Request fully read to the last token, in milliseconds. */
  readonly e2eMs: number | null;
  /** Share of requests that must meet the targets. */
  readonly objective: number;
}

/** How one band is treated. */
export interface BandPolicy {
  /** Longest wait in the queue, in milliseconds; after it the request is refused with `queue_timeout`. */
  readonly ttlMs: number;
  /** A waiting head older than this gets one dispatch in eight, whatever waits above it. */
  readonly starvationAfterMs: number;
  /** Share of dispatched tokens that the band gets at least while it waits, 0 to 1. */
  readonly minimumShare: number;
  /** Share of an endpoint that the band may fill however many higher ones come; more when those lately had less, 0 to 1. */
  readonly ceiling: number;
  /** Head start of the band in milliseconds under the `aged` order: the smaller, the earlier. */
  readonly agingOffsetMs: number;
  /** Share of dispatched tokens under the `weighted` order, in proportion to the other bands'. */
  readonly weight: number;
  /** Whether a running stream of this band may be cancelled for a higher band. */
  readonly preemptible: boolean;
  /** Targets used for models without their own (presets after MLPerf inference, see the README). */
  readonly targets: LatencyTargets;
}

const HOUR_MS = 3_600_000;

/** The policy of every band unless the caller says otherwise. */
export const BAND_POLICIES: Readonly<Record<Band, BandPolicy>> = {
  critical: {
    ttlMs: 30_000,
    starvationAfterMs: 5_000,
    minimumShare: 0,
    ceiling: 1,
    agingOffsetMs: 0,
    weight: 16,
    preemptible: false,
    targets: { ttftMs: 1_000, tpotMs: 50, e2eMs: null, objective: 0.99 },
  },
  interactive: {
    ttlMs: 30_000,
    starvationAfterMs: 10_000,
    minimumShare: 0,
    ceiling: 0.98,
    agingOffsetMs: 2_000,
    weight: 8,
    preemptible: false,
    targets: { ttftMs: 1_000, tpotMs: 50, e2eMs: null, objective: 0.99 },
  },
  standard: {
    ttlMs: 60_000,
    starvationAfterMs: 30_000,
    minimumShare: 0,
    ceiling: 0.95,
    agingOffsetMs: 10_000,
    weight: 4,
    preemptible: false,
    targets: { ttftMs: 2_000, tpotMs: 100, e2eMs: null, objective: 0.95 },
  },
  batch: {
    ttlMs: HOUR_MS,
    starvationAfterMs: 120_000,
    minimumShare: 0.05,
    ceiling: 0.85,
    agingOffsetMs: 60_000,
    weight: 2,
    preemptible: true,
    targets: { ttftMs: null, tpotMs: null, e2eMs: HOUR_MS, objective: 0.95 },
  },
  best_effort: {
    ttlMs: HOUR_MS,
    starvationAfterMs: 300_000,
    minimumShare: 0,
    ceiling: 0.7,
    agingOffsetMs: 300_000,
    weight: 1,
    preemptible: true,
    targets: { ttftMs: null, tpotMs: null, e2eMs: HOUR_MS, objective: 0.95 },
  },
};

/** Changes to the policy of some bands. */
export type BandPolicyChanges = Readonly<Partial<Record<Band, Partial<BandPolicy>>>>;

/** The policies with changes applied, in the order of rank. */
export function toBandPolicies(changes: BandPolicyChanges = {}): readonly BandPolicy[] {
  return BANDS.map((band) => ({ ...BAND_POLICIES[band], ...changes[band] }));
}

/** The rank of a band: 0 is the most urgent. */
export function bandRank(band: Band): number {
  // Written out: asked several times for each request, and a search of the table compares strings.
  switch (band) {
    case 'critical':
      return 0;
    case 'interactive':
      return 1;
    case 'standard':
      return 2;
    case 'batch':
      return 3;
    case 'best_effort':
      return 4;
    default:
      return -1;
  }
}

/** The band of a rank; ranks outside the table are the nearest band. */
export function bandOfRank(rank: number): Band {
  return BANDS[Math.min(BANDS.length - 1, Math.max(0, rank))] as Band;
}

/** A band after it was compared with what a tenant may use. */
export interface AllowedBand {
  readonly band: Band;
  /** Whether it is a less urgent band than the one asked for. */
  readonly lowered: boolean;
}

/**
 * The most urgent band that is no more urgent than the wish and allowed. When everything allowed is more urgent
 * than the wish, the least urgent of those: a tenant without `best_effort` who asks for it gets its lowest band.
 */
export function lowerToAllowed(wish: Band, allowed: readonly Band[]): AllowedBand {
  const wished = bandRank(wish);
  for (let rank = wished; rank < BANDS.length; rank += 1) {
    const band = bandOfRank(rank);
    if (allowed.includes(band)) return { band, lowered: rank > wished };
  }
  for (let rank = wished - 1; rank >= 0; rank -= 1) {
    const band = bandOfRank(rank);
    if (allowed.includes(band)) return { band, lowered: false };
  }
  return { band: 'best_effort', lowered: wished < BANDS.length - 1 };
}
