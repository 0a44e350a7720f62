/**
 * Keeps a qos object's memory in a store: reads it once at the start, writes it every few seconds and at the end. Owns
 * that neither a broken snapshot nor a full disk ever stops admission; effects go through the store only.
 */
import { type Clock, type Logger, type StateStore, silentLogger } from '@aim-gpu/core';
import type { Qos } from './qos-interface.js';
import { parseSnapshot, type SnapshotProblem, toSnapshotText } from './qos-snapshot.js';

/** What the start found. */
export type RestoreResult = 'restored' | 'none' | 'unreadable' | SnapshotProblem;

/** Keeps snapshots until it is stopped. */
export interface SnapshotKeeper {
  /** Restores what is stored and begins to write. Never rejects: without a snapshot it starts empty. */
  start(): Promise<RestoreResult>;
  /** Writes once more and stops. Never rejects; false when that write failed. Idempotent. */
  stop(): Promise<boolean>;
  /** Writes that failed since the start. */
  readonly failures: number;
}

const EVERY_MS = 5_000;

/** Makes a keeper; nothing is read before {@link SnapshotKeeper.start}. */
export function createSnapshotKeeper(options: {
  readonly qos: Pick<Qos, 'snapshot' | 'restore'>;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly logger?: Logger;
  /** Name of the snapshot in the store; `qos` unless given. */
  readonly name?: string;
  /** Milliseconds between writes; 5 s unless given. */
  readonly everyMs?: number;
}): SnapshotKeeper {
  const { qos, clock } = options;
  const logger = options.logger ?? silentLogger;
  const everyMs = options.everyMs ?? EVERY_MS;
  const stored = options.store.snapshot<string>(options.name ?? 'qos');
  let failures = 0;
  let disarm: (() => void) | null = null;
  let stopped: Promise<boolean> | null = null;
  let writing: Promise<boolean> = Promise.resolve(true);

  const write = async (): Promise<boolean> => {
    try {
      await stored.write(toSnapshotText(qos.snapshot()));
      return true;
    } catch (error) {
      failures += 1;
      logger.warn('snapshot-failed', { message: messageOf(error), failures });
      return false;
    }
  };
  const arm = (): void => {
    disarm = clock.timer(everyMs, () => {
      writing = write();
      void writing.then(() => {
        if (stopped === null) arm();
      });
    });
  };
  const restore = async (): Promise<RestoreResult> => {
    let text: string | null;
    try {
      text = await stored.read();
    } catch (error) {
      logger.warn('snapshot-ignored', { problem: 'unreadable', message: messageOf(error) });
      return 'unreadable';
    }
    if (text === null) return 'none';
    const parsed = parseSnapshot(text, clock.epochMs());
    if (!parsed.ok) {
      logger.warn('snapshot-ignored', { problem: parsed.problem });
      return parsed.problem;
    }
    qos.restore(parsed.snapshot);
    return 'restored';
  };

  return {
    get failures() {
      return failures;
    },
    start: async () => {
      const result = await restore();
      if (stopped === null && disarm === null) arm();
      return result;
    },
    stop: () => {
      disarm?.();
      stopped ??= writing.then(write);
      return stopped;
    },
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown';
}
