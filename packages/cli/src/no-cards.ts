/**
 * The error of a command that needs a card where there is none.
 */
import { AimError, type Problem } from '@aim-gpu/core';

/** Nothing there, and nothing that one may see, are different: the second has a cure on this host. */
export function noCards(problems: readonly Problem[]): AimError {
  const denied = problems.find((problem) => problem.code === 'PERMISSION_DENIED');
  if (denied !== undefined) {
    return new AimError({
      code: 'ERR_DRIVER_PERMISSION',
      kind: 'denied',
      message: `this user may not see the GPUs: ${denied.message} (${denied.where})`,
      hint: 'run it as root; `aim-gpu doctor` tells more',
      details: { problems },
    });
  }
  return new AimError({
    code: 'ERR_DEVICE_UNKNOWN',
    kind: 'missing',
    message: 'there is no GPU that this driver can see',
    hint: '`aim-gpu doctor` tells why; with `driver: simulated` a fleet file needs no GPU',
    details: { problems },
  });
}
