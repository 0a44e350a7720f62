/**
 * What happened on a node, newest last, bounded. Owns numbering and subscribers; who says what is elsewhere, and what
 * outlives the agent is event-journal.ts.
 */
import type { Clock, EpochMs } from '@aim-gpu/core';
import { type EventJournal, MOST_EVENTS } from './event-journal.js';

/** One event. */
export interface AgentEvent {
  /** Counts up from 1, over restarts too while the state directory lives. */
  readonly id: number;
  readonly at: EpochMs;
  /** `<noun>-<what>`: `instance-ready`, `apply-done`, `workload-degraded`, … */
  readonly event: string;
  /** The instance, workload, card or node it is about. */
  readonly subject: string;
  /** For people, in one sentence. */
  readonly message: string;
}

/** The events of one agent. */
export interface EventLog {
  /** Adds one, with the next id and the time, and tells the subscribers. */
  add(event: Pick<AgentEvent, 'event' | 'subject' | 'message'>): void;
  /** Those after an id and not before a time, oldest first; older ones than the bound are gone. */
  after(id: number, options?: { readonly sinceMs?: number }): readonly AgentEvent[];
  /** Calls back on each new one until the returned function is called. */
  subscribe(listener: (event: AgentEvent) => void): () => void;
}

/** The log an agent writes. */
export interface WritableEventLog extends EventLog {
  /** Goes on after the events that an earlier agent kept. */
  load(): Promise<void>;
  /** Resolves when every event is on disk, or could not be written. Never throws. */
  flushed(): Promise<void>;
}

/** Makes an empty log; without a journal it lives as long as the agent. */
export function createEventLog(options: {
  readonly clock: Clock;
  readonly journal?: EventJournal;
}): WritableEventLog {
  const { clock, journal } = options;
  let events: AgentEvent[] = [];
  const listeners = new Set<(event: AgentEvent) => void>();
  return {
    load: async () => {
      events = [...((await journal?.load()) ?? [])];
    },
    flushed: () => journal?.flushed() ?? Promise.resolve(),
    add: (event) => {
      const entry = { id: (events.at(-1)?.id ?? 0) + 1, at: clock.epochMs(), ...event };
      events.push(entry);
      if (events.length > MOST_EVENTS) events.shift();
      journal?.keep(entry);
      for (const listener of [...listeners]) listener(entry);
    },
    after: (id, { sinceMs = 0 } = {}) =>
      events.filter((event) => event.id > id && event.at >= sinceMs),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
