/**
 * Checks AIM profiles against AMD's own JSON Schemas, which ship with this package. Owns the loading of the validator,
 * which is done on first use because few programs need it.
 */

import { parseProfileYaml } from './aim-profile.js';
import { bundledPath, readTextFile } from './file-access.js';

/** What validation says about one profile. */
export interface AimValidation {
  readonly valid: boolean;
  /** Path and problem, one line each. */
  readonly errors: readonly string[];
}

const SCHEMAS = [
  'vllm_engine_schema.json',
  'general_profile_schema.json',
  'model_profile_schema.json',
] as const;

interface Validator {
  readonly model: (value: unknown) => readonly string[];
  readonly general: (value: unknown) => readonly string[];
}

let loading: Promise<Validator> | undefined;

async function load(): Promise<Validator> {
  const { Ajv } = await import('ajv');
  const ajv = new Ajv({ strict: false, allErrors: true });
  for (const name of SCHEMAS) {
    const text = await readTextFile(bundledPath('aim-schemas', name));
    ajv.addSchema(JSON.parse(text) as object, name);
  }
  const check =
    (name: string) =>
    (value: unknown): readonly string[] => {
      const validate = ajv.getSchema(name);
      if (validate === undefined || validate(value) === true) return [];
      return (validate.errors ?? []).map(
        (error) => `${error.instancePath || '/'} ${error.message ?? 'is not allowed'}`,
      );
    };
  return {
    model: check('model_profile_schema.json'),
    general: check('general_profile_schema.json'),
  };
}

/**
 * Says whether a profile's text is valid under AMD's schemas. A profile without `aim_id` and `model_id` is checked as a
 * general one. Unreadable YAML is an error line, not a throw.
 */
export async function validateAimProfile(
  text: string,
  source = 'profile.yaml',
): Promise<AimValidation> {
  loading ??= load();
  const { model, general } = await loading;
  let value: unknown;
  try {
    value = parseProfileYaml(text, source);
  } catch (error) {
    return { valid: false, errors: [error instanceof Error ? error.message : String(error)] };
  }
  const named =
    typeof value === 'object' && value !== null && ('aim_id' in value || 'model_id' in value);
  const errors = named ? model(value) : general(value);
  return { valid: errors.length === 0, errors };
}
