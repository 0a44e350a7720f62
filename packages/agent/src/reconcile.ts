/**
 * The reconcile loop: looks at what is wanted, what is observed and what runs, takes the next safe step, and looks
 * again. Owns the effects of each step; which one comes next is reconcile-steps.ts.
 */
import {
  AimError,
  type Demand,
  type Fleet,
  type InstanceId,
  type Inventory,
  type Placement,
  type Plan,
  sameLayout,
  type Workload,
  type WorkloadName,
} from '@aim-gpu/core';
import { planEnvelope } from '@aim-gpu/isolation';
import type { AgentOptions } from './agent.js';
import { neverSized } from './agent-errors.js';
import type { Assigned } from './assigned.js';
import { digestOf, type InstanceDefinition, partitionKey } from './instance-definition.js';
import type { Instances } from './instances.js';
import { desiredLayouts, type LayoutProgress, reachLayouts } from './layouts.js';
import {
  hasRoom,
  type InstanceShape,
  nextReconcileStep,
  type ReconcileState,
} from './reconcile-steps.js';

/** What a node is to be. */
export interface Wish {
  readonly fleet: Fleet;
  readonly demands: ReadonlyMap<WorkloadName, Demand>;
  readonly plan: Plan;
}

/** What the loop works with. */
export interface NodeParts {
  readonly options: AgentOptions;
  readonly instances: Instances;
  readonly assigned: Assigned;
}

/** Options of {@link reconcile}. */
export interface ReconcileOptions {
  readonly signal: AbortSignal;
  readonly onLayoutProgress?: (progress: LayoutProgress) => void;
  /** Told of every inventory that was read. */
  readonly onInventory: (inventory: Inventory) => void;
  /** Instances whose replacement failed; more are added. */
  readonly kept: Set<InstanceId>;
}

/** The placements of a plan that are this node's. */
export function placementsOf({ plan }: Wish, { options }: NodeParts): readonly Placement[] {
  return plan.placements.filter(({ shares }) => shares.some(({ node }) => node === options.node));
}

/** The workload of a placement and its demand. Throws `ERR_PLAN_STALE` (conflict) when the fleet has none. */
export function sizedFor(
  { fleet, demands }: Wish,
  { workload: name }: Placement,
): { readonly workload: Workload; readonly demand: Demand } {
  const workload = fleet.models.find((model) => model.name === name);
  const demand = demands.get(name);
  if (workload !== undefined && demand !== undefined) return { workload, demand };
  throw neverSized(name);
}

/** What a step is chosen from, now. */
export function toReconcileState(
  parts: NodeParts,
  wish: Wish,
  inventory: Inventory,
  kept: ReadonlySet<InstanceId> = new Set(),
): ReconcileState {
  const { node } = parts.options;
  return {
    running: parts.instances.running().map(({ definition, digest }) => ({
      instance: definition.placement.instance,
      digest,
      shares: definition.placement.shares,
      exclusive: definition.workload.placement.exclusive,
    })),
    wanted: placementsOf(wish, parts).map((placement) => toShape(wish, placement)),
    changing: desiredLayouts(wish.plan, node).flatMap(({ card, layout }) => {
      const observed = inventory.cards.find(({ id }) => id === card)?.layout;
      if (observed === undefined) return [];
      const { compute, memory } = observed;
      const reached =
        compute !== null && memory !== null && sameLayout(layout, { compute, memory });
      return reached ? [] : [{ node, card }];
    }),
    usableBytes: usableBytes(wish),
    kept,
  };
}

function toShape(wish: Wish, placement: Placement): InstanceShape {
  const { workload, demand } = sizedFor(wish, placement);
  return {
    instance: placement.instance,
    digest: digestOf({ placement, workload, demand }),
    shares: placement.shares,
    exclusive: workload.placement.exclusive,
  };
}

function usableBytes({ plan, fleet }: Wish): ReadonlyMap<string, number> {
  return new Map(
    plan.nodes.flatMap(({ name, cards }) =>
      cards.flatMap(({ id, partitions }) =>
        partitions.map(({ index, memoryBytes }): [string, number] => [
          partitionKey({ node: name, card: id, partition: index }),
          Math.floor(memoryBytes * (1 - fleet.policy.memoryReserve)),
        ]),
      ),
    ),
  );
}

