/**
 * Queues and their peers at a standing backlog: one out and one in, or some cancelled out of the middle. Owns the same
 * random choices for everybody.
 */
import { BANDS, type Band } from '@aim-gpu/core';
import PriorityQueue from 'p-queue/priority-queue';
import TinyQueue from 'tinyqueue';
import { createFairQueue, type QueueTicket } from '../src/index.js';
import { cpuNs, random, repeat } from './measure.js';

export const UNBOUNDED = { count: null, bytes: null, tokens: null };
export const TENANTS = Array.from({ length: 1000 }, (_, index) => `tenant-${index}`);

export function ourQueue(
  size: number,
  edf: boolean,
  keep: boolean = false,
): { pair: () => void; cancels: (count: number) => number } {
  const queue = createFairQueue<number>({ total: UNBOUNDED, perBand: UNBOUNDED });
  const tickets: QueueTicket<number>[] = [];
  let nowMs = 0;
  const add = (): QueueTicket<number> => {
    nowMs += 0.01;
    const result = queue.offer(
      {
        value: 1,
        band: edf ? 'standard' : (BANDS[random(5)] as Band),
        tenant: edf ? 'one' : (TENANTS[random(1000)] as string),
        cost: 100 + random(400),
        deadlineMs: edf ? nowMs + random(1_000_000) : undefined,
      },
      nowMs,
    );
    if (!result.ok) throw new Error('the queue is full');
    return result.ticket;
  };
  for (let index = 0; index < size; index += 1) {
    const ticket = add();
    if (keep) tickets.push(ticket);
  }
  return {
    pair: () => {
      const ticket = queue.next(nowMs);
      if (ticket !== null) queue.take(ticket, nowMs);
      add();
    },
    cancels: (cancels: number): number => {
      // A tenth of the backlog from all over it, as many come in their place, untimed; and again.
      let spent = 0;
      let done = 0;
      while (done < cancels) {
        const from = random(10);
        const chosen: number[] = [];
        for (let at = from; at < tickets.length; at += 10) chosen.push(at);
        spent += cpuNs(1, () => {
          for (const at of chosen) queue.cancel(tickets[at] as QueueTicket<number>, nowMs);
        });
        for (const at of chosen) tickets[at] = add();
        done += chosen.length;
      }
      return spent / done;
    },
  };
}

export function tinyQueue(size: number, edf: boolean): () => void {
  const queue = new TinyQueue<{ key: number; sequence: number; cost: number }>(
    [],
    (a, b) => a.key - b.key || a.sequence - b.sequence,
  );
  let sequence = 0;
  const add = (): void => {
    sequence += 1;
    const key = edf ? sequence * 0.01 + random(1_000_000) : random(5);
    queue.push({ key, sequence, cost: 100 + random(400) });
  };
  repeat(size, add);
  return () => {
    queue.pop();
    add();
  };
}

/** p-queue's own queue, without the promises around it. */
export function pQueue(size: number): () => void {
  const queue = new PriorityQueue();
  const add = (): void => queue.enqueue(() => Promise.resolve(), { priority: random(5) });
  repeat(size, add);
  return () => {
    queue.dequeue();
    add();
  };
}

/** Removes from p-queue's own queue by id, as its users cancel. */
export function pQueueCancels(size: number): (count: number) => number {
  const queue = new PriorityQueue();
  const ids: string[] = [];
  let next = 0;
  const add = (): string => {
    next += 1;
    queue.enqueue(() => Promise.resolve(), { priority: random(5), id: String(next) });
    return String(next);
  };
  for (let index = 0; index < size; index += 1) ids.push(add());
  return (count) => {
    const chosen = Array.from({ length: count }, (_, index) => (index * 37 + 5) % size);
    const ns = cpuNs(count, () => {
      for (const at of chosen) queue.remove(ids[at] as string);
    });
    for (const at of chosen) ids[at] = add();
    return ns;
  };
}
