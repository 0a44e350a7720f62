/**
 * A layout problem: cards with the layouts they may take, instances that want partitions, and nothing else. The bare
 * numbers that solver, exact solver and bench share; `planFleet` makes one from a fleet, files hold them for the bench.
 * Shape only: what a solution is worth is layout-worth.ts, what is permitted is layout-model.ts.
 */
import type { Band } from '@aim-gpu/core';

/** A layout that a card may take: its equal partitions. */
export interface LayoutOption {
  /** `QPX/NPS1`. */
  readonly layout: string;
  readonly partitions: number;
  /** Memory of each partition that may be handed out. */
  readonly usableBytes: number;
  /** Speed of one partition as a share of the whole card's. */
  readonly speed: number;
  /** Time to get there from the card's current layout; 0 for the current one. */
  readonly changeMs: number;
}

/** A card that may be laid out. */
export interface LayoutCard {
  readonly id: string;
  /** Cards of one hive have one memory mode. */
  readonly hive: string;
  readonly product: string;
  /** At least one. */
  readonly options: readonly LayoutOption[];
  /** Index of the current layout among the options; null when it is none of them. */
  readonly current: number | null;
}

/** One instance that wants a place. */
export interface LayoutInstance {
  readonly id: string;
  readonly band: Band;
  /** What placing it is worth; 1 unless some instances count more. */
  readonly value: number;
  /** Partitions it takes at once: of one card, or whole cards of one hive. */
  readonly ranks: number;
  /** Memory of each of its shares. */
  readonly bytes: number;
  /** Share of the time that it would keep a whole card busy. */
  readonly busy: number;
  /** TPOT alone on a whole card, and its target; null without one. */
  readonly tpotMs: number;
  readonly targetTpotMs: number | null;
  /** By `product layout`: what it is there, where that is known better than from the partition's speed. */
  readonly measured?: Readonly<Record<string, { readonly busy: number; readonly tpotMs: number }>>;
  /** A partition of its own. */
  readonly exclusive: boolean;
  /** Products it may run on; empty when any. */
  readonly products: readonly string[];
  /** Cards it may run on; any when absent. */
  readonly cards?: readonly string[];
  /** Instances that must not be on the same card. */
  readonly apart: readonly string[];
  /** Must be here; partition null when any of the card. */
  readonly pin: { readonly card: string; readonly partition: number | null } | null;
  /** Where it runs now: partitions of the card's current layout; null when it does not run. */
  readonly assigned: { readonly card: string; readonly partitions: readonly number[] } | null;
}

/** Cards, instances and the policy. */
export interface LayoutProblem {
  readonly name: string;
  /** Last level of the objective: fewest cards in use, or least TPOT against target. */
  readonly preset: 'pack' | 'latency';
  /** Most that neighbours on a partition may slow down a critical or interactive instance, as a ratio. */
  readonly slowdown: number;
  readonly cards: readonly LayoutCard[];
  readonly instances: readonly LayoutInstance[];
}

/** Where an instance of a solution is. */
export interface LayoutPlace {
  readonly instance: string;
  readonly shares: readonly { readonly card: string; readonly partition: number }[];
}

/** A layout for each card, in the problem's order, and a place for each instance that has one. */
export interface LayoutSolution {
  readonly layouts: readonly number[];
  readonly places: readonly LayoutPlace[];
}
