/**
 * A log file that a process writes to by itself: opened for appending, kept from growing for ever across launches, and
 * read from its end. Owns the file's size at launch; the process owns what is in it.
 */
import { closeSync, fstatSync, mkdirSync, openSync, readSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';

/** A log of that size is put aside, once, before the next process writes to it. */
const MOST_LOG_BYTES = 64 * 2 ** 20;
/** Last words are looked for in that much of the end. */
const TAIL_BYTES = 64 * 1024;

/** A log file open for a process. */
export interface OpenLog {
  readonly fd: number;
  /** Where the process's own words begin. */
  readonly startsAt: number;
}

/**
 * Opens the log for a process, private to its user. Null or a full disk gives /dev/null: an engine that can serve must
 * not fail for its log. Throws what the file system says otherwise.
 */
export function openLogFor(file: string | null): OpenLog {
  if (file === null) return { fd: openSync('/dev/null', 'a'), startsAt: 0 };
  try {
    mkdirSync(path.dirname(file), { recursive: true });
    putAside(file);
    const fd = openSync(file, 'a', 0o600);
    return { fd, startsAt: fstatSync(fd).size };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    return { fd: openSync('/dev/null', 'a'), startsAt: 0 };
  }
}

function putAside(file: string): void {
  try {
    if (statSync(file).size > MOST_LOG_BYTES) renameSync(file, `${file}.1`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** The last lines of a log, oldest first; none when it cannot be read. */
export function readTail(
  file: string | null,
  options: { readonly startsAt: number; readonly maxLines: number; readonly maxLineLength: number },
): readonly string[] {
  if (file === null) return [];
  try {
    const fd = openSync(file, 'r');
    try {
      const { size } = fstatSync(fd);
      const from = Math.max(options.startsAt > size ? 0 : options.startsAt, size - TAIL_BYTES);
      const buffer = Buffer.alloc(Math.max(0, size - from));
      readSync(fd, buffer, 0, buffer.length, from);
      return buffer
        .toString('utf8')
        .split(/\r\n|\n|\r/)
        .filter((line) => line !== '')
        .slice(-options.maxLines)
        .map((line) => line.slice(0, options.maxLineLength));
    } finally {
      closeSync(fd);
    }
  } catch {
    return [];
  }
}
