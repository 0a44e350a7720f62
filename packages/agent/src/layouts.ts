/**
 * Layouts of the agent's node: reaching those of a plan (or those it had before), and repairing what a crash left in
 * the middle. Owns no rule: partitioning plans and applies; this file says which layouts are wanted and compares.
 */
import {
  AimError,
  type Assignment,
  type CallOptions,
  type Clock,
  formatLayout,
  type GpuDriver,
  type InstanceId,
  type Inventory,
  type Logger,
  type MetricSink,
  type NodeName,
  type Plan,
  type StateStore,
} from '@aim-gpu/core';
import {
  applyRepartition,
  type DegradedState,
  type DesiredLayout,
  type HookRunner,
  planRepartition,
  type RepartitionPlan,
  type RepartitionProgress,
  type RepartitionResult,
  recoverRepartition,
  toSwitchTiming,
} from '@aim-gpu/partitioning';

/** How far a change of layouts is, in words. */
export interface LayoutProgress {
  readonly phase: RepartitionProgress['phase'];
  readonly text: string;
  /** By what is expected; null when nothing is left to wait for. */
  readonly remainingMs: number | null;
}

/** What changing layouts works with. */
export interface LayoutTools extends CallOptions {
  readonly node: NodeName;
  readonly driver: GpuDriver;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricSink;
  /** Runs the hooks that another command left in the journal. */
  readonly hookRunner?: HookRunner;
  /** What a person types when it stopped half way. */
  readonly resumeCommand?: (state: DegradedState) => string;
}

/** Options of {@link reachLayouts}. */
export interface ReachOptions extends LayoutTools {
  readonly desired: readonly DesiredLayout[];
  /** What runs now: those on a card that changes are stopped first. */
  readonly assignments: readonly Assignment[];
  readonly stop: (instances: readonly InstanceId[]) => Promise<void>;
  readonly onProgress?: (progress: LayoutProgress) => void;
}

/** The layouts a plan wants of a node. */
export function desiredLayouts(plan: Plan, node: NodeName): readonly DesiredLayout[] {
  const cards = plan.nodes.find((entry) => entry.name === node)?.cards ?? [];
  return cards.map(({ id, layout }) => ({ card: id, layout }));
}

/** The layouts of an inventory; cards that could not be read are left out. */
export function readLayouts(inventory: Inventory): readonly DesiredLayout[] {
  return inventory.cards.flatMap(({ id, layout: { compute, memory } }) =>
    compute === null || memory === null ? [] : [{ card: id, layout: { compute, memory } }],
  );
}

/**
 * Brings the node to the desired layouts and returns what was read back. Throws `ERR_LAYOUT_UNSUPPORTED` (refused)
 * before any change when they cannot be had, and what went wrong when the change was rolled back or stopped half way.
 */
export async function reachLayouts(options: ReachOptions): Promise<Inventory> {
  const { driver, desired, assignments, signal } = options;
  const inventory = await driver.discover(signal === undefined ? {} : { signal });
  const plan = planLayouts({ inventory, desired, assignments });
  if (plan.steps.length === 0) return inventory;
  return settle(options, plan, await applyRepartition({ ...toolsOf(options), plan }));
}

/** Throws `ERR_LAYOUT_UNSUPPORTED` (refused) when the layouts cannot be had. Changes nothing. */
export function refuseLayouts(options: {
  readonly inventory: Inventory;
  readonly desired: readonly DesiredLayout[];
}): void {
  planLayouts({ ...options, assignments: [] });
}

function planLayouts(
  options: Pick<ReachOptions, 'desired' | 'assignments'> & { readonly inventory: Inventory },
): RepartitionPlan {
  const timing = toSwitchTiming({ driver: options.inventory.driver });
  const planned = planRepartition({ ...options, timing });
  if (planned.ok) return planned.plan;
  throw new AimError({
    code: 'ERR_LAYOUT_UNSUPPORTED',
    kind: 'refused',
    message: planned.reasons.map((reason) => reason.message).join('; '),
    hint: 'plan again: the cards offer other layouts than those of the plan',
    details: { reasons: planned.reasons },
  });
}

/**
 * Finishes or takes back a change of layouts that a crash interrupted; `stop` ends what still runs in its way. Throws
 * when it stops half way again.
 */
export async function repairLayouts(
  tools: LayoutTools & Pick<ReachOptions, 'stop'>,
): Promise<void> {
  const result = await recoverRepartition(toolsOf(tools));
  if (result === null) return;
  const reasons = result.ok ? result.warnings : result.reasons;
  tools.logger[reasons.length === 0 ? 'info' : 'warn']('layout-repaired', {
    outcome: result.outcome,
    reasons,
  });
  if (!result.ok && result.outcome === 'degraded') throw result.error;
}

function settle(
  options: ReachOptions,
  plan: RepartitionPlan,
  result: RepartitionResult,
): Inventory {
  const { node, metrics } = options;
  metrics.count('aim_gpu_repartitions_total', { node, code: result.outcome });
  if (result.ok) {
    options.onProgress?.({ phase: 'done', text: describeTarget(plan), remainingMs: null });
    return result.inventory;
  }
  throw result.error;
}

function toolsOf(
  options: LayoutTools &
    Pick<ReachOptions, 'stop'> & { readonly onProgress?: ReachOptions['onProgress'] },
): Omit<Parameters<typeof applyRepartition>[0], 'plan'> {
  const { driver, store, clock, logger, stop, onProgress, signal } = options;
  const { hookRunner, resumeCommand } = options;
  return {
    driver,
    store,
    clock,
    logger,
    drain: ({ instances }) => stop(instances),
    ...(hookRunner === undefined ? {} : { hookRunner }),
    ...(resumeCommand === undefined ? {} : { resumeCommand }),
    ...(onProgress === undefined
      ? {}
      : { onProgress: (progress) => onProgress(toLayoutProgress(progress)) }),
    ...(signal === undefined ? {} : { signal }),
  };
}

function toLayoutProgress({ phase, change, remainingMs }: RepartitionProgress): LayoutProgress {
  return {
    phase,
    text: toText(phase, change),
    remainingMs: remainingMs === 0 ? null : remainingMs,
  };
}

function toText(
  phase: RepartitionProgress['phase'],
  change: RepartitionProgress['change'],
): string {
  if (phase === 'draining') return 'stopping what is in the way';
  const back = phase === 'rolling-back' ? 'rolling back: ' : '';
  switch (change?.kind) {
    case undefined:
      return `${back}reading back`;
    case 'set-compute':
      return `${back}card ${change.card}: compute mode ${change.to}`;
    case 'stage-memory':
      return `${back}card ${change.card}: memory mode ${change.to} staged`;
    case 'reload':
      return `${back}reloading the driver of the node`;
  }
}

function describeTarget(plan: RepartitionPlan): string {
  return plan.to.map(({ card, layout }) => `card ${card} is in ${formatLayout(layout)}`).join(', ');
}
