/**
 * The error of a command that could not be started at all. Owns its words.
 */
import { AimError } from '@aim-gpu/core';

/** Makes the error. */
export function launchFailed(name: string, reason: string, cause?: unknown): AimError {
  return new AimError({
    code: 'ERR_LAUNCH_FAILED',
    kind: 'unavailable',
    message: `${name} could not be started: ${reason}`,
    hint: 'check that the engine is installed and on PATH of the process that launches it',
    details: { name, reason },
    ...(cause === undefined ? {} : { cause }),
  });
}
