/**
 * Which band is next: strict with two escapes from starvation, aged, or weighted. Owns the choice between bands and
 * the credits it needs; sees only sizes and ages, never items or tenants.
 */
import type { BandPolicy } from './bands.js';

/** How bands take turns. */
export type BandOrderName = 'strict' | 'aged' | 'weighted';

/** What an order sees of a band. */
export interface BandView {
  /** When the oldest waiting item came, in monotonic milliseconds; Infinity when nothing waits. */
  oldestMs(rank: number): number;
}

/** The order of bands: a pure choice and a separate note of what was dispatched. */
export interface BandOrder {
  /** The rank to serve next among the bands of the mask, or -1 for an empty mask. Changes nothing. */
  choose(mask: number, view: BandView, nowMs: number): number;
  /** Takes note that `cost` was dispatched from a band while the bands of the mask were waiting. */
  dispatched(rank: number, cost: number, mask: number, view: BandView, nowMs: number): void;
  /** Takes note that a band that was empty waits again. */
  activated(rank: number): void;
  /** Whether a band has had less than the share it is promised. */
  owes(rank: number): boolean;
}

/** One dispatch in this many goes to a starving band. */
const ESCAPE_EVERY = 8;

/** Dispatches' worth of tokens that a band had more than its share and is not owed again: not all it ever had. */
const MOST_AHEAD = 64;

/** Rank of the most urgent band of a mask; -1 when it is empty. */
function firstOf(mask: number): number {
  return mask === 0 ? -1 : 31 - Math.clz32(mask & -mask);
}

/**
 * Strict order with two escapes: a head older than its band's `starvationAfterMs` gets one dispatch in eight, and a
 * band with a `minimumShare` is paid at least that share of the tokens dispatched while it waited.
 */
function createStrictOrder(policies: readonly BandPolicy[]): BandOrder {
  const credits = policies.map(() => 0);
  let sinceEscape = 0;
  let shares = 0;
  policies.forEach((policy, rank) => {
    if (policy.minimumShare > 0) shares |= 1 << rank;
  });

  const due = (mask: number): number => {
    for (let waiting = mask & shares; waiting !== 0; waiting &= waiting - 1) {
      const rank = firstOf(waiting);
      if ((credits[rank] as number) > 0) return rank;
    }
    return -1;
  };
  const starving = (mask: number, view: BandView, nowMs: number): number => {
    const first = firstOf(mask);
    for (let waiting = mask & (mask - 1); waiting !== 0; waiting &= waiting - 1) {
      const rank = firstOf(waiting);
      const policy = policies[rank] as BandPolicy;
      if (rank !== first && nowMs - view.oldestMs(rank) > policy.starvationAfterMs) return rank;
    }
    return -1;
  };

  return {
    choose: (mask, view, nowMs) => {
      if ((mask & (mask - 1)) === 0) return firstOf(mask);
      const owed = due(mask);
      if (owed >= 0) return owed;
      if (sinceEscape >= ESCAPE_EVERY - 1) {
        const escaped = starving(mask, view, nowMs);
        if (escaped >= 0) return escaped;
      }
      return firstOf(mask);
    },
    dispatched: (rank, cost, mask, _view, _nowMs) => {
      if ((mask & (mask - 1)) !== 0) {
        sinceEscape = rank === firstOf(mask) ? Math.min(sinceEscape + 1, ESCAPE_EVERY) : 0;
      }
      for (let waiting = mask & shares; waiting !== 0; waiting &= waiting - 1) {
        const owed = firstOf(waiting);
        const share = (policies[owed] as BandPolicy).minimumShare;
        const credit = (credits[owed] as number) + cost * share - (owed === rank ? cost : 0);
        credits[owed] = Math.max(credit, -MOST_AHEAD * cost);
      }
    },
    activated: (rank) => {
      credits[rank] = Math.min(0, credits[rank] as number);
    },
    owes: (rank) => (credits[rank] as number) > 0,
  };
}

/**
 * Oldest first, each band with a head start: the key of a band is its oldest arrival plus its offset. Linear aging
 * never changes the relative order of two waiting items, so nothing has to be sorted again as time passes.
 */
function createAgedOrder(policies: readonly BandPolicy[]): BandOrder {
  return {
    choose: (mask, view) => {
      let best = -1;
      let bestKey = Number.POSITIVE_INFINITY;
      for (let waiting = mask; waiting !== 0; waiting &= waiting - 1) {
        const rank = firstOf(waiting);
        const key = view.oldestMs(rank) + (policies[rank] as BandPolicy).agingOffsetMs;
        if (best < 0 || key < bestKey) {
          best = rank;
          bestKey = key;
        }
      }
      return best;
    },
    dispatched: () => undefined,
    activated: () => undefined,
    owes: () => false,
  };
}

/** Stride scheduling: each band's pass grows by cost ÷ weight, and the least pass is next. */
function createWeightedOrder(policies: readonly BandPolicy[]): BandOrder {
  const passes = policies.map(() => 0);
  let virtual = 0;
  return {
    choose: (mask) => {
      let best = -1;
      for (let waiting = mask; waiting !== 0; waiting &= waiting - 1) {
        const rank = firstOf(waiting);
        if (best < 0 || (passes[rank] as number) < (passes[best] as number)) best = rank;
      }
      return best;
    },
    dispatched: (rank, cost) => {
      virtual = Math.max(virtual, passes[rank] as number);
      const weight = (policies[rank] as BandPolicy).weight;
      passes[rank] = (passes[rank] as number) + cost / (weight > 0 ? weight : 1);
    },
    activated: (rank) => {
      passes[rank] = Math.max(passes[rank] as number, virtual);
    },
    owes: () => false,
  };
}

/** Makes an order of bands. `policies` are in the order of rank. */
export function createBandOrder(name: BandOrderName, policies: readonly BandPolicy[]): BandOrder {
  if (name === 'aged') return createAgedOrder(policies);
  if (name === 'weighted') return createWeightedOrder(policies);
  return createStrictOrder(policies);
}
