/**
 * Conformance of a GpuDriver as data: what a case brings about, step by step, and what must come of it. Types only; the
 * cases are in cases.ts, what runs them in run-case.ts. No test runner is known here.
 */
import type { Clock } from '../../clock.js';
import type { GpuDriver } from '../../gpu-driver.js';
import type { CardId } from '../../ids.js';
import type { ComputeMode, Layout, MemoryMode } from '../../layout.js';
import type { Lease } from '../../lease.js';

/** What a case is about. */
export type ConformanceGroup =
  | 'discovery'
  | 'legal switch'
  | 'illegal switch'
  | 'order of memory and compute'
  | 'busy'
  | 'permission'
  | 'read-back'
  | 'partial change'
  | 'staged memory'
  | 'identity'
  | 'reboot and reload'
  | 'sums'
  | 'concurrency'
  | 'cancel and timeout'
  | 'watch';

/** The machine that cases are made for. */
export interface ConformanceMachine {
  /** A key of core/products. */
  readonly product: string;
  readonly cards: number;
  /** How many hives the cards are spread over. */
  readonly hives: number;
  /** What keeps a card from being switched: processes on that card, or any GPU process of the node. */
  readonly busyScope: 'card' | 'node';
}

/** What goes wrong in the machine below the driver. */
export interface ConformanceFault {
  readonly on: 'set-compute' | 'stage-memory' | 'reload';
  /** Calls that go wrong; 1 when left out. */
  readonly times?: number;
  readonly effect:
    | { readonly kind: 'busy' | 'io' | 'permission' | 'no-change' | 'half' }
    | { readonly kind: 'hang'; readonly ms: number; readonly applies: boolean }
    | { readonly kind: 'wrong-report'; readonly compute: ComputeMode }
    | { readonly kind: 'power-cut'; readonly afterMs: number };
}

/**
 * What a change must come to: `ok`, and the returned inventory shows it; `not-there`, it returns and the inventory shows
 * something else; or the code of the error it throws.
 */
export type ExpectedOutcome = 'ok' | 'not-there' | `ERR_${string}`;

/** A change of the machine through the driver. Cards are numbered in the order of their addresses. */
export type ConformanceChange =
  | { readonly call: 'set-compute'; readonly card: number; readonly to: ComputeMode }
  | { readonly call: 'stage-memory'; readonly card: number; readonly to: MemoryMode }
  | { readonly call: 'reload' };

/** What must be true of what is discovered. */
export type ConformanceCheck =
  /** Every card, or one of them, is in the layout and has its partitions with their XCDs, CUs and capacity. */
  | { readonly kind: 'layout'; readonly layout: Layout; readonly card?: number }
  /** XCDs and CUs of the partitions add up to the card's, capacities to no more than its memory. */
  | { readonly kind: 'sums' }
  /** Indices count up from 0; render nodes and UUIDs are each of one partition only. */
  | { readonly kind: 'identity' }
  /** Nothing differs from what was remembered. */
  | { readonly kind: 'as-remembered' }
  /** The same partition of the same card has the render node that was remembered. */
  | { readonly kind: 'same-render-nodes' }
  /** Some cards are in the layout and some are not. */
  | { readonly kind: 'some-cards'; readonly memory: MemoryMode };

/** One step of a case. */
export type ConformanceStep =
  /** Brings every card into a layout by the right order of changes. */
  | { readonly do: 'bring'; readonly layout: Layout }
  | { readonly do: 'change'; readonly change: ConformanceChange; readonly expect: ExpectedOutcome }
  /** The same with a generation that is no longer true. */
  | { readonly do: 'change-stale'; readonly change: ConformanceChange }
  /** The same as a user without rights. */
  | { readonly do: 'change-unprivileged'; readonly change: ConformanceChange }
  /** Cancels the change before it is called, or while it runs. */
  | {
      readonly do: 'change-cancelled';
      readonly change: ConformanceChange;
      readonly when: 'before' | 'during';
    }
  /** Two changes from the same generation at once: exactly one is done, the other is a conflict. */
  | {
      readonly do: 'change-together';
      readonly changes: readonly [ConformanceChange, ConformanceChange];
    }
  /** A change of a card that does not exist. */
  | { readonly do: 'change-unknown-card' }
  | { readonly do: 'hold'; readonly card: number }
  /** The holders of a card are, or are not, those that hold it. */
  | { readonly do: 'holders'; readonly card: number; readonly held: boolean }
  | { readonly do: 'release' }
  | { readonly do: 'fault'; readonly fault: ConformanceFault }
  | { readonly do: 'reboot' }
  /** Waits until a change that went on by itself has ended. */
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'remember' }
  | { readonly do: 'watch' }
  /** The watch has told of a change of this card to this mode, or of nothing at all. */
  | { readonly do: 'told'; readonly card: number; readonly to: ComputeMode | null }
  | { readonly do: 'check'; readonly check: ConformanceCheck };

/** What a case needs of a subject beside its driver. */
export type ConformanceNeed = 'hold' | 'fault' | 'reboot' | 'unprivileged';

/** One case. */
export interface ConformanceCase {
  readonly group: ConformanceGroup;
  readonly name: string;
  /** Whether it must succeed or must be refused. */
  readonly positive: boolean;
  /** Whether it changes the machine. */
  readonly destructive: boolean;
  readonly needs: readonly ConformanceNeed[];
  readonly steps: readonly ConformanceStep[];
}

/** A driver and what a case may do to the machine below it; null is what this subject cannot do. */
export interface ConformanceSubject {
  readonly driver: GpuDriver;
  /** The clock the machine lives by. */
  readonly clock: Clock;
  /** Lets a process open a card. */
  readonly hold: ((card: CardId) => Promise<Lease>) | null;
  /** Lets the next calls of a kind go wrong in the way it says. */
  readonly fault: ((fault: ConformanceFault) => Promise<void>) | null;
  /** Cuts the power and starts the machine again; resolves when its cards can be read. */
  readonly reboot: (() => Promise<void>) | null;
  /** The same machine for a user without rights. */
  readonly unprivileged: (() => Promise<GpuDriver>) | null;
}

/** What came of a case. */
export type ConformanceResult =
  | { readonly outcome: 'passed' }
  | { readonly outcome: 'skipped'; readonly reason: string }
  /** `step`: number of the step, from 0. */
  | { readonly outcome: 'failed'; readonly step: number; readonly message: string };
