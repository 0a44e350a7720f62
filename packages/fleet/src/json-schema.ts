/**
 * The JSON Schema of the fleet file, for editors. Owns its draft and its name; what it says comes from schema.ts.
 */
import { z } from 'zod';
import { fleetSchema } from './schema.js';

/**
 * Makes the JSON Schema (draft 7, which editors' YAML support reads best) of a fleet file as people write it: short
 * forms included, keys with defaults optional. The package ships it as `schema/fleet.v1alpha1.json`.
 */
export function fleetJsonSchema(): Readonly<Record<string, unknown>> {
  return z.toJSONSchema(fleetSchema, {
    io: 'input',
    target: 'draft-7',
    // A value that may be null becomes a choice of two; editors look for the description outside of it.
    override: ({ jsonSchema }) => {
      const told = jsonSchema.anyOf?.find((option) => option.description !== undefined);
      if (told?.description !== undefined) jsonSchema.description ??= told.description;
    },
  }) as Record<string, unknown>;
}
