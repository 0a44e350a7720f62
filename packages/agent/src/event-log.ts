/**
 * What happened on a node, newest last, bounded. Owns numbering and subscribers; who says what is elsewhere.
 */
import type { Clock, EpochMs } from '@aim-gpu/core';

/** One event. */
export interface AgentEvent {
  /** Counts up from 1 while an agent lives. */
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
  /** Those after an id, oldest first; older ones than the bound are gone. */
  after(id: number): readonly AgentEvent[];
  /** Calls back on each new one until the returned function is called. */
  subscribe(listener: (event: AgentEvent) => void): () => void;
}

const MOST_EVENTS = 1000;

/** Makes an empty log. */
export function createEventLog(options: { readonly clock: Clock }): EventLog {
  const events: AgentEvent[] = [];
  const listeners = new Set<(event: AgentEvent) => void>();
  let last = 0;
  return {
    add: (event) => {
      last += 1;
      const entry = { id: last, at: options.clock.epochMs(), ...event };
      events.push(entry);
      if (events.length > MOST_EVENTS) events.shift();
      for (const listener of [...listeners]) listener(entry);
    },
    after: (id) => events.filter((event) => event.id > id),
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
