/**
 * Problems as this driver words them: a code, a sentence, the file. Owns that a file one may not read has one code
 * whatever it is about, so that callers can tell missing rights from a broken tree.
 */
import type { Problem } from '@aim-gpu/core';

/** A problem with its place. */
export function problem(code: string, message: string, where: string): Problem {
  return { code, message, where };
}

/** A file or directory that is there and cannot be read: `PERMISSION_DENIED` for EACCES, else the given code. */
export function unreadable(code: string, what: string, reason: string, where: string): Problem {
  return problem(reason === 'EACCES' ? 'PERMISSION_DENIED' : code, `${what}: ${reason}`, where);
}
