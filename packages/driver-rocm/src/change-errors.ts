/**
 * Refusals of the kernel, of amd-smi and of modprobe as errors of the driver port. Owns the one table from errno and
 * tool status to code and kind; decides nothing about retrying.
 */
import { AimError, type CardId, type DeviceHolder } from '@aim-gpu/core';

/** A change that was asked of a node as it no longer is. */
export function staleGeneration(expected: string, actual: string): AimError {
  return new AimError({
    code: 'ERR_GENERATION_STALE',
    kind: 'conflict',
    message: 'the node has changed since it was read',
    details: { expected, actual },
    hint: 'read it again and plan anew',
  });
}

/** A card that this node does not have. */
export function unknownCard(node: string, card: CardId, known: readonly CardId[]): AimError {
  return new AimError({
    code: 'ERR_DEVICE_UNKNOWN',
    kind: 'missing',
    message: `${node} has no card ${card}`,
    details: { card, known },
    hint: `cards are: ${known.join(', ') || 'none'}`,
  });
}

/** A mode that a card does not offer, or a card whose modes are its host's business. */
export function unsupportedMode(what: string, why: string): AimError {
  return new AimError({
    code: 'ERR_LAYOUT_UNSUPPORTED',
    kind: 'refused',
    message: `${what}: ${why}`,
    details: { reason: why },
  });
}

/** EBUSY: who holds the card, as far as that can be seen. */
export function deviceBusy(what: string, holders: readonly DeviceHolder[]): AimError {
  const by = holders.map(({ pid, command }) => (command === null ? `${pid}` : `${pid} ${command}`));
  return new AimError({
    code: 'ERR_DEVICE_BUSY',
    kind: 'conflict',
    message: `${what}: busy, held by ${by.length === 0 ? 'no process that can be seen' : by.join(', ')}`,
    details: { errno: 'EBUSY', holders },
    hint:
      by.length === 0
        ? 'run as root to see the holders; older kernels count every process of the node that has /dev/kfd open'
        : 'stop these processes and try again; exporters and monitors count too',
  });
}

/** The kernel or the tool did not answer in time. */
export function switchTimeout(what: string, waitedMs: number): AimError {
  return new AimError({
    code: 'ERR_SWITCH_TIMEOUT',
    kind: 'timeout',
    message: `${what} did not end within ${waitedMs} ms; its outcome is unknown`,
    details: { waitedMs },
    hint: 'read the node back before doing anything else',
  });
}

/** The errno of a refused write; `EBUSY` is told by {@link deviceBusy}, which knows the holders. */
export function writeRefused(what: string, errno: string, file: string): AimError {
  const details = { errno, file };
  switch (errno) {
    case 'EACCES':
    case 'EROFS':
      return new AimError({
        code: 'ERR_DRIVER_PERMISSION',
        kind: 'denied',
        message: `${what}: no permission to write ${file} (${errno})`,
        details,
        hint: 'run as root on the host; in a container mount /sys writable',
      });
    case 'EPERM':
      return new AimError({
        code: 'ERR_DRIVER_PERMISSION',
        kind: 'denied',
        message: `${what}: the kernel refuses (EPERM), as it does while the card is being reset`,
        details,
        hint: 'wait until the reset has ended, then try again as root',
      });
    case 'EINVAL':
    case 'EOPNOTSUPP':
    case 'ENOTSUP':
      return new AimError({
        code: 'ERR_LAYOUT_UNSUPPORTED',
        kind: 'refused',
        message: `${what}: the kernel does not take it (${errno})`,
        details,
        hint: 'the modes that the card offers are in `aim-gpu partitions list`',
      });
    case 'ENOENT':
      return new AimError({
        code: 'ERR_LAYOUT_UNSUPPORTED',
        kind: 'refused',
        message: `${what}: this kernel has no ${file}`,
        details,
        hint: 'partitioning needs a bare-metal card and a driver of ROCm 6.4 or newer',
      });
    case 'EBUSY':
      return deviceBusy(what, []);
    default:
      return new AimError({
        code: 'ERR_DRIVER_IO',
        kind: 'unavailable',
        message: `${what}: ${errno}`,
        details,
        hint: 'look at the kernel log (dmesg) and read the node back',
      });
  }
}

// amdsmi.h, the same numbers since ROCm 6.3.
const STATUS_ERRNO: ReadonlyMap<number, string> = new Map([
  [1, 'EINVAL'],
  [2, 'EOPNOTSUPP'],
  [3, 'EOPNOTSUPP'],
  [10, 'EACCES'],
  [12, 'EIO'],
  [30, 'EBUSY'],
  [31, 'ENODEV'],
  [34, 'ENODEV'],
  [54, 'EBUSY'],
  [55, 'EINVAL'],
]);

/** The errno that a status of amd-smi stands for, by number or by the words it prints; null when it is none of them. */
export function errnoOfTool(status: number | null, text: string): string | null {
  const known = status === null ? undefined : STATUS_ERRNO.get(Math.abs(status));
  if (known !== undefined) return known;
  if (/NO_PERM|permission|must be run (?:as root|with sudo)|elevated/i.test(text)) return 'EACCES';
  if (/BUSY|RESTART_ERR|in use/i.test(text)) return 'EBUSY';
  if (/SETTING_UNAVAILABLE|INVAL\b|invalid/i.test(text)) return 'EINVAL';
  if (/NOT_SUPPORTED|not supported/i.test(text)) return 'EOPNOTSUPP';
  if (/TIMEOUT/i.test(text)) return 'ETIMEDOUT';
  return null;
}
