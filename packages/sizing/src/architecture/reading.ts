/**
 * What is collected while a config is being understood: assumptions, warnings, and the refusal of contradictions.
 * Owns that collection only; the formulas live beside the part of the model they describe.
 */
import { invalidConfig } from '../errors.js';
import type { RawText } from '../schema.js';
import type { FamilyTraits } from './families.js';

/** One config on its way to a `ModelConfig`. */
export interface Reading {
  readonly source: string;
  readonly text: RawText;
  readonly traits: FamilyTraits;
  readonly hidden: number;
  readonly vocab: number;
  readonly layerCount: number;
  readonly assumptions: string[];
  readonly warnings: string[];
}

/** Notes something that was assumed; a model with any such note is `approximate`. */
export function assume(reading: Reading, text: string): void {
  if (!reading.assumptions.includes(text)) reading.assumptions.push(text);
}

/** Throws `ERR_CONFIG_INVALID` for a field of this config. */
export function refuse(reading: Reading, path: string, problem: string, fix: string): never {
  throw invalidConfig(reading.source, path, problem, fix);
}

/** A field that must be there for the structure that other fields announce. */
export function need(reading: Reading, path: string, value: number | null | undefined): number {
  if (value === null || value === undefined || value === 0)
    refuse(
      reading,
      path,
      'missing, but the other fields need it',
      'give the complete config.json of the model',
    );
  return value;
}
