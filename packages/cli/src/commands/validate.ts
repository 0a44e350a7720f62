/**
 * `aim-gpu validate F`: checks a fleet file and prints it with every default filled in.
 */
import type { Fleet } from '@aim-gpu/core';
import { toFleetDocument } from '@aim-gpu/fleet';
import { createModelLibrary } from '@aim-gpu/sizing';
import type { CommandContext } from '../context.js';
import { type FleetOptions, readFleet } from '../fleet-input.js';
import { sayWarnings } from '../warnings.js';

/** The longest context a model is given when its file does not say (CONTRACT §2). */
const DEFAULT_MAX_MODEL_LEN = 32_768;

/** Runs `validate`. Exit code 0 when the file is valid; everything else throws. */
export async function validate(
  context: CommandContext,
  file: string,
  options: FleetOptions,
): Promise<number> {
  const { fleet, warnings } = await readFleet(context, file, options);
  const complete = await withModelDefaults(fleet);
  sayWarnings(context, warnings);
  if (context.json) {
    context.print(toFleetDocument(complete));
    return 0;
  }
  const models = `${fleet.models.length} ${fleet.models.length === 1 ? 'model' : 'models'}`;
  const nodes = `${fleet.nodes.length} ${fleet.nodes.length === 1 ? 'node' : 'nodes'}`;
  context.say(`${file}: valid, ${models} on ${nodes}`);
  return 0;
}

/** Fills in what only the models' own configurations know; reading them also proves that each one can be had. */
async function withModelDefaults(fleet: Fleet): Promise<Fleet> {
  const library = createModelLibrary();
  const models = await Promise.all(
    fleet.models.map(async (workload) => {
      const config = await library.load(workload.source);
      const longest = Math.min(
        config.maxPositionEmbeddings ?? DEFAULT_MAX_MODEL_LEN,
        DEFAULT_MAX_MODEL_LEN,
      );
      return { ...workload, maxModelLen: workload.maxModelLen ?? longest };
    }),
  );
  return { ...fleet, models };
}
