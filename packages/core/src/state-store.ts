/**
 * Port: where an agent keeps what must survive it. Snapshots are replaced whole, journals only grow; one holder at a
 * time. The file-backed one is in core/node.
 */
import type { CallOptions } from './abort.js';
import type { Lease } from './lease.js';

/** A named value that is replaced as a whole. */
export interface Snapshot<T> {
  /** The last value written, or null when there is none. Throws `ERR_STATE_CORRUPT` (internal) when unreadable. */
  read(): Promise<T | null>;
  /** Replaces the value; when it resolves, the value survives a power cut. */
  write(value: T): Promise<void>;
  /**
   * A text that is another one after every write, whoever wrote: who polls reads only when it has changed. Null when
   * that cannot be told now, so that the value has to be read. Left out where it never can.
   */
  version?(): Promise<string | null>;
}

/** A named list of records that only grows until it is compacted. */
export interface Journal<T> {
  /** Adds a record; when it resolves, the record survives a power cut. */
  append(record: T): Promise<void>;
  /** Every whole record in order; a torn last record (power cut) is dropped. Throws `ERR_STATE_CORRUPT` otherwise. */
  read(): Promise<readonly T[]>;
  /** Replaces all records by these, atomically. */
  compact(records: readonly T[]): Promise<void>;
}

/** Where state lives. */
export interface StateStore {
  readonly specVersion: 1;
  /**
   * Takes the only lock called `name`. Throws `ERR_STATE_LOCKED` (conflict) with the holder's pid in details.
   * The lock of a process that died is free.
   */
  lock(name: string, options?: CallOptions): Promise<Lease>;
  /** The snapshot called `name`, made by its first write. */
  snapshot<T>(name: string): Snapshot<T>;
  /** The journal called `name`, made by its first record. */
  journal<T>(name: string): Journal<T>;
}
