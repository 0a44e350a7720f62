/**
 * A lock between processes as a row of numbered files: the holder is whoever wrote the highest number, until it says
 * so no more or has died.
 *
 * Why numbers: a single lock file cannot be taken over safely. Of two processes that both find the holder dead, the
 * slower one would remove the file the faster one has just made. Here a take-over only ever creates the next number,
 * which the kernel grants to one process (link(2) fails for the others); numbers are never reused while a higher one
 * exists, since the highest file stays when its holder lets go; and a process so slow that its number was given out
 * and cleared away meanwhile sees a higher one afterwards and steps back.
 */
import { ftruncateSync } from 'node:fs';
import { type FileHandle, link, open, readdir, readFile, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Clock } from '../clock.js';
import { AimError } from '../errors.js';
import { createLease, type Lease } from '../lease.js';
import { withTemporary } from './durable-file.js';
import { livenessOf, ownIdentity, type ProcessIdentity } from './process-identity.js';
import { errnoOf, toStateIoError } from './state-io-error.js';

const FILE_MODE = 0o600;
/** A try fails only when another process acted in between; so many in a row mean a fault of the file system. */
const MOST_TRIES = 100;

/** What a lock file says while it is held; a released one is empty. */
interface LockRecord extends ProcessIdentity {
  readonly sinceEpochMs: number;
}

/** Takes the lock at `path`. Throws `ERR_STATE_LOCKED` (conflict) with the holder, or `ERR_STATE_IO`. */
export async function takeLock(path: string, clock: Clock): Promise<Lease> {
  const record: LockRecord = { ...ownIdentity(), sinceEpochMs: clock.epochMs() };
  try {
    return await withTemporary(path, async (temporary) => {
      const handle = await open(temporary, 'w', FILE_MODE);
      try {
        await handle.writeFile(JSON.stringify(record));
        await winNumber(path, temporary);
        return toLease(handle);
      } catch (error) {
        await handle.close();
        throw error;
      }
    });
  } catch (error) {
    throw toStateIoError(error, 'lock', path);
  }
}

/** Gives the temporary file the next number of the lock. Throws `ERR_STATE_LOCKED`. */
async function winNumber(path: string, temporary: string): Promise<void> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    if (await tryNext(path, temporary)) return;
  }
  throw new AimError({
    code: 'ERR_STATE_LOCKED',
    kind: 'conflict',
    message: `${path} changes hands all the time`,
    details: { path, pid: null },
  });
}

/** One try: whether the next number was won; another process may have acted in between. */
async function tryNext(path: string, temporary: string): Promise<boolean> {
  const highest = (await listNumbers(path)).at(-1) ?? 0;
  if (highest > 0) {
    const holder = await readRecord(`${path}.${highest}`);
    if (holder === 'gone') return false;
    if (holder !== null) refuseIfHeld(path, `${path}.${highest}`, holder);
  }
  const own = highest + 1;
  try {
    await link(temporary, `${path}.${own}`);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
  const after = await listNumbers(path);
  const won = after.at(-1) === own;
  for (const number of won ? after.filter((other) => other < own) : [own]) {
    await unlink(`${path}.${number}`).catch(() => undefined);
  }
  return won;
}

/** Numbers of the lock's files, lowest first. */
async function listNumbers(path: string): Promise<readonly number[]> {
  const prefix = `${basename(path)}.`;
  return (await readdir(dirname(path)))
    .filter((entry) => entry.startsWith(prefix) && /^\d+$/.test(entry.slice(prefix.length)))
    .map((entry) => Number(entry.slice(prefix.length)))
    .sort((a, b) => a - b);
}

/** What a lock file says; `gone` when it is not there, null when it is released, or empty after a power cut. */
async function readRecord(file: string): Promise<LockRecord | null | 'gone'> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return 'gone';
    throw error;
  }
  try {
    const record: unknown = JSON.parse(text);
    return isLockRecord(record) ? record : null;
  } catch {
    return null;
  }
}

function isLockRecord(value: unknown): value is LockRecord {
  return typeof value === 'object' && value !== null && 'pid' in value && 'sinceEpochMs' in value;
}

function refuseIfHeld(path: string, file: string, holder: LockRecord): void {
  const liveness = livenessOf(holder);
  if (liveness === 'dead') return;
  throw new AimError({
    code: 'ERR_STATE_LOCKED',
    kind: 'conflict',
    message: `${dirname(path)} is in use by process ${holder.pid}`,
    details: { path, pid: holder.pid, sinceEpochMs: holder.sinceEpochMs },
    hint:
      liveness === 'unseen'
        ? `the holder is in another container; if that has ended, remove ${file}`
        : `stop process ${holder.pid}, or use another state directory`,
  });
}

/** Files of the locks this process holds. */
const held = new Set<FileHandle>();

function letAllGo(): void {
  for (const handle of held) ftruncateSync(handle.fd, 0);
}

/**
 * A lease that empties the file, through its handle: should somebody have removed it by hand, nobody else's is hit,
 * and emptying works on a full disk. So does the end of the process, where it comes in order.
 */
function toLease(handle: FileHandle): Lease {
  if (held.size === 0) process.on('exit', letAllGo);
  held.add(handle);
  return createLease(async () => {
    held.delete(handle);
    if (held.size === 0) process.removeListener('exit', letAllGo);
    await handle.truncate(0);
    await handle.close();
  });
}
