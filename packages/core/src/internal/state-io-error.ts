/**
 * Turns failures of the file system under a state directory into coded errors with one thing to do about each.
 */
import { AimError } from '../errors.js';

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: free some space or choose another state directory',
  EDQUOT: 'the disk quota is used up: free some space or choose another state directory',
  EROFS: 'the file system is read-only: choose another state directory',
  EACCES: 'this user may not write there: choose another state directory or change its owner',
  EPERM: 'this user may not write there: choose another state directory or change its owner',
  ENOTDIR: 'part of the path is a file: choose another state directory',
  EMFILE: 'too many open files: raise the limit (ulimit -n)',
  EIO: 'the disk reports errors: check the kernel log',
};

/** The errno name of a failed system call, or null. */
export function errnoOf(error: unknown): string | null {
  if (typeof error !== 'object' || error === null || !('code' in error)) return null;
  return typeof error.code === 'string' ? error.code : null;
}

/** Makes `ERR_STATE_IO` of a failed system call: kind denied for missing rights, else unavailable. */
export function toStateIoError(error: unknown, action: string, path: string): AimError {
  if (AimError.is(error)) return error;
  const errno = errnoOf(error);
  const hint = errno === null ? undefined : HINTS[errno];
  return new AimError({
    code: 'ERR_STATE_IO',
    kind: errno === 'EACCES' || errno === 'EPERM' ? 'denied' : 'unavailable',
    message: `cannot ${action} ${path}: ${errno ?? String(error)}`,
    details: { path, errno },
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}
