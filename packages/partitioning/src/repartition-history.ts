/**
 * The journal as a list of repartitions: what each wanted, what was done and how it ended. Pure.
 */
import { type EpochMs, formatLayout, type PlanId } from '@aim-gpu/core';
import type { CardTarget } from './next-step.js';
import type { RecordedError, RepartitionRecord, TransactionOutcome } from './transaction.js';

/** One repartition of the past, or the one that is still open. */
export interface PastRepartition {
  readonly plan: PlanId;
  readonly begunAt: EpochMs;
  readonly endedAt: EpochMs | null;
  /** `open` when a crash left it so. */
  readonly outcome: TransactionOutcome | 'open';
  readonly from: readonly CardTarget[];
  readonly to: readonly CardTarget[];
  /** Changes that were begun, in both directions. */
  readonly steps: number;
  readonly stopped: number;
  readonly error: RecordedError | null;
}

/** Groups records into repartitions, oldest first. */
export function toRepartitionHistory(
  records: readonly RepartitionRecord[],
): readonly PastRepartition[] {
  const past: PastRepartition[] = [];
  for (const record of records) {
    if (record.type === 'begin') {
      const { plan, at } = record;
      past.push({
        plan: plan.id,
        begunAt: at,
        endedAt: null,
        outcome: 'open',
        from: plan.from,
        to: plan.to,
        steps: 0,
        stopped: plan.stops.length,
        error: null,
      });
      continue;
    }
    const last = past.pop();
    if (last !== undefined) past.push(follow(last, record));
  }
  return past;
}

function follow(
  past: PastRepartition,
  record: Exclude<RepartitionRecord, { readonly type: 'begin' }>,
): PastRepartition {
  switch (record.type) {
    case 'drained':
      return past;
    case 'step':
      return { ...past, steps: past.steps + 1 };
    case 'rolling-back':
      return { ...past, error: record.error };
    case 'end':
      return {
        ...past,
        endedAt: record.at,
        outcome: record.outcome,
        error: record.error ?? past.error,
      };
  }
}

/** The cards that a repartition changes, in words: `0000:0c:00.0 SPX/NPS1 to QPX/NPS1`. */
export function explainTargets(past: Pick<PastRepartition, 'from' | 'to'>): readonly string[] {
  return past.to.flatMap(({ card, layout }) => {
    const before = past.from.find((entry) => entry.card === card)?.layout;
    if (before === undefined || formatLayout(before) === formatLayout(layout)) return [];
    return [`${card} ${formatLayout(before)} to ${formatLayout(layout)}`];
  });
}
