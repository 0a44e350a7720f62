/**
 * Drivers by name: which driver a node of the fleet gets on this host.
 */
import type { FleetNode, GpuDriver, Inventory, NodeName } from '@aim-gpu/core';
import { createRocmDriver, type RocmDriver } from '@aim-gpu/driver-rocm';
import { createSimulatedDriver, type SimulatedDriver } from '@aim-gpu/driver-simulated';
import type { CommandContext } from './context.js';
import { noCards } from './no-cards.js';
import { openRocmHost } from './rocm-host.js';

/** Options of commands that open a node's devices. */
export interface DriverOptions {
  /** Root of a tree that holds sys and proc, or a capture, for the rocm driver. */
  readonly root?: string;
  readonly realisticTiming?: boolean;
  /** Whether amdgpu may be unloaded and loaded, which a change of a memory mode takes. */
  readonly allowDriverReload?: boolean;
}

/** A node's driver, with what only one of the two kinds has apart. */
export interface OpenNode {
  readonly driver: GpuDriver;
  /** Its engines need the shared device. */
  readonly simulated: SimulatedDriver | null;
  /** Health, and whether its device files may be used. */
  readonly rocm: RocmDriver | null;
}

/** Opens a node's devices. Reads nothing yet. */
export function openNode(
  context: CommandContext,
  node: FleetNode,
  options: DriverOptions,
): OpenNode {
  if (node.driver === 'rocm') {
    const rocm = openRocm(context, node.name, options);
    return { driver: rocm, simulated: null, rocm };
  }
  const simulated = createSimulatedDriver({
    node: node.name,
    // A node whose file names no cards uses the machine of the state directory as it is.
    ...(node.cards.length === 0 ? {} : { cards: node.cards }),
    store: context.store,
    clock: context.clock,
    rng: context.rng,
    timing: options.realisticTiming === true ? 'realistic' : 'short',
  });
  return { driver: simulated, simulated, rocm: null };
}

/** Reads a node. Throws `ERR_DEVICE_UNKNOWN` (missing) for real cards where there are none. */
export async function discoverNode({ driver, rocm }: OpenNode): Promise<Inventory> {
  const inventory = await driver.discover();
  if (rocm !== null && inventory.cards.length === 0) throw noCards(inventory.problems);
  return inventory;
}

/** Opens this host's real cards, or those of a tree or a capture. Throws as {@link openRocmHost}. */
export function openRocm(
  context: CommandContext,
  node: NodeName,
  options: DriverOptions,
): RocmDriver {
  const { root, files, commands } = openRocmHost(context, options);
  const { clock, logger } = context;
  const allowReload = options.allowDriverReload === true;
  return createRocmDriver({ node, clock, root, files, commands, logger, allowReload });
}
