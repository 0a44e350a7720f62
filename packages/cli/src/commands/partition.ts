/**
 * `aim-gpu partition …`: plans, applies, checks and takes back layouts of one node, through the same journal and lease as
 * the agent. Refused while an agent runs: that one owns the node, and `apply` talks to it.
 */
import { writeFile } from 'node:fs/promises';
import { AimError } from '@aim-gpu/core';
import {
  assertLayout,
  explainTargets,
  exportLayout,
  parseLayoutSpec,
  readCheckpoint,
  readRepartitionHistory,
  recoverRepartition,
  toDesiredLayouts,
  toRepartitionHistory,
} from '@aim-gpu/partitioning';
import type { CommandContext } from '../context.js';
import { AGENT_LOCK, applyPlan, change, planTo, toolsFor } from '../partition-apply.js';
import {
  desiredOf,
  discover,
  type PartitionOptions,
  readPlan,
  readText,
  withDriver,
} from '../partition-input.js';
import { showPlan, showResult } from '../partition-report.js';
import { formatTable } from '../table.js';

/** `2026-11-25 15:04:05`, in UTC. */
const WHEN = new Intl.DateTimeFormat('sv-SE', {
  dateStyle: 'short',
  timeStyle: 'medium',
  timeZone: 'UTC',
});

/** Runs `partition plan`. Exit code 0 also when nothing has to change; `ERR_LAYOUT_UNSUPPORTED` when it cannot be. */
export async function planPartition(
  context: CommandContext,
  options: PartitionOptions,
): Promise<number> {
  return withDriver(context, options, async (driver) => {
    const inventory = await discover(driver);
    const plan = planTo(inventory, await desiredOf(context, inventory, options));
    await showPlan(context, driver, plan);
    return 0;
  });
}

/** Runs `partition apply` and `partitions set`. */
export async function applyPartition(
  context: CommandContext,
  options: PartitionOptions,
): Promise<number> {
  return withDriver(context, options, async (driver) => {
    if (options.plan !== undefined) {
      const stored = await readPlan(context, options.plan);
      return applyPlan(context, driver, options, () => stored);
    }
    const desired = await desiredOf(context, await discover(driver), options);
    return change(context, driver, options, desired);
  });
}

/** Runs `partition assert`. Throws `ERR_LAYOUT_DIFFERS` (conflict) with every difference. */
export async function assertPartition(
  context: CommandContext,
  options: PartitionOptions,
): Promise<number> {
  return withDriver(context, options, async (driver) => {
    const inventory = await discover(driver);
    const differences = assertLayout(inventory, await desiredOf(context, inventory, options));
    if (differences.length > 0) {
      throw new AimError({
        code: 'ERR_LAYOUT_DIFFERS',
        kind: 'conflict',
        message: differences.map((difference) => difference.message).join('; '),
        details: { differences },
        hint: 'change them with `aim-gpu partition apply`',
      });
    }
    if (context.json) context.print({ ok: true, cards: inventory.cards.length });
    else context.say('every card is in the wanted layout');
    return 0;
  });
}

/** Runs `partition rollback`. */
export async function rollbackPartition(
  context: CommandContext,
  options: PartitionOptions,
): Promise<number> {
  return withDriver(context, options, async (driver) => {
    const past = toRepartitionHistory(await readRepartitionHistory(context.store)).at(-1);
    if (past === undefined) {
      throw new AimError({
        code: 'ERR_HISTORY_EMPTY',
        kind: 'missing',
        message: 'no layout was changed from this state directory',
        hint: 'choose layouts with `aim-gpu partition apply`',
      });
    }
    if (past.outcome !== 'open') {
      const desired = past.from.map(({ card, layout }) => ({ card, layout }));
      return change(context, driver, options, desired);
    }
    if (options.dryRun === true) {
      context.say(`would finish or take back ${past.plan}, which a crash interrupted`);
      if (context.json) context.print({ open: past });
      return 0;
    }
    await using _lease = await context.store.lock(AGENT_LOCK);
    const result = await recoverRepartition(toolsFor(context, driver, options));
    if (result === null) return 0;
    return showResult(context, result, past.plan);
  });
}

/** Runs `partition restore`. */
export async function restorePartition(
  context: CommandContext,
  options: PartitionOptions,
): Promise<number> {
  return withDriver(context, options, async (driver) => {
    const kept =
      options.file === undefined
        ? await readCheckpoint(context.store)
        : parseLayoutSpec(await readText(context, options.file));
    if (kept === null) {
      throw new AimError({
        code: 'ERR_HISTORY_EMPTY',
        kind: 'missing',
        message: 'no layouts were kept in this state directory',
        hint: 'name a file that `aim-gpu partition export` wrote, with --file',
      });
    }
    return change(context, driver, options, toDesiredLayouts(kept));
  });
}

/** Runs `partition history`. */
export async function partitionHistory(context: CommandContext): Promise<number> {
  const history = toRepartitionHistory(await readRepartitionHistory(context.store));
  if (context.json) context.print({ repartitions: history });
  else if (history.length === 0) context.say('no layout was changed from this state directory');
  else {
    const rows = history.map((past) => [
      WHEN.format(past.begunAt),
      past.outcome,
      String(past.steps),
      past.endedAt === null ? '' : `${Math.round((past.endedAt - past.begunAt) / 100) / 10} s`,
      explainTargets(past).join(', '),
      past.error?.message ?? '',
    ]);
    context.say(formatTable(['BEGUN (UTC)', 'OUTCOME', 'STEPS', 'TOOK', 'CHANGE', 'ERROR'], rows));
  }
  return 0;
}

/** Runs `partition export`: the document itself on stdout, or in a file. */
export async function exportPartition(
  context: CommandContext,
  options: PartitionOptions,
): Promise<number> {
  return withDriver(context, options, async (driver) => {
    const document = exportLayout(await discover(driver));
    if (options.out === undefined) context.print(document);
    else await writeFile(context.resolve(options.out), `${JSON.stringify(document, null, 2)}\n`);
    return 0;
  });
}
