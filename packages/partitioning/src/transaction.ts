/**
 * A repartition as the journal tells it: the records, and what follows from them. Pure. Each record is written before
 * what it announces is done, so that a crash leaves at most one change that may or may not have happened.
 */
import type { EpochMs, PlanId } from '@aim-gpu/core';
import type { RepartitionHook } from './hooks.js';
import type { CardLayout, LayoutStep } from './next-step.js';
import type { RepartitionPlan } from './repartition-plan.js';

/** Towards the plan's layouts, or back to those before it. */
export type Direction = 'forward' | 'back';

/** How a transaction ended. */
export type TransactionOutcome = 'applied' | 'rolled-back' | 'degraded';

/** An error as the journal keeps it. */
export interface RecordedError {
  readonly code: string;
  readonly message: string;
}

/** One record of the journal. */
export type RepartitionRecord =
  | {
      readonly type: 'begin';
      readonly plan: RepartitionPlan;
      readonly at: EpochMs;
      /** Programs to run around it, for whoever has to finish it; absent when there are none. */
      readonly hooks?: readonly RepartitionHook[] | undefined;
    }
  /** The instances of the plan have stopped; changes may follow. */
  | { readonly type: 'drained'; readonly id: PlanId; readonly at: EpochMs }
  | {
      readonly type: 'step';
      readonly id: PlanId;
      readonly at: EpochMs;
      readonly direction: Direction;
      readonly change: LayoutStep;
    }
  | {
      readonly type: 'rolling-back';
      readonly id: PlanId;
      readonly at: EpochMs;
      readonly error: RecordedError;
    }
  | {
      readonly type: 'end';
      readonly id: PlanId;
      readonly at: EpochMs;
      readonly outcome: TransactionOutcome;
      /** What was read back at the end; null when nothing could be read. */
      readonly observed: readonly CardLayout[] | null;
      readonly error: RecordedError | null;
    };

/** A transaction that has begun and not ended. */
export interface OpenTransaction {
  readonly plan: RepartitionPlan;
  readonly drained: boolean;
  readonly direction: Direction;
  readonly error: RecordedError | null;
  readonly hooks: readonly RepartitionHook[];
}

/** The transaction that a journal leaves open; null when there is none. */
export function openTransaction(records: readonly RepartitionRecord[]): OpenTransaction | null {
  return records.reduce<OpenTransaction | null>(follow, null);
}

function follow(open: OpenTransaction | null, record: RepartitionRecord): OpenTransaction | null {
  switch (record.type) {
    case 'begin':
      return {
        plan: record.plan,
        drained: false,
        direction: 'forward',
        error: null,
        hooks: record.hooks ?? [],
      };
    case 'drained':
      return open === null ? null : { ...open, drained: true };
    case 'rolling-back':
      return open === null ? null : { ...open, direction: 'back', error: record.error };
    case 'end':
      return null;
    case 'step':
      return open;
  }
}

/** How the last transaction of a plan ended; null when it never did. */
export function outcomeOf(
  records: readonly RepartitionRecord[],
  id: PlanId,
): TransactionOutcome | null {
  const ends = records.filter((record) => record.type === 'end' && record.id === id);
  const last = ends.at(-1);
  return last?.type === 'end' ? last.outcome : null;
}

/** The records of the newest transactions, for keeping a journal short. */
export function newestTransactions(
  records: readonly RepartitionRecord[],
  count: number,
): readonly RepartitionRecord[] {
  const begins = records.flatMap((record, index) => (record.type === 'begin' ? [index] : []));
  return records.slice(begins.at(-count) ?? 0);
}
