/**
 * Drivers by name: which driver a node of the fleet gets on this host.
 */
import type { FleetNode, GpuDriver, NodeName } from '@aim-gpu/core';
import { createRocmDriver } from '@aim-gpu/driver-rocm';
import { createSimulatedDriver, type SimulatedDriver } from '@aim-gpu/driver-simulated';
import type { CommandContext } from './context.js';

/** Options of commands that open a node's devices. */
export interface DriverOptions {
  /** Root of a tree that holds sys and proc, for the rocm driver. */
  readonly root?: string;
  readonly realisticTiming?: boolean;
}

/** A node's driver, with the simulated machine apart: its engines need the shared device. */
export interface OpenNode {
  readonly driver: GpuDriver;
  readonly simulated: SimulatedDriver | null;
}

/** Opens a node's devices. Reads nothing yet. */
export function openNode(
  context: CommandContext,
  node: FleetNode,
  options: DriverOptions,
): OpenNode {
  if (node.driver === 'rocm')
    return { driver: openRocm(context, node.name, options), simulated: null };
  const simulated = createSimulatedDriver({
    node: node.name,
    // A node whose file names no cards uses the machine of the state directory as it is.
    ...(node.cards.length === 0 ? {} : { cards: node.cards }),
    store: context.store,
    clock: context.clock,
    rng: context.rng,
    timing: options.realisticTiming === true ? 'realistic' : 'short',
  });
  return { driver: simulated, simulated };
}

/** Opens this host's real cards, or those of a recorded tree. */
export function openRocm(
  context: CommandContext,
  node: NodeName,
  options: DriverOptions,
): GpuDriver {
  return createRocmDriver({
    node,
    clock: context.clock,
    ...(options.root === undefined ? {} : { root: context.resolve(options.root) }),
  });
}
