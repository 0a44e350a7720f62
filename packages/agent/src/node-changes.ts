/**
 * Changes of one node: what refuses a plan, what bringing it about takes, and what is done after a loss. Owns that a
 * refusal changes nothing and that a change that fails half way is taken back; the steps themselves are reconcile.ts.
 */
import {
  AimError,
  type CallOptions,
  type Fleet,
  type InstanceId,
  type Inventory,
  type Plan,
} from '@aim-gpu/core';
import { generationOf } from '@aim-gpu/scheduler';
import type { ApplyOptions } from './agent.js';
import { stalePlan } from './agent-errors.js';
import type { Desired } from './desired.js';
import type { EventLog } from './event-log.js';
import { desiredLayouts, refuseLayouts } from './layouts.js';
import { planAfterLoss } from './loss.js';
import type { NodeState } from './node-state.js';
import { type PlanSources, planFromFleet } from './plan-from-fleet.js';
import {
  type NodeParts,
  placementsOf,
  reconcile,
  sizedFor,
  toReconcileState,
  type Wish,
} from './reconcile.js';
import type { ReconcileState } from './reconcile-steps.js';
import { refuseUnplaced } from './refusals.js';

/** What changes work with. */
export interface NodeChangesParts {
  readonly parts: NodeParts;
  readonly state: NodeState;
  readonly events: EventLog;
  /** Has the node brought back soon to what is wanted. */
  readonly keep: () => void;
  readonly isClosed: () => boolean;
}

type ChangeOptions = ApplyOptions & { readonly signal: AbortSignal };

/** Changes of one node. */
export interface NodeChanges {
  plan(
    fleet: Fleet,
    options: CallOptions,
  ): Promise<{ readonly plan: Plan; readonly demands: Desired['demands'] }>;
  /** Throws when a plan cannot be brought about; nothing has changed then. Returns what a step would be chosen from. */
  foresee(wish: Wish, signal: AbortSignal): Promise<ReconcileState>;
  /** Brings the node to a plan; `take` is called when nothing refuses it any more. */
  bringTo(wish: Wish, options: ChangeOptions, take?: () => void): Promise<void>;
  /** Brings the node to what is wanted now, after planning anew what was lost or has come back. */
  restore(signal: AbortSignal): Promise<void>;
}

/** Makes the changes of a node. */
export function createNodeChanges(options: NodeChangesParts): NodeChanges {
  return new ChangesOfNode(options);
}

class ChangesOfNode implements NodeChanges {
  private readonly tools: NodeChangesParts;
  /** Instances whose replacement did not start: what runs goes on until another plan is applied. */
  private readonly kept = new Set<InstanceId>();

  constructor(tools: NodeChangesParts) {
    this.tools = tools;
  }

  async plan(
    fleet: Fleet,
    options: CallOptions,
  ): Promise<{ readonly plan: Plan; readonly demands: Desired['demands'] }> {
    const { parts } = this.tools;
    const inventories = await this.observe(options);
    const assignments = parts.assigned.assignments();
    return planFromFleet({
      fleet,
      ...toPlanSources(parts.options),
      inventories,
      assignments,
      ...options,
    });
  }

  async foresee(wish: Wish, signal: AbortSignal): Promise<ReconcileState> {
    return toReconcileState(this.tools.parts, wish, await this.refuse(wish, signal));
  }

  async bringTo(
    wish: Wish,
    options: ChangeOptions,
    take: () => void = () => undefined,
  ): Promise<void> {
    const { parts, state, events, keep, isClosed } = this.tools;
    await this.refuse(wish, options.signal);
    const { desired: previous, asked } = state;
    take();
    this.kept.clear();
    state.asked = wish.fleet;
    const subject = wish.plan.id;
    events.add({ event: 'apply-begun', subject, message: `fleet ${wish.fleet.name}` });
    try {
      await state.want({ ...wish, served: wish.fleet, degradations: [] });
      await this.reconcile(options);
      const placed = placementsOf(wish, parts).map(({ instance }) => instance);
      await parts.instances.forgetDrains(new Set(placed));
      events.add({ event: 'apply-done', subject, message: `fleet ${wish.fleet.name}` });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      events.add({ event: 'apply-failed', subject, message });
      // What ran before is what is wanted again, unless all but an engine that does not start was reached.
      const half = !AimError.is(error, 'ERR_ENGINE_FAILED') && !isClosed();
      if (half) {
        state.asked = asked;
        await state.want(previous);
        keep();
      }
      throw error;
    }
  }

  async restore(signal: AbortSignal): Promise<void> {
    await this.adaptToLoss(signal);
    await this.reconcile({ signal });
  }

  /** Throws when a plan cannot be brought about; nothing has changed then. Returns what was observed here. */
  private async refuse(wish: Wish, signal: AbortSignal): Promise<Inventory> {
    const { parts } = this.tools;
    const { plan } = wish;
    const { node, partial } = parts.options;
    refuseUnplaced(plan, { partial: partial === true });
    const observed = await this.observe({ signal });
    if (generationOf(observed) !== plan.observed.generation) throw stalePlan(plan);
    for (const placement of placementsOf(wish, parts)) sizedFor(wish, placement);
    const [inventory] = observed;
    if (inventory === undefined) throw stalePlan(plan);
    refuseLayouts({ inventory, desired: desiredLayouts(plan, node) });
    return inventory;
  }

  private async reconcile(options: ChangeOptions): Promise<void> {
    const { parts, state } = this.tools;
    const { desired } = state;
    if (desired === null) return;
    try {
      await reconcile(parts, toWish(desired), {
        ...options,
        onInventory: (inventory) => state.noteInventory(inventory),
        kept: this.kept,
      });
    } finally {
      state.noteModels();
      state.noteState();
    }
  }

  private async adaptToLoss(signal: AbortSignal): Promise<void> {
    const { parts, state, events } = this.tools;
    const { desired, asked } = state;
    const { clock, node } = parts.options;
    if (desired === null) return;
    const next = await planAfterLoss({
      desired,
      asked,
      sources: toPlanSources(parts.options),
      assignments: parts.assigned.assignments(),
      observe: () => this.observe({ signal }),
      clock,
      signal,
    });
    if (next === null) return;
    for (const { workload, step, message } of next.degradations) {
      events.add({ event: `workload-${step}`, subject: workload, message });
    }
    if (next.degradations.length === 0) {
      const message = 'everything is as asked for again';
      events.add({ event: 'node-whole', subject: node, message });
    }
    await state.want(next);
  }

  /** Every node's inventory that can be read from here, this node's first. */
  private observe(options: CallOptions): Promise<readonly Inventory[]> {
    const { driver, otherDrivers = [] } = this.tools.parts.options;
    return Promise.all([driver, ...otherDrivers].map((each) => each.discover(options)));
  }
}

/** What is wanted, as a step is chosen from it. */
export function toWish({ served, demands, plan }: Desired): Wish {
  return { fleet: served, demands, plan };
}

function toPlanSources({ models, calibrations }: PlanSources): PlanSources {
  return { models, ...(calibrations === undefined ? {} : { calibrations }) };
}
