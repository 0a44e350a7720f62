/**
 * What the `partition` commands are given: options, the node and its devices, wanted layouts, stored plans. Reads only.
 */
import { readFile } from 'node:fs/promises';
import { AimError, type GpuDriver, type Inventory, nodeName } from '@aim-gpu/core';
import { readSimulatedNodes } from '@aim-gpu/driver-simulated';
import {
  type DesiredLayout,
  parseLayoutSpec,
  parseLayoutWishes,
  parseRepartitionPlan,
  type RepartitionPlan,
  toDesiredLayouts,
} from '@aim-gpu/partitioning';
import type { CommandContext } from './context.js';
import { type DriverOptions, openNode } from './drivers.js';
import { chooseNode, type FleetOptions, readFleet, toDriver } from './fleet-input.js';
import { noCards } from './no-cards.js';

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

/** Works with the devices of the node that the options name, and closes them. */
export async function withDriver(
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

/** Reads the node. Throws `ERR_DEVICE_UNKNOWN` (missing) where there is no card. */
export async function discover(driver: GpuDriver): Promise<Inventory> {
  const inventory = await driver.discover();
  if (inventory.cards.length === 0) throw noCards(inventory.problems);
  return inventory;
}

/** The layouts that were typed, before those of a file. Throws `ERR_USAGE` when there is none. */
export async function desiredOf(
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

/** Reads a stored plan; `ERR_CONFIG_INVALID` when it is none. The holders that `partition plan --json` adds for people are no part of it. */
export async function readPlan(context: CommandContext, file: string): Promise<RepartitionPlan> {
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

/** Reads a file that another command wrote. Throws `ERR_FILE_MISSING` with how to write it. */
export async function readText(
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
