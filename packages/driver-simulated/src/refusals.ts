/**
 * The simulated machine's refusals as errors of the driver port: code and kind by the port's contract, the machine's
 * own wording in `details.machine`.
 */
import { AimError, type CardId, type DeviceHolder } from '@aim-gpu/core';
import type { MachineRefusal } from './kernel.js';

/** A card that this machine does not have. */
export function unknownCard(card: CardId, known: readonly CardId[]): AimError {
  return new AimError({
    code: 'ERR_DEVICE_UNKNOWN',
    kind: 'missing',
    message: `there is no card ${card} on this simulated machine`,
    details: { card, known },
  });
}

/** A change that was asked of a machine as it no longer is. */
export function staleGeneration(expected: string, actual: string): AimError {
  return new AimError({
    code: 'ERR_GENERATION_STALE',
    kind: 'conflict',
    message: 'the machine has changed since it was read',
    details: { expected, actual },
    hint: 'read it again and plan anew',
  });
}

/** EBUSY: who holds the card, as far as that can be seen. */
export function deviceBusy(options: {
  readonly what: string;
  readonly text: string;
  readonly holders: readonly DeviceHolder[];
}): AimError {
  const { what, text, holders } = options;
  const pids = holders.map((holder) => holder.pid);
  const by = pids.length === 0 ? 'no process that can be seen' : `pid ${pids.join(', ')}`;
  return new AimError({
    code: 'ERR_DEVICE_BUSY',
    kind: 'conflict',
    message: `${what} is busy: held by ${by}`,
    details: { errno: 'EBUSY', machine: text, holders },
    hint: 'stop what uses the device and try again',
  });
}

/** The machine said no; maps its errno to the taxonomy. */
export function machineRefused(what: string, refusal: MachineRefusal): AimError {
  const details = { errno: refusal.errno, machine: refusal.text };
  const message = `${what}: ${refusal.text}`;
  switch (refusal.errno) {
    case 'EINVAL':
    case 'EOPNOTSUPP':
      return new AimError({ code: 'ERR_LAYOUT_UNSUPPORTED', kind: 'refused', message, details });
    case 'EPERM':
      return new AimError({ code: 'ERR_DRIVER_PERMISSION', kind: 'denied', message, details });
    case 'EBUSY':
      return deviceBusy({ what, text: refusal.text, holders: [] });
    case 'EIO':
    case 'ENODEV':
      return new AimError({ code: 'ERR_DRIVER_IO', kind: 'unavailable', message, details });
  }
}

/** The driver stopped waiting; what the machine makes of the change is not known. */
export function switchTimeout(what: string, waitedMs: number): AimError {
  return new AimError({
    code: 'ERR_SWITCH_TIMEOUT',
    kind: 'timeout',
    message: `${what} did not end within ${waitedMs} ms; its outcome is unknown`,
    details: { waitedMs },
    hint: 'read the machine back before doing anything else',
  });
}

/** The power went while a change was under way. */
export function powerCut(): AimError {
  return new AimError({
    code: 'ERR_DRIVER_IO',
    kind: 'unavailable',
    message: 'the power was cut during the change; the machine has started anew',
    details: { errno: 'ENODEV', machine: 'power cut' },
    hint: 'read the machine back: every card is in its initial layout',
  });
}
