/**
 * Coded errors for numbers that cannot be a load, a model or a partition. Owns the one code of this package for bad
 * input, so that zero, negative, infinite and absurd values are refused the same way everywhere.
 */
import { AimError } from '@aim-gpu/core';

/** Makes the error for an input that cannot be meant: code `ERR_PREDICT_INVALID`, kind invalid. */
export function invalidInput(field: string, value: unknown, want: string): AimError {
  return new AimError({
    code: 'ERR_PREDICT_INVALID',
    kind: 'invalid',
    message: `${field} must be ${want}, got ${String(value)}`,
    details: { field, value: typeof value === 'number' ? String(value) : value, want },
    hint: `give ${field} as ${want}`,
  });
}

/** Refuses a value outside [low, high] or not a number. Throws `ERR_PREDICT_INVALID`. */
export function requireNumber(field: string, value: number, low: number, high: number): number {
  if (typeof value !== 'number' || !(value >= low && value <= high))
    throw invalidInput(field, value, `a number from ${low} to ${high}`);
  return value;
}

/** Refuses a value that is not a whole number in [low, high]. Throws `ERR_PREDICT_INVALID`. */
export function requireWhole(field: string, value: number, low: number, high: number): number {
  if (!Number.isSafeInteger(value) || value < low || value > high)
    throw invalidInput(field, value, `a whole number from ${low} to ${high}`);
  return value;
}
