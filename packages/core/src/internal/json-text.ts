/**
 * JSON.stringify that tells: a value without a JSON form is refused instead of becoming `undefined`.
 */
import { AimError } from '../errors.js';

/** Writes a value as JSON. Throws `ERR_INVARIANT` for undefined, functions and symbols. */
export function toJsonText(value: unknown): string {
  // JSON.stringify answers undefined for what has no JSON form, which its type does not say.
  const text: string | undefined = JSON.stringify(value);
  if (text !== undefined) return text;
  throw new AimError({
    code: 'ERR_INVARIANT',
    kind: 'internal',
    message: `a ${typeof value} has no JSON form and cannot be kept`,
  });
}
