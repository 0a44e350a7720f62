/**
 * A state store that forgets everything with its process. Values go through JSON as they would on disk, so that what
 * a test reads back is what the file-backed store would give. Must not touch the file system.
 */
import type { CallOptions } from '../abort.js';
import { AimError } from '../errors.js';
import { toJsonText } from '../internal/json-text.js';
import { toStateName } from '../internal/state-name.js';
import { createLease, type Lease } from '../lease.js';
import type { Journal, Snapshot, StateStore } from '../state-store.js';

/** Makes an empty {@link StateStore} in memory; two stores share nothing, two handles of one name do. */
export function createMemoryStateStore(): StateStore {
  const snapshots = new Map<string, string>();
  const journals = new Map<string, readonly string[]>();
  const locks = new Set<string>();

  return {
    specVersion: 1,
    lock: async (name: string, options?: CallOptions): Promise<Lease> => {
      toStateName(name);
      options?.signal?.throwIfAborted();
      if (locks.has(name)) throw lockedError(name);
      locks.add(name);
      return createLease(() => void locks.delete(name));
    },
    snapshot: <T>(name: string): Snapshot<T> => {
      toStateName(name);
      return {
        read: async () => {
          const text = snapshots.get(name);
          return text === undefined ? null : (JSON.parse(text) as T);
        },
        write: async (value) => {
          snapshots.set(name, toJsonText(value));
        },
      };
    },
    journal: <T>(name: string): Journal<T> => {
      toStateName(name);
      return {
        append: async (record) => {
          journals.set(name, [...(journals.get(name) ?? []), toJsonText(record)]);
        },
        read: async () => (journals.get(name) ?? []).map((text) => JSON.parse(text) as T),
        compact: async (records) => {
          journals.set(name, records.map(toJsonText));
        },
      };
    },
  };
}

function lockedError(name: string): AimError {
  return new AimError({
    code: 'ERR_STATE_LOCKED',
    kind: 'conflict',
    message: `the lock "${name}" is held by this process`,
    details: { name, pid: process.pid },
  });
}
