/**
 * Changes layouts from the command line: under the agent's lease, through the journal. Owns no rule; what is planned and
 * in which order is partitioning's.
 */
import { AimError, type GpuDriver, type Inventory } from '@aim-gpu/core';
import {
  applyRepartition,
  checkpoint,
  type DesiredLayout,
  planRepartition,
  type RepartitionPlan,
  readCheckpoint,
  type recoverRepartition,
  toSwitchTiming,
} from '@aim-gpu/partitioning';
import type { CommandContext } from './context.js';
import { createHostHookRunner, hooksOf } from './partition-hooks.js';
import { discover, type PartitionOptions } from './partition-input.js';
import { showPlan, showResult } from './partition-report.js';
import { resumeCommand } from './resume-command.js';

/** The agent's lease: whoever holds it owns the node. */
export const AGENT_LOCK = 'agent';

/** Plans a change of layouts. Throws `ERR_LAYOUT_UNSUPPORTED` (refused) with every reason. */
export function planTo(inventory: Inventory, desired: readonly DesiredLayout[]): RepartitionPlan {
  const timing = toSwitchTiming({ driver: inventory.driver });
  const planned = planRepartition({ inventory, desired, assignments: [], timing });
  if (planned.ok) return planned.plan;
  throw new AimError({
    code: 'ERR_LAYOUT_UNSUPPORTED',
    kind: 'refused',
    message: planned.reasons.map((reason) => reason.message).join('; '),
    details: { reasons: planned.reasons },
    hint: 'cards of one hive share a memory mode; `aim-gpu partitions list` shows what there is',
  });
}

/** Plans and applies, or with `--dry-run` shows the plan. */
export function change(
  context: CommandContext,
  driver: GpuDriver,
  options: PartitionOptions,
  desired: readonly DesiredLayout[],
): Promise<number> {
  return applyPlan(context, driver, options, (inventory) => planTo(inventory, desired));
}

/** Applies the plan made for what is read under the lease, or with `--dry-run` shows it. */
export async function applyPlan(
  context: CommandContext,
  driver: GpuDriver,
  options: PartitionOptions,
  planFor: (inventory: Inventory) => RepartitionPlan,
): Promise<number> {
  if (options.dryRun === true) {
    await showPlan(context, driver, planFor(await discover(driver)));
    return 0;
  }
  // The agent owns its node: what it does not know of, it would take back. Before reading, since a card that somebody
  // else is switching cannot be read.
  await using _lease = await context.store.lock(AGENT_LOCK);
  const inventory = await discover(driver);
  const plan = planFor(inventory);
  if ((await readCheckpoint(context.store)) === null) await checkpoint(context.store, inventory);
  const result = await applyRepartition({ plan, ...toolsFor(context, driver, options) });
  return showResult(context, result, plan.id);
}

/** What applying and recovering work with on this host. */
export function toolsFor(
  context: CommandContext,
  driver: GpuDriver,
  options: PartitionOptions,
): Parameters<typeof recoverRepartition>[0] {
  const { store, clock, logger } = context;
  const hooks = hooksOf(options);
  const hookRunner = createHostHookRunner({ clock });
  return {
    driver,
    store,
    clock,
    logger,
    // Engines are the agent's; whatever else holds a card makes the kernel refuse, and is named then.
    drain: () => Promise.resolve(),
    resumeCommand: (state) => resumeCommand(context, state, { ...options, driver: driver.id }),
    onProgress: ({ phase, change: step, begun, expected, remainingMs }) => {
      const what = step === null ? phase : `${phase} ${begun}/${expected}: ${step.kind}`;
      context.say(
        remainingMs > 0 ? `${what} (about ${Math.ceil(remainingMs / 1000)} s left)` : what,
      );
    },
    hookRunner,
    ...(hooks.length === 0 ? {} : { hooks: { hooks, runner: hookRunner } }),
  };
}
