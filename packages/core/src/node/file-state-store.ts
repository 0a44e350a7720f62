/**
 * The state store on disk: one directory, private to its user, with `<name>.json` for snapshots, `<name>.jsonl` for
 * journals and `<name>.lock.<number>` for locks. Owns the names and when the directory is made: at the first write,
 * so that commands which only read leave no trace.
 */
import { join, resolve } from 'node:path';
import type { CallOptions } from '../abort.js';
import { type Clock, systemClock } from '../clock.js';
import { makeDirectory, sweepTemporaries } from '../internal/durable-file.js';
import { createJournalFile } from '../internal/journal-file.js';
import { takeLock } from '../internal/lock-file.js';
import { createSnapshotFile } from '../internal/snapshot-file.js';
import { toStateName } from '../internal/state-name.js';
import type { Lease } from '../lease.js';
import type { Journal, Snapshot, StateStore } from '../state-store.js';

/** What a {@link createFileStateStore} needs. */
export interface FileStateStoreOptions {
  /** Made at the first write or lock, mode 0700, with its missing parents. */
  readonly directory: string;
  /** For the time a lock was taken, which people read, and the age of files; the host's clock by default. */
  readonly clock?: Clock;
}

/**
 * Makes a state store over a directory. Nothing is touched until it is used.
 *
 * A resolved write, append or compact survives a power cut (fsync of file and directory). Locks hold against other
 * processes on this machine; that of a process that died, by `kill -9` or power cut, is free at once, also when its
 * pid was given to another process.
 *
 * Its calls throw `ERR_STATE_LOCKED` (conflict; holder's pid in details), `ERR_STATE_CORRUPT` (internal; file, line
 * and offset in details), `ERR_STATE_IO` (denied without the rights, else unavailable; path and errno in details) and
 * `ERR_STATE_NAME` (invalid).
 */
export function createFileStateStore(options: FileStateStoreOptions): StateStore {
  const directory = resolve(options.directory);
  const clock = options.clock ?? systemClock;
  const snapshots = new Map<string, Snapshot<unknown>>();
  const journals = new Map<string, Journal<unknown>>();
  let prepared: Promise<void> | undefined;

  const prepare = async (): Promise<void> => {
    prepared ??= makeDirectory(directory).then(() => sweepTemporaries(directory));
    try {
      await prepared;
    } catch (error) {
      // The next write tries again: a full disk may have been cleared.
      prepared = undefined;
      throw error;
    }
  };

  return {
    specVersion: 1,
    lock: async (name: string, callOptions?: CallOptions): Promise<Lease> => {
      const path = join(directory, `${toStateName(name)}.lock`);
      callOptions?.signal?.throwIfAborted();
      await prepare();
      return takeLock(path, clock);
    },
    snapshot: <T>(name: string): Snapshot<T> => {
      const path = join(directory, `${toStateName(name)}.json`);
      return cached(snapshots, name, () =>
        createSnapshotFile({ path, prepare, clock }),
      ) as Snapshot<T>;
    },
    journal: <T>(name: string): Journal<T> => {
      const path = join(directory, `${toStateName(name)}.jsonl`);
      return cached(journals, name, () => createJournalFile({ path, prepare })) as Journal<T>;
    },
  };
}

function cached<V>(map: Map<string, V>, name: string, make: () => V): V {
  const existing = map.get(name);
  if (existing !== undefined) return existing;
  const made = make();
  map.set(name, made);
  return made;
}
