/** Events outlive their agent: numbered on, bounded on disk, and never a reason to stop. */
import { AimError, type StateStore } from '@aim-gpu/core';
import {
  createManualClock,
  createMemoryStateStore,
  createRecordingLogger,
} from '@aim-gpu/core/testing';
import { describe, expect, test } from 'vitest';
import { createEventJournal, MOST_EVENTS, readStoredEvents } from '../src/event-journal.js';
import { type AgentEvent, createEventLog } from '../src/event-log.js';
import { createBench, exclusive } from './support/agent-bench.js';

type Batch = readonly AgentEvent[];

function openLog(store: StateStore = createMemoryStateStore()) {
  const clock = createManualClock();
  const logger = createRecordingLogger();
  const log = createEventLog({ clock, journal: createEventJournal({ store, clock, logger }) });
  const add = (message: string): void => log.add({ event: 'a-thing', subject: 'it', message });
  return { store, clock, logger, log, add };
}

/** A store whose journals fail while told to. */
function breakable(inner: StateStore = createMemoryStateStore()) {
  const broken = { reads: false, writes: false };
  const message = 'no space left on device';
  const fail = (): never => {
    throw new AimError({ code: 'ERR_STATE_IO', kind: 'unavailable', message });
  };
  const store: StateStore = {
    ...inner,
    journal: <T>(name: string) => {
      const journal = inner.journal<T>(name);
      return {
        read: async () => (broken.reads ? fail() : journal.read()),
        append: async (record: T) => (broken.writes ? fail() : journal.append(record)),
        compact: async (records: readonly T[]) =>
          broken.writes ? fail() : journal.compact(records),
      };
    },
  };
  return { store, broken };
}

describe('a journal of events', () => {
  test('is read by the next log, which numbers on', async () => {
    const first = openLog();
    await first.log.load();
    first.add('one');
    first.add('two');
    await first.log.flushed();
    const next = openLog(first.store);
    await next.log.load();
    next.add('three');
    expect(next.log.after(0).map(({ id, message }) => `${id} ${message}`)).toEqual([
      '1 one',
      '2 two',
      '3 three',
    ]);
    expect(next.log.after(1).map(({ id }) => id)).toEqual([2, 3]);
  });

  test('holds nothing of a log that was never loaded', async () => {
    const { store, log, add } = openLog();
    add('one');
    await log.flushed();
    expect(await store.journal('events').read()).toEqual([]);
    expect(log.after(0)).toHaveLength(1);
  });

  test('is bounded, on disk and in memory', async () => {
    const { store, log, add } = openLog();
    await log.load();
    for (let each = 1; each <= 5 * MOST_EVENTS; each += 1) {
      add(String(each));
      if (each % 50 === 0) await log.flushed();
    }
    await log.flushed();
    const kept = await store.journal<Batch>('events').read();
    expect(kept.flat().length).toBeLessThanOrEqual(2 * MOST_EVENTS);
    const stored = await readStoredEvents(store);
    expect(stored).toEqual(log.after(0));
    expect(stored).toHaveLength(MOST_EVENTS);
    expect(stored.at(-1)?.id).toBe(5 * MOST_EVENTS);
  });

  test('keeps what happens together with one write, soon', async () => {
    const { store, log, add, clock } = openLog();
    await log.load();
    for (const word of ['one', 'two', 'three']) add(word);
    await clock.advance(249);
    expect(await store.journal('events').read()).toEqual([]);
    await clock.advance(1);
    expect(await store.journal<Batch>('events').read()).toHaveLength(1);
    expect(await readStoredEvents(store)).toHaveLength(3);
    expect(clock.pending()).toBe(0);
    // Also after a flush that had nothing to write.
    await log.flushed();
    add('four');
    await log.flushed();
    expect(await readStoredEvents(store)).toHaveLength(4);
  });

  test('that cannot be written is told once, and events go on in memory', async () => {
    const { store, broken } = breakable();
    const { log, add, logger } = openLog(store);
    await log.load();
    broken.writes = true;
    add('one');
    await log.flushed();
    add('two');
    await log.flushed();
    expect(logger.records.filter(({ event }) => event === 'events-not-kept')).toHaveLength(1);
    broken.writes = false;
    add('three');
    await log.flushed();
    expect(log.after(0)).toHaveLength(3);
    expect((await readStoredEvents(store)).map(({ message }) => message)).toEqual(['three']);
  });

  test('that cannot be read is begun anew', async () => {
    const { store, broken } = breakable();
    broken.reads = true;
    const { log, add, logger } = openLog(store);
    await log.load();
    add('one');
    await log.flushed();
    broken.reads = false;
    expect(logger.records.some(({ event }) => event === 'events-not-kept')).toBe(true);
    expect(await readStoredEvents(store)).toHaveLength(1);
  });
});

test('events of a time on', async () => {
  const { log, add, clock } = openLog();
  add('early');
  await clock.advance(60_000);
  add('late');
  const sinceMs = clock.epochMs() - 1000;
  expect(log.after(0, { sinceMs }).map(({ message }) => message)).toEqual(['late']);
});

test('an agent that is started again tells what the one before it did', async () => {
  const memory = createMemoryStateStore();
  const first = createBench({ workloads: [exclusive('chat')], memory });
  await first.bringUp();
  await first.run(first.agent.close());
  const before = first.agent.events.after(0);
  const second = createBench({ workloads: [exclusive('chat')], memory });
  await second.bringUp();
  const all = second.agent.events.after(0);
  expect(all.slice(0, before.length)).toEqual(before);
  expect(all.map(({ id }) => id)).toEqual(all.map((_, index) => index + 1));
  expect(before.at(-1)?.event).toBe('agent-stopped');
});
