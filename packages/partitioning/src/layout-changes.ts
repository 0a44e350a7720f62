/**
 * A repartition plan in the words of the fleet's `Plan` document (CONTRACT §3). Pure conversion.
 */
import type { LayoutChange } from '@aim-gpu/core';
import type { RepartitionPlan } from './repartition-plan.js';

/**
 * The plan's steps as entries of a `Plan` document: one for each hive whose memory mode changes (`card` null, since the
 * whole node reloads) and one for each compute switch. Stopping and time of the reload are in the first of the former.
 */
export function toLayoutChanges(plan: RepartitionPlan): readonly LayoutChange[] {
  let before = plan.from;
  const changes: LayoutChange[] = [];
  const reload = plan.steps.find((step) => step.change.kind === 'reload');
  for (const step of plan.steps) {
    const { change } = step;
    const card = change.kind === 'reload' ? null : change.card;
    const source = before.find((entry) => entry.card === card)?.layout;
    before = step.after;
    if (card === null || source === undefined) continue;
    if (change.kind === 'set-compute') {
      const target = { compute: change.to, memory: source.memory };
      changes.push({
        node: plan.node,
        card,
        from: source,
        to: target,
        expectedMs: step.expectedMs,
        stops: step.stops,
      });
      continue;
    }
    const first = changes.length === 0;
    const reached = reload?.after.find((entry) => entry.card === card)?.layout ?? source;
    const expectedMs = step.expectedMs + (first ? (reload?.expectedMs ?? 0) : 0);
    changes.push({
      node: plan.node,
      card: null,
      from: source,
      to: reached,
      expectedMs,
      stops: reload?.stops ?? [],
    });
  }
  return changes;
}
