/**
 * `aim-gpu partition …`: plans, applies, checks and takes back layouts of one node, through the same journal and lease as
 * the agent. Refused while an agent runs: that one owns the node, and `apply` talks to it.
 */
import { readFile, writeFile } from 'node:fs/promises';
import {
  AimError,
  type DeviceHolder,
  formatLayout,
  type GpuDriver,
  type Inventory,
  nodeName,
  type Reason,
} from '@aim-gpu/core';
import { createHostCommands } from '@aim-gpu/driver-rocm';
import { readSimulatedNodes } from '@aim-gpu/driver-simulated';
import {
  applyRepartition,
  assertLayout,
  checkpoint,
  type DesiredLayout,
  explainTargets,
  exportLayout,
  parseLayoutSpec,
  parseLayoutWishes,
  parseRepartitionPlan,
  planRepartition,
  type RepartitionHook,
  type RepartitionPlan,
  type RepartitionResult,
  readCheckpoint,
  readRepartitionHistory,
  recoverRepartition,
  toDesiredLayouts,
  toRepartitionHistory,
  toSwitchTiming,
} from '@aim-gpu/partitioning';
import type { CommandContext } from '../context.js';
import { type DriverOptions, openNode } from '../drivers.js';
import { chooseNode, type FleetOptions, readFleet, toDriver } from '../fleet-input.js';
import { noCards } from '../no-cards.js';
import { formatTable } from '../table.js';

/** Options of every `partition` command. */
export interface PartitionOptions extends FleetOptions, DriverOptions {
  readonly fleet?: string;
  readonly node?: string;
  readonly layouts?: readonly string[];
  readonly file?: string;
  /** A plan that `partition plan --json` printed. */
  readonly plan?: string;
  readonly out?: string;
  readonly dryRun?: boolean;
  readonly stopUnit?: readonly string[];
  readonly restartUnit?: readonly string[];
}

/** The agent's lease: whoever holds it owns the node. */
const AGENT_LOCK = 'agent';
const UNIT_TIMEOUT_MS = 60_000;
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

async function withDriver(
  context: CommandContext,
  options: PartitionOptions,
  work: (driver: GpuDriver) => Promise<number>,
): Promise<number> {
  const { driver } = openNode(context, await nodeOf(context, options), options);
  try {
    return await work(driver);
  } finally {
    await driver.close();
  }
}

async function nodeOf(
  context: CommandContext,
  options: PartitionOptions,
): Promise<Parameters<typeof openNode>[1]> {
  const { hostName } = context.io;
  if (options.fleet !== undefined) {
    const { fleet } = await readFleet(context, options.fleet, options);
    const { node: name } = options;
    return chooseNode(fleet, { hostName, ...(name === undefined ? {} : { name }) });
  }
  const driver = toDriver(options.driver ?? 'rocm');
  const [stored] = driver === 'simulated' ? await readSimulatedNodes(context.store) : [];
  const name = options.node === undefined ? (stored ?? nodeName(hostName)) : nodeName(options.node);
  return { name, driver, cards: [] };
}

async function discover(driver: GpuDriver): Promise<Inventory> {
  const inventory = await driver.discover();
  if (inventory.cards.length === 0) throw noCards(inventory.problems);
  return inventory;
}

async function desiredOf(
  context: CommandContext,
  inventory: Inventory,
  { layouts = [], file }: PartitionOptions,
): Promise<readonly DesiredLayout[]> {
  const kept =
    file === undefined ? [] : toDesiredLayouts(parseLayoutSpec(await readText(context, file)));
  const typed = parseLayoutWishes(layouts, inventory);
  const desired = [
    ...kept.filter(({ card }) => typed.every((wish) => wish.card !== card)),
    ...typed,
  ];
  if (desired.length > 0) return desired;
  throw new AimError({
    code: 'ERR_USAGE',
    kind: 'invalid',
    message: 'no layout was named',
    hint: 'name one, such as CPX/NPS1, or a file with --file',
  });
}

/** Reads a stored plan. The holders that `partition plan --json` adds for people are no part of it. */
async function readPlan(context: CommandContext, file: string): Promise<RepartitionPlan> {
  const text = await readText(context, file, 'write it with `aim-gpu partition plan --json`');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return parseRepartitionPlan(null);
  }
  if (typeof value !== 'object' || value === null) return parseRepartitionPlan(value);
  const { holders: _, ...plan } = value as Record<string, unknown>;
  return parseRepartitionPlan(plan);
}

async function readText(
  context: CommandContext,
  file: string,
  hint = 'write it with `aim-gpu partition export --out FILE`',
): Promise<string> {
  try {
    return await readFile(context.resolve(file), 'utf8');
  } catch (cause) {
    throw new AimError({
      code: 'ERR_FILE_MISSING',
      kind: 'missing',
      message: `${file} cannot be read`,
      hint,
      cause,
    });
  }
}

