/**
 * Reads a text file that the command line names. Effects: the file system.
 */
import { readFile } from 'node:fs/promises';
import { AimError } from '@aim-gpu/core';

/** The text of a file. Throws `ERR_FILE_MISSING` (missing) when it is not there or cannot be read. */
export async function readTextFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new AimError({
      code: 'ERR_FILE_MISSING',
      kind: 'missing',
      message: `${file} cannot be read: ${(cause as NodeJS.ErrnoException).code ?? 'unknown error'}`,
      cause,
    });
  }
}
