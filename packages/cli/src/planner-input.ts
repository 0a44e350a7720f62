/**
 * What the planner is asked about: a fleet file, the cards as read now, and the size of each model. Effects: reads files
 * and devices.
 */
import { sizeFleet } from '@aim-gpu/agent';
import type { FleetProblem } from '@aim-gpu/scheduler';
import { createModelLibrary } from '@aim-gpu/sizing';
import type { CommandContext } from './context.js';
import { type DriverOptions, discoverNode, openNode } from './drivers.js';
import { type FleetOptions, readFleet } from './fleet-input.js';
import { readCalibrations } from './speed-calibrations.js';
import { sayWarnings } from './warnings.js';

/** Reads a fleet, its cards and its models' sizes; tells the warnings. Errors are those of `plan`. */
export async function readFleetProblem(
  context: CommandContext,
  options: FleetOptions & DriverOptions & { readonly file: string },
): Promise<FleetProblem> {
  const { fleet, warnings } = await readFleet(context, options.file, options);
  const opened = fleet.nodes.map((node) => openNode(context, node, options));
  try {
    const inventories = await Promise.all(opened.map(discoverNode));
    const demands = await sizeFleet({ fleet, models: createModelLibrary() });
    const calibrations = await readCalibrations(context);
    sayWarnings(context, warnings);
    return { fleet, inventories, demands, calibrations };
  } finally {
    await Promise.all(opened.map(({ driver }) => driver.close()));
  }
}
