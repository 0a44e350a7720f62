/**
 * The JSON Schema of the fleet file, for editors. Owns its draft and its name; what it says comes from schema.ts.
 */
import { parse } from 'yaml';
import { z } from 'zod';
import { fieldNotes } from './fields.js';
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
    // Examples of quantities are given as they are read, hence dropped by the conversion: they are put back.
    override: ({ zodSchema, jsonSchema }) => {
      const example = fieldNotes.get(zodSchema)?.example;
      if (example !== undefined) jsonSchema.examples ??= [parse(example)];
      const told = jsonSchema.anyOf?.find((option) => option.description !== undefined);
      if (told?.description !== undefined) jsonSchema.description ??= told.description;
    },
  }) as Record<string, unknown>;
}
