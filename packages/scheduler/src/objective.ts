/**
 * The objective of planning, in one place: five levels compared in order (lexicographic). Two plans are compared on
 * the first level that differs. Owns the order and the comparison; how each figure comes about is in score.ts.
 */

import { BANDS } from '@aim-gpu/core';

/** What a packing is worth, level by level. */
export interface Worth {
  /** Instances placed, by band rank: more of a more urgent band wins over any number of a less urgent one. */
  readonly placedByBand: readonly number[];
  /** Sum over instances of how far predicted latency exceeds its target, as a ratio. Less is better. */
  readonly violations: number;
  /** Instances that got less than they run on now. Less is better. */
  readonly guaranteesMissed: number;
  /** Milliseconds of layout change, each counted once and once more for every instance it stops or moves. */
  readonly changeCostMs: number;
  /** The preset's own score. Less is better. */
  readonly presetScore: number;
}

// Figures that differ by less than rounding in the speed model are equal: otherwise noise would decide a layout.
const TOLERANCE = 1e-6;

/** Negative when `a` is worth more than `b`, positive when less, 0 when no level differs. */
export function compareWorth(a: Worth, b: Worth): number {
  for (const [rank, placed] of a.placedByBand.entries()) {
    const difference = (b.placedByBand[rank] ?? 0) - placed;
    if (difference !== 0) return difference;
  }
  return (
    compareLevel(a.violations, b.violations) ||
    compareLevel(a.guaranteesMissed, b.guaranteesMissed) ||
    compareLevel(a.changeCostMs, b.changeCostMs) ||
    compareLevel(a.presetScore, b.presetScore)
  );
}

function compareLevel(a: number, b: number): number {
  const scale = Math.max(1, Math.abs(a), Math.abs(b));
  return Math.abs(a - b) <= TOLERANCE * scale ? 0 : a - b;
}

/** Where two results first differ and what share of the better one the other reaches there. */
export interface WorthComparison {
  /** `placed.critical`, …, `violations`, `guarantees`, `change`, `score`; null when no level differs. */
  readonly level: string | null;
  /** 100 when no level differs; of counts ours ÷ best, of costs best ÷ ours. More than 100 when ours is better. */
  readonly percent: number;
}

/** Compares a result with the best known or a bound, on the first level that differs. */
export function compareWithBest(ours: Worth, best: Worth): WorthComparison {
  for (const [rank, placed] of best.placedByBand.entries()) {
    const own = ours.placedByBand[rank] ?? 0;
    if (own !== placed)
      return { level: `placed.${BANDS[rank]}`, percent: placed === 0 ? 100 : (100 * own) / placed };
  }
  const costs = [
    ['violations', ours.violations, best.violations],
    ['guarantees', ours.guaranteesMissed, best.guaranteesMissed],
    ['change', ours.changeCostMs, best.changeCostMs],
    ['score', ours.presetScore, best.presetScore],
  ] as const;
  for (const [level, own, other] of costs) {
    if (compareLevel(own, other) !== 0)
      return { level, percent: own === 0 ? 100 : (100 * other) / own };
  }
  return { level: null, percent: 100 };
}