function planTo(inventory: Inventory, desired: readonly DesiredLayout[]): RepartitionPlan {
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

function change(
  context: CommandContext,
  driver: GpuDriver,
  options: PartitionOptions,
  desired: readonly DesiredLayout[],
): Promise<number> {
  return applyPlan(context, driver, options, (inventory) => planTo(inventory, desired));
}

async function applyPlan(
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

function toolsFor(
  context: CommandContext,
  driver: GpuDriver,
  options: PartitionOptions,
): Parameters<typeof recoverRepartition>[0] {
  const { store, clock, logger } = context;
  const commands = createHostCommands({ clock });
  const hooks = hooksOf(options);
  return {
    driver,
    store,
    clock,
    logger,
    // Engines are the agent's; whatever else holds a card makes the kernel refuse, and is named then.
    drain: () => Promise.resolve(),
    resumeCommand: 'aim-gpu partition rollback',
    onProgress: ({ phase, change: step, begun, expected, remainingMs }) => {
      const what = step === null ? phase : `${phase} ${begun}/${expected}: ${step.kind}`;
      context.say(
        remainingMs > 0 ? `${what} (about ${Math.ceil(remainingMs / 1000)} s left)` : what,
      );
    },
    ...(hooks.length === 0
      ? {}
      : {
          hooks: {
            hooks,
            runner: {
              run: async ({ argv: [file, ...args], timeoutMs }, call = {}) => {
                const outcome = await commands.run({ file, args, timeoutMs, ...call });
                if (outcome.kind === 'not-started') return { ok: false, message: outcome.message };
                if (outcome.kind !== 'ended')
                  return { ok: false, message: 'it did not end in time' };
                if (outcome.exitCode === 0) return { ok: true };
                const words = outcome.stderr.trim().split('\n').at(-1);
                return { ok: false, message: `exit code ${outcome.exitCode}: ${words ?? ''}` };
              },
            },
          },
        }),
  };
}

function hooksOf({
  stopUnit = [],
  restartUnit = [],
}: PartitionOptions): readonly RepartitionHook[] {
  const unit = (
    name: string,
    when: RepartitionHook['when'],
    verb: 'stop' | 'start' | 'restart',
  ): RepartitionHook => ({
    name: `${verb} ${name}`,
    when,
    argv: ['/usr/bin/systemctl', verb, '--', name],
    timeoutMs: UNIT_TIMEOUT_MS,
    required: verb === 'stop',
  });
  return [
    ...stopUnit.map((name) => unit(name, 'before', 'stop')),
    ...stopUnit.map((name) => unit(name, 'after', 'start')),
    ...restartUnit.map((name) => unit(name, 'after', 'restart')),
  ];
}

async function showPlan(
  context: CommandContext,
  driver: GpuDriver,
  plan: RepartitionPlan,
): Promise<void> {
  const holders = new Map<number, DeviceHolder>();
  for (const card of plan.blastRadius.cards)
    for (const holder of await driver.holders(card)) holders.set(holder.pid, holder);
  if (context.json) {
    context.print({ ...plan, holders: [...holders.values()] });
    return;
  }
  const seconds = (ms: number): string => `${Math.ceil(ms / 1000)} s`;
  const lines = plan.steps.map(({ change: step, expectedMs }, index) => {
    const what =
      step.kind === 'reload'
        ? 'reload the driver of the node'
        : step.kind === 'set-compute'
          ? `set ${step.card} to ${step.to}`
          : `ask for ${step.to} on the hive of ${step.card}`;
    return `${index + 1}. ${what} (about ${seconds(expectedMs)})`;
  });
  context.say(
    [
      ...(lines.length === 0 ? ['nothing has to change'] : explainTargets(plan)),
      ...lines,
      ...(lines.length === 0 ? [] : [`in all about ${seconds(plan.expectedMs)}`]),
      ...[...holders.values()].map(
        ({ pid, command, device }) => `holds it now: pid ${pid} ${command ?? ''} (${device})`,
      ),
      ...plan.warnings.map(toLine),
    ].join('\n'),
  );
}

function showResult(context: CommandContext, result: RepartitionResult, plan: string): number {
  if (!result.ok) {
    const { error, outcome, reasons } = result;
    const next = outcome === 'degraded' ? result.nextCommand : null;
    throw new AimError({
      code: error.code,
      kind: error.kind,
      message: `${outcome}: ${reasons.map((reason) => reason.message).join('; ')}`,
      details: { ...error.details, plan, outcome, reasons },
      hint: next === null ? 'the layouts are those before it' : `type \`${next}\``,
      cause: error,
    });
  }
  const layouts = result.inventory.cards.map(({ id, layout: { compute, memory } }) => ({
    id,
    layout: compute === null || memory === null ? null : { compute, memory },
  }));
  if (context.json) {
    const { outcome, tookMs, warnings } = result;
    context.print({ plan, outcome, tookMs, warnings, cards: layouts });
    return 0;
  }
  context.say(
    [
      `${result.outcome} in ${Math.round(result.tookMs / 100) / 10} s`,
      ...layouts.map(
        ({ id, layout }) => `${id} ${layout === null ? 'unread' : formatLayout(layout)}`,
      ),
      ...result.warnings.map(toLine),
    ].join('\n'),
  );
  return 0;
}

function toLine({ code, message }: Reason): string {
  return `${message} [${code}]`;
}
