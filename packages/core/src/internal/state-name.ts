/**
 * The form of names in a state store. One rule for every store, so that a test against the one in memory finds
 * a name the one on disk would refuse.
 */
import { AimError } from '../errors.js';

const STATE_NAME = /^[a-z0-9][a-z0-9._-]{0,99}$/;

/** Returns the name. Throws `ERR_STATE_NAME` (invalid) when it could not be a file's name everywhere. */
export function toStateName(name: string): string {
  if (STATE_NAME.test(name)) return name;
  throw new AimError({
    code: 'ERR_STATE_NAME',
    kind: 'invalid',
    message: `${JSON.stringify(name)} cannot name a snapshot, journal or lock`,
    details: { name },
    hint: 'use lower-case letters, digits, ".", "_" and "-", at most 100 of them',
  });
}