/**
 * Takes step after step until what runs is what is wanted; engines that are started last are not waited for. Throws
 * what a step throws, and at the end `ERR_ENGINE_FAILED` (unavailable) when a replacement did not become ready.
 */
export async function reconcile(
  parts: NodeParts,
  wish: Wish,
  options: ReconcileOptions,
): Promise<void> {
  const { signal, kept, onInventory } = options;
  const { driver } = parts.options;
  let inventory = await driver.discover({ signal });
  onInventory(inventory);
  let failure: unknown = null;
  for (;;) {
    signal.throwIfAborted();
    const step = nextReconcileStep(toReconcileState(parts, wish, inventory, kept));
    if (step === null) break;
    if (step.kind === 'stop') await parts.instances.stop(step.instances);
    if (step.kind === 'layouts') {
      inventory = await changeLayouts(parts, wish, options);
      onInventory(inventory);
    }
    if (step.kind === 'replace') {
      try {
        await parts.instances.replace(define(parts, wish, step.instance, inventory), wish.plan.id);
      } catch (error) {
        signal.throwIfAborted();
        if (!AimError.is(error, 'ERR_ENGINE_FAILED')) throw error;
        kept.add(step.instance);
        failure ??= error;
      }
    }
    if (step.kind === 'start') {
      const definitions = step.instances.map((each) => define(parts, wish, each, inventory));
      for (const definition of definitions) await parts.instances.start(definition, wish.plan.id);
    }
  }
  takeOverWords(parts, wish, inventory, kept);
  if (failure !== null) throw failure;
}

/** Replaces an instance by another one like it: beside the old one when there is room for both. */
export async function restartInstance(
  parts: NodeParts,
  wish: Wish,
  options: { readonly instance: InstanceId; readonly inventory: Inventory },
): Promise<void> {
  const { instance, inventory } = options;
  const definition = define(parts, wish, instance, inventory);
  const state = toReconcileState(parts, wish, inventory);
  const target = state.wanted.find((shape) => shape.instance === instance);
  if (target !== undefined && hasRoom(state, target)) {
    await parts.instances.replace(definition, wish.plan.id);
    return;
  }
  await parts.instances.stop([instance]);
  await parts.instances.start(definition, wish.plan.id);
}

function changeLayouts(
  parts: NodeParts,
  wish: Wish,
  { signal, onLayoutProgress }: ReconcileOptions,
): Promise<Inventory> {
  return reachLayouts({
    ...parts.options,
    desired: desiredLayouts(wish.plan, parts.options.node),
    assignments: parts.assigned.assignments(),
    stop: (instances) => parts.instances.stop(instances),
    ...(onLayoutProgress === undefined ? {} : { onProgress: onLayoutProgress }),
    signal,
  });
}

function define(
  { options }: NodeParts,
  wish: Wish,
  instance: InstanceId,
  inventory: Inventory,
): InstanceDefinition {
  const placement = wish.plan.placements.find((each) => each.instance === instance);
  if (placement === undefined) {
    throw new AimError({
      code: 'ERR_NO_ROOM',
      kind: 'exhausted',
      message: `${instance} has no place now`,
      hint: wish.plan.unplaced.flatMap(({ reasons }) => reasons)[0]?.fix ?? 'see `aim-gpu status`',
    });
  }
  const { workload, demand } = sizedFor(wish, placement);
  const envelope = planEnvelope({
    placement,
    workload,
    demand,
    inventory,
    policy: wish.fleet.policy,
    host: options.host,
  });
  return { placement, workload, demand, envelope, engine: options.engineFor(workload, inventory) };
}

/** What needs no new process (band, targets, predictions) is taken over by what runs on. */
function takeOverWords(
  parts: NodeParts,
  wish: Wish,
  inventory: Inventory,
  kept: ReadonlySet<InstanceId>,
): void {
  for (const { definition } of parts.instances.running()) {
    const { instance } = definition.placement;
    const placement = wish.plan.placements.find((each) => each.instance === instance);
    if (placement === undefined || kept.has(instance)) continue;
    const { engine, envelope } = definition;
    const now = define(parts, wish, instance, inventory);
    parts.instances.find(instance).redefine({ ...now, engine, envelope });
  }
}
