/**
 * What is wanted after devices were lost, or came back. Owns when a device counts as lost; how the rest is used is
 * degrade.ts.
 */
import type { Assignment, CallOptions, Clock, Fleet, Inventory, Plan, Share } from '@aim-gpu/core';
import { planDegraded } from './degrade.js';
import type { Desired } from './desired.js';
import { sharesGone } from './observed.js';
import type { PlanSources } from './plan-from-fleet.js';

/** A device that is gone for so long is lost: a driver that is being reloaded comes back earlier. */
const LOSS_GRACE_MS = 2000;

/** Whether something asked for is not served; having moved is no lasting harm. */
export function isDegraded({ degradations }: Desired): boolean {
  return degradations.some(({ step }) => step !== 'moved' && step !== 'layout');
}

/** What is wanted now; null when nothing of the plan is gone and nothing has come back that would change it. */
export async function planAfterLoss(
  options: CallOptions & {
    readonly desired: Desired;
    /** The fleet as the user asked for it. */
    readonly asked: Fleet;
    readonly sources: PlanSources;
    readonly assignments: readonly Assignment[];
    /** Reads every node that can be read, this node first. */
    readonly observe: () => Promise<readonly Inventory[]>;
    readonly clock: Clock;
  },
): Promise<Desired | null> {
  const { desired, asked, sources, observe, clock, signal } = options;
  const call = signal === undefined ? {} : { signal };
  const before = desired.plan;
  let inventories = await observe();
  if (hasLost(before, inventories)) {
    await clock.sleep(LOSS_GRACE_MS, call);
    inventories = await observe();
  }
  const lost = hasLost(before, inventories);
  if (!lost && !isDegraded(desired)) return null;
  const next = await planDegraded({
    ...sources,
    fleet: asked,
    inventories,
    assignments: options.assignments.filter(({ shares }) => !isLost(before, inventories, shares)),
    before,
    ...call,
  });
  return lost || next.plan.id !== before.id ? { fleet: asked, ...next } : null;
}

function hasLost(plan: Plan, [here]: readonly Inventory[]): boolean {
  return here !== undefined && sharesGone(plan, here).length > 0;
}

function isLost(plan: Plan, [here]: readonly Inventory[], shares: readonly Share[]): boolean {
  const gone = here === undefined ? [] : sharesGone(plan, here);
  return shares.some((share) =>
    gone.some(({ card, partition }) => card === share.card && partition === share.partition),
  );
}
