/**
 * A fleet file from disk. The only file of this package with effects: it reads one file and writes nothing.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { AimError } from '@aim-gpu/core';
import { type ParsedFleet, type ParseFleetOptions, parseFleet } from './parse.js';

/** How a fleet file is read. */
export interface ReadFleetOptions extends Omit<ParseFleetOptions, 'file'> {
  readonly signal?: AbortSignal;
}

const PROBLEMS: Readonly<
  Record<
    string,
    { code: string; kind: 'missing' | 'denied' | 'invalid'; what: string; hint: string }
  >
> = {
  ENOENT: {
    code: 'ERR_FILE_MISSING',
    kind: 'missing',
    what: 'does not exist',
    hint: 'check the path; it is relative to the current directory',
  },
  ENOTDIR: {
    code: 'ERR_FILE_MISSING',
    kind: 'missing',
    what: 'does not exist: part of its path is a file, not a directory',
    hint: 'check the path; it is relative to the current directory',
  },
  EISDIR: {
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    what: 'is a directory, not a file',
    hint: 'name the fleet file in it',
  },
  EACCES: {
    code: 'ERR_FILE_PERMISSION',
    kind: 'denied',
    what: 'may not be read by this user',
    hint: 'make it readable, for example with chmod u+r',
  },
};

/**
 * Reads and parses a fleet file. Throws what {@link parseFleet} throws, and `ERR_FILE_MISSING` (missing),
 * `ERR_CONFIG_INVALID` for a directory, `ERR_FILE_PERMISSION` (denied), `ERR_FILE_IO` (unavailable); when the signal
 * aborts, its reason.
 */
export async function readFleetFile(
  path: string,
  options: ReadFleetOptions = {},
): Promise<ParsedFleet> {
  const { signal, ...parsing } = options;
  const file = resolve(path);
  let data: Uint8Array;
  try {
    data = await readFile(file, signal === undefined ? {} : { signal });
  } catch (cause) {
    if (signal?.aborted) throw signal.reason;
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const problem = PROBLEMS[code === 'EPERM' ? 'EACCES' : code];
    throw new AimError({
      code: problem?.code ?? 'ERR_FILE_IO',
      kind: problem?.kind ?? 'unavailable',
      message: `the fleet file ${path} ${problem?.what ?? 'could not be read'}`,
      hint: problem?.hint ?? 'read the cause and try again',
      details: { file },
      cause,
    });
  }
  return parseFleet(data, { ...parsing, file: path });
}
