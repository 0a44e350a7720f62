/**
 * Events on disk, so that an agent that is started again still tells what happened before. Owns their journal and its
 * bound. What could not be written is told once and forgotten: an event is never a reason to stop.
 */
import {
  type Clock,
  type Journal,
  type Logger,
  type StateStore,
  silentLogger,
} from '@aim-gpu/core';
import type { AgentEvent } from './event-log.js';

/** Events on disk. */
export interface EventJournal {
  /** Those that were kept, oldest first; from now on more may be. */
  load(): Promise<readonly AgentEvent[]>;
  /** Keeps one more, within a quarter of a second. Nothing happens before {@link EventJournal.load}. */
  keep(event: AgentEvent): void;
  /** Resolves when everything that was to be kept is on disk, or could not be. Never throws. */
  flushed(): Promise<void>;
}

/** One write: events that happen together are kept together. */
type Batch = readonly AgentEvent[];

const JOURNAL = 'events';
/** How late an event may come to the disk: an agent that starts has other things to write first. */
const KEPT_WITHIN_MS = 250;
/** Events that are kept. */
export const MOST_EVENTS = 1000;
/** The journal is rewritten when it holds so many. */
const MOST_KEPT = 2 * MOST_EVENTS;

/** Opens the journal of events in a store; nothing is read before `load`. */
export function createEventJournal(options: {
  readonly store: StateStore;
  readonly clock: Clock;
  readonly logger?: Logger;
}): EventJournal {
  const { store, clock, logger = silentLogger } = options;
  const journal = store.journal<Batch>(JOURNAL);
  let recent: AgentEvent[] = [];
  let waiting: AgentEvent[] = [];
  let kept = 0;
  let open = false;
  let told = false;
  let writing: Promise<void> | null = null;
  let cancel: (() => void) | null = null;

  const fail = (error: unknown): void => {
    if (told) return;
    told = true;
    logger.warn('events-not-kept', { message: String(error) });
  };
  const write = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      recent = [...recent, ...batch].slice(-MOST_EVENTS);
      try {
        if (kept + batch.length > MOST_KEPT) {
          await journal.compact([recent]);
          kept = recent.length;
        } else {
          await journal.append(batch);
          kept += batch.length;
        }
        told = false;
      } catch (error) {
        fail(error);
      }
    }
  };
  const flush = (): Promise<void> => {
    cancel?.();
    cancel = null;
    writing ??= write().finally(() => {
      writing = null;
    });
    return writing;
  };
  return {
    load: async () => {
      try {
        recent = await readKept(journal);
      } catch (error) {
        // A journal that cannot be read is begun anew.
        fail(error);
        await journal.compact([]).catch(fail);
      }
      kept = recent.length;
      open = true;
      return recent;
    },
    keep: (event) => {
      if (!open) return;
      waiting.push(event);
      cancel ??= clock.timer(KEPT_WITHIN_MS, () => void flush());
    },
    flushed: flush,
  };
}

/**
 * The events a state directory's last agent kept, oldest first. Takes no lock. Throws `ERR_STATE_CORRUPT` (internal).
 */
export async function readStoredEvents(store: StateStore): Promise<readonly AgentEvent[]> {
  return readKept(store.journal<Batch>(JOURNAL));
}

async function readKept(journal: Journal<Batch>): Promise<AgentEvent[]> {
  return (await journal.read()).flat().slice(-MOST_EVENTS);
}
