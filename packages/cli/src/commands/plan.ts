/**
 * `aim-gpu plan F`: what would be done with the fleet, without doing it.
 */
import { planFromFleet } from '@aim-gpu/agent';
import type { Plan } from '@aim-gpu/core';
import { createModelLibrary } from '@aim-gpu/sizing';
import type { CommandContext } from '../context.js';
import { type DriverOptions, discoverNode, openNode } from '../drivers.js';
import { type FleetOptions, readFleet } from '../fleet-input.js';
import { planToText } from '../plan-text.js';
import { readCalibrations } from '../speed-calibrations.js';
import { sayWarnings } from '../warnings.js';

/** Exit code when something found no place (CONTRACT §3). */
const EXIT_UNPLACED = 6;

/** Runs `plan`. Exit code 0 when everything is placed, 6 when not; the plan is printed all the same. */
export async function plan(
  context: CommandContext,
  file: string,
  options: FleetOptions & DriverOptions,
): Promise<number> {
  const { fleet, warnings } = await readFleet(context, file, options);
  const opened = fleet.nodes.map((node) => openNode(context, node, options));
  try {
    const inventories = await Promise.all(opened.map(discoverNode));
    const { plan: made } = await planFromFleet({
      fleet,
      inventories,
      models: createModelLibrary(),
      calibrations: () => readCalibrations(context),
    });
    sayWarnings(context, warnings);
    show(context, made);
    return made.unplaced.length === 0 ? 0 : EXIT_UNPLACED;
  } finally {
    await Promise.all(opened.map(({ driver }) => driver.close()));
  }
}

function show(context: CommandContext, made: Plan): void {
  if (context.json) context.print(made);
  else context.say(planToText(made));
}
