/**
 * Files that survive a power cut: a replaced file is the old one or the new one, never a mixture, and a promise that
 * resolved stays kept. Owns the order of write, fsync and rename; knows nothing of what is in the files.
 */
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  unlink,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AimError } from '../errors.js';
import { isProcessAlive } from './process-identity.js';
import { errnoOf, toStateIoError } from './state-io-error.js';

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;
const TEMPORARY = /\.(\d+)\.tmp$/;

/** Makes the directory and its missing parents, private to this user and durable. */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    const first = await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE });
    if (first === undefined) return;
    // Each new directory is an entry of its parent, which has to reach the disk too.
    for (let path = directory; path.length >= first.length; path = dirname(path)) {
      await syncDirectory(dirname(path));
    }
  } catch (error) {
    throw toStateIoError(error, 'create', directory);
  }
}

/** Makes a directory's entries durable. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Temporary files this process is writing now, which a sweep must leave alone. */
const inUse = new Set<string>();
let temporaries = 0;

/** Runs `work` with the path of a temporary file beside `path` that nobody else writes, and removes what is left. */
export async function withTemporary<T>(
  path: string,
  work: (temporary: string) => Promise<T>,
): Promise<T> {
  temporaries += 1;
  const temporary = `${path}.${temporaries}.${process.pid}.tmp`;
  inUse.add(temporary);
  try {
    return await work(temporary);
  } finally {
    await unlink(temporary).catch(() => undefined);
    inUse.delete(temporary);
  }
}

/** Replaces a file whole. Throws `ERR_STATE_IO`; the old content is then still there. */
export async function replaceFile(path: string, content: string): Promise<void> {
  try {
    await withTemporary(path, async (temporary) => {
      const handle = await open(temporary, 'w', FILE_MODE);
      try {
        await handle.writeFile(content);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, path);
    });
    await syncDirectory(dirname(path));
  } catch (error) {
    throw toStateIoError(error, 'write', path);
  }
}

/** Reads a file; null when it is not there. Throws `ERR_STATE_IO`. */
export async function readFileIfAny(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null;
    throw toStateIoError(error, 'read', path);
  }
}

/** How many bytes a file has; 0 when it is not there. Throws `ERR_STATE_IO`. */
export async function sizeOfFile(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 0;
    throw toStateIoError(error, 'read', path);
  }
}

/** Between two changes of a file that its times may not tell apart: a tick of the kernel's clock, with room. */
const SAME_TIME_MS = 100;

/**
 * A text that changes whenever a file is replaced; `absent` when it is not there. Null within moments of a change:
 * another one may have the same time. Throws `ERR_STATE_IO`.
 */
export async function versionOfFile(path: string, nowMs: number): Promise<string | null> {
  try {
    const { ino, size, mtimeNs, ctimeNs, ctimeMs } = await stat(path, { bigint: true });
    const passedMs = nowMs - Number(ctimeMs);
    return passedMs > SAME_TIME_MS ? `${ino}-${size}-${mtimeNs}-${ctimeNs}` : null;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'absent';
    throw toStateIoError(error, 'read', path);
  }
}

/**
 * Adds to the first `end` bytes of a file that has `size` bytes and makes that durable; bytes in between are dropped.
 * Throws `ERR_STATE_IO`, and `ERR_STATE_CONFLICT` (conflict) when the size is no longer true: somebody else writes.
 * After a failed write the file is cut back to `end` bytes where that is still possible.
 */
export async function appendDurably(
  path: string,
  place: { readonly size: number; readonly end: number },
  content: string,
): Promise<void> {
  try {
    const handle = await open(path, 'a', FILE_MODE);
    try {
      if ((await handle.stat()).size !== place.size) throw conflictError(path);
      if (place.size !== place.end) await handle.truncate(place.end);
      await appendOrCutBack(handle, place.end, content);
    } finally {
      await handle.close();
    }
    if (place.end === 0) await syncDirectory(dirname(path));
  } catch (error) {
    throw toStateIoError(error, 'append to', path);
  }
}

async function appendOrCutBack(handle: FileHandle, end: number, content: string): Promise<void> {
  try {
    await handle.appendFile(content);
    await handle.sync();
  } catch (error) {
    await handle.truncate(end).catch(() => undefined);
    throw error;
  }
}

function conflictError(path: string): AimError {
  return new AimError({
    code: 'ERR_STATE_CONFLICT',
    kind: 'conflict',
    message: `somebody else writes ${path} at the same time`,
    details: { path },
    hint: 'take the lock of the state directory before writing to it',
  });
}

/** Removes temporary files that processes left behind when they were killed. */
export async function sweepTemporaries(directory: string): Promise<void> {
  try {
    for (const entry of await readdir(directory)) {
      const path = join(directory, entry);
      const pid = Number(TEMPORARY.exec(entry)?.[1] ?? Number.NaN);
      // A process of the same pid may have left some before this one, as pid 1 of a container does.
      const left = pid === process.pid ? !inUse.has(path) : pid > 0 && !isProcessAlive(pid);
      if (left) await unlink(path).catch(() => undefined);
    }
  } catch (error) {
    throw toStateIoError(error, 'list', directory);
  }
}
