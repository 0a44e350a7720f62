/**
 * What applying a plan changes, as data: for `apply --dry-run`, its answer and its refusals. Pure.
 */
import type { Fleet, InstanceId, LayoutChange, Plan, PlanId, Share } from '@aim-gpu/core';
import { foreseeSteps, type InstanceShape, type ReconcileState } from './reconcile-steps.js';
import { type SettingChange, toSettingChanges } from './setting-changes.js';

/** What happens to one instance. */
export interface InstanceChange {
  readonly instance: InstanceId;
  /** `restart`: same place and size, other arguments. */
  readonly change: 'add' | 'remove' | 'move' | 'resize' | 'restart' | 'keep';
  readonly from: readonly Share[] | null;
  readonly to: readonly Share[] | null;
  /** Whether requests have to wait for it: there is no room for old and new at once, or its card changes. */
  readonly downtime: boolean;
}

/** A change of the node, before or after it was made. */
export interface ApplyDiff {
  readonly plan: PlanId;
  readonly instances: readonly InstanceChange[];
  readonly layouts: readonly LayoutChange[];
  /** What changes for requests besides, from the next one on. */
  readonly settings: readonly SettingChange[];
}

/** Compares what runs with a plan, and the fleet that is served with the one of the plan. */
export function toApplyDiff(
  plan: Plan,
  state: ReconcileState,
  fleets: { readonly from: Fleet; readonly to: Fleet },
): ApplyDiff {
  const memoryChanges = plan.changes.some(({ from, to }) => from.memory !== to.memory);
  const stopped = new Set(foreseeSteps(state, memoryChanges).flatMap(({ stops }) => stops));
  const running = new Map(state.running.map((shape) => [shape.instance, shape]));
  const wanted = new Map(state.wanted.map((shape) => [shape.instance, shape]));
  const names = [...new Set([...running.keys(), ...wanted.keys()])];
  return {
    plan: plan.id,
    layouts: plan.changes,
    settings: toSettingChanges(fleets.from, fleets.to),
    instances: names.map((instance) => {
      const from = running.get(instance) ?? null;
      const to = wanted.get(instance) ?? null;
      return {
        instance,
        change: toChange(from, to),
        from: from?.shares ?? null,
        to: to?.shares ?? null,
        downtime: from !== null && to !== null && stopped.has(instance),
      };
    }),
  };
}

function toChange(from: InstanceShape | null, to: InstanceShape | null): InstanceChange['change'] {
  if (from === null) return 'add';
  if (to === null) return 'remove';
  if (from.digest === to.digest) return 'keep';
  if (places(from) !== places(to)) return 'move';
  return sizes(from) === sizes(to) ? 'restart' : 'resize';
}

function places({ shares }: InstanceShape): string {
  return shares.map(({ node, card, partition }) => `${node} ${card} ${partition}`).join();
}

function sizes({ shares }: InstanceShape): string {
  return shares.map(({ memoryBytes }) => memoryBytes).join();
}
