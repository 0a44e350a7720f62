/**
 * What applying a repartition takes and gives: options, progress and result. Types and the naming of a degraded stop;
 * no effects.
 */
import type {
  AimError,
  CallOptions,
  Clock,
  GpuDriver,
  InstanceId,
  Inventory,
  Logger,
  NodeName,
  PlanId,
  Reason,
  StateStore,
} from '@aim-gpu/core';
import type { HookRunner, RepartitionHooks } from './hooks.js';
import { hiveKey, type LayoutStep } from './next-step.js';
import type { RepartitionLimits } from './step-runner.js';

/** What has to stop before the first change. */
export interface DrainRequest extends CallOptions {
  readonly node: NodeName;
  readonly instances: readonly InstanceId[];
}

/** How far a repartition is. */
export interface RepartitionProgress {
  readonly plan: PlanId;
  readonly phase: 'draining' | 'changing' | 'rolling-back' | 'done';
  /** The change under way; null between changes. */
  readonly change: LayoutStep | null;
  /** Changes begun in this direction. */
  readonly begun: number;
  readonly expected: number;
  readonly elapsedMs: number;
  /** By the plan's expectation; 0 when that is used up. */
  readonly remainingMs: number;
}

/** What applying and recovering need. */
export interface RepartitionOptions extends CallOptions {
  readonly driver: GpuDriver;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Stops the instances and resolves when they are gone; must be repeatable. */
  readonly drain: (request: DrainRequest) => Promise<void>;
  /** Told how far it is. */
  readonly onProgress?: (progress: RepartitionProgress) => void;
  readonly limits?: Partial<RepartitionLimits>;
  /** Programs that run when everything has drained, and when it is over; kept in the journal, also after a crash. */
  readonly hooks?: RepartitionHooks;
  /**
   * Runs the hooks that the journal of an interrupted repartition has, where no `hooks` are given. Without it each hook
   * that is owed is told in the result as `HOOK_NOT_RUN`.
   */
  readonly hookRunner?: HookRunner;
  /**
   * The command by which a person goes on after a degraded stop. By default `aim-gpu doctor` where layouts cannot be
   * read, and else `aim-gpu partition rollback`.
   */
  readonly resumeCommand?: (state: DegradedState) => string;
}

/** Why a machine is neither in the old nor in the new layouts. */
export type DegradedState =
  /** A card's layout cannot be read. */
  | 'unreadable'
  /** Cards of one hive differ in memory mode. */
  | 'memory-split'
  /** Every layout is readable and legal, but some are old and some are new. */
  | 'between';

/** How a repartition ended. */
export type RepartitionResult =
  | {
      readonly ok: true;
      /** `already-applied`: the plan had been applied before and its layouts are still there. */
      readonly outcome: 'applied' | 'already-applied';
      readonly inventory: Inventory;
      readonly tookMs: number;
      /** Hooks that failed afterwards; empty when all is well. */
      readonly warnings: readonly Reason[];
    }
  | {
      readonly ok: false;
      /** The layouts are those before the plan, read back. */
      readonly outcome: 'rolled-back';
      readonly inventory: Inventory;
      readonly reasons: readonly Reason[];
      /** What went wrong, to be thrown by callers that have no other way on. */
      readonly error: AimError;
    }
  | {
      readonly ok: false;
      readonly outcome: 'degraded';
      readonly state: DegradedState;
      readonly inventory: Inventory | null;
      readonly reasons: readonly Reason[];
      readonly error: AimError;
      /** What to type next. */
      readonly nextCommand: string;
    };

/** What a person types next, for a node whose state directory and driver are the default ones. */
export function nextCommandFor(state: DegradedState): string {
  return state === 'unreadable' ? 'aim-gpu doctor' : 'aim-gpu partition rollback';
}

/** Names the state of a machine that is in neither the old nor the new layouts. */
export function degradedState(inventory: Inventory | null): DegradedState {
  if (inventory === null || inventory.cards.length === 0) return 'unreadable';
  const memory = new Map<string, string>();
  for (const { id, hive, layout } of inventory.cards) {
    if (layout.compute === null || layout.memory === null) return 'unreadable';
    const key = hiveKey({ card: id, hive });
    if ((memory.get(key) ?? layout.memory) !== layout.memory) return 'memory-split';
    memory.set(key, layout.memory);
  }
  return 'between';
}
