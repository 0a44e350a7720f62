/**
 * What is measured, one row a process: `node rows.mjs <row> <subject> <size>` prints CPU nanoseconds (or bytes) of one
 * operation as JSON. Each row has our piece and its peer doing the same work with the same random choices.
 */
import { BANDS, type Band, systemClock } from '@aim-gpu/core';
import async from 'async';
import PQueue from 'p-queue';
import PriorityQueue from 'p-queue/priority-queue';
import { RateLimiterMemory } from 'rate-limiter-flexible';
import TinyQueue from 'tinyqueue';
import {
  type AdmitRequest,
  createFairQueue,
  createLimits,
  createQos,
  createSloTracker,
  type LimitSubject,
  type Qos,
  type QueueTicket,
} from '../src/index.js';

let state = 12_345;
/** The same choices for every subject. */
function random(below: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}

function cpuNs(operations: number, run: () => void): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / operations;
}

async function cpuNsAsync(operations: number, run: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / operations;
}

const repeat = (times: number, run: () => void): void => {
  for (let index = 0; index < times; index += 1) run();
};

/** Least CPU time that everybody warms up for: compiled and in a steady state, whatever an operation costs. */
const WARM_NS = 5e8;
/** Least CPU time of a measurement. */
const MEASURED_NS = 8e8;

const spentNs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

/** Runs an operation in batches until so many of them and so much CPU time have passed; CPU time of one. */
function steady(operation: () => void, least: number, leastNs: number, batch: number): number {
  const start = spentNs();
  let operations = 0;
  for (let spent = 0; operations < least || spent < leastNs; spent = spentNs() - start) {
    repeat(batch, operation);
    operations += batch;
  }
  return (spentNs() - start) / operations;
}

/**
 * Warms up, then measures, for our pieces and their peers alike. A queue's steady state is reached only when as many
 * operations as it holds have passed, `turnover`: before that its backlog is still the one it was filled with.
 */
function measured(operation: () => void, turnover: number = 0, batch: number = 1_000): number {
  steady(operation, turnover, WARM_NS, batch);
  return steady(operation, 0, MEASURED_NS, batch);
}

const UNBOUNDED = { count: null, bytes: null, tokens: null };
const TENANTS = Array.from({ length: 1000 }, (_, index) => `tenant-${index}`);

function ourQueue(
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

function tinyQueue(size: number, edf: boolean): () => void {
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
function pQueue(size: number): () => void {
  const queue = new PriorityQueue();
  const add = (): void => queue.enqueue(() => Promise.resolve(), { priority: random(5) });
  repeat(size, add);
  return () => {
    queue.dequeue();
    add();
  };
}

/** RPM and TPM of one account in one check. */
function ourLimits(size: number, kept: boolean): number {
  const limits = createLimits();
  const perMinute = {
    requestsPerMinute: 1e9,
    inputTokensPerMinute: 1e9,
    outputTokensPerMinute: null,
    concurrent: null,
  };
  const subjects = Array.from({ length: size }, (_, index) => {
    const account = `tenant-${index}`;
    return kept ? limits.subject(account, perMinute) : { account, limits: perMinute };
  });
  const order = Array.from({ length: 1 << 18 }, () => random(size));
  const cost = { inputTokens: 100, outputTokens: 0 };
  const accounts: LimitSubject[] = [];
  let index = 0;
  return measured(() => {
    index += 1;
    const at = order[index & ((1 << 18) - 1)] as number;
    // The caller's list of accounts: as the peer is given a key from a flat list of keys.
    accounts[0] = subjects[at] as LimitSubject;
    limits.reserve(accounts, cost, systemClock.monoMs());
  });
}

const REQUESTS: readonly AdmitRequest[] = TENANTS.map((tenant, index) => ({
  tenant,
  model: 'm',
  band: BANDS[index % BANDS.length] as Band,
  promptTokens: 200,
  maxOutputTokens: 100,
  limits: [
    {
      account: tenant,
      limits: {
        requestsPerMinute: 1e9,
        inputTokensPerMinute: 1e12,
        outputTokensPerMinute: 1e12,
        concurrent: 1e6,
      },
    },
  ],
}));

function openQos(maxSeqs: number): Qos {
  const qos = createQos({ clock: systemClock, total: UNBOUNDED, perBand: UNBOUNDED });
  qos.setModel({ name: 'm', band: 'interactive' });
  qos.setEndpoints('m', [{ id: 'e', maxSeqs, kvCapacityTokens: null, ready: true }]);
  return qos;
}

const USAGE = { promptTokens: 200, outputTokens: 100 };

function syncAdmission(): () => void {
  const qos = openQos(64);
  let index = 0;
  return () => {
    index += 1;
    const admission = qos.tryAdmit(REQUESTS[index % 1000] as AdmitRequest);
    if (admission === null || !admission.ok) throw new Error('it should have been let in');
    admission.permit.firstByte();
    admission.permit.usage(USAGE);
    admission.permit.done();
  };
}

/** Everything is asked at once and runs eight at a time. */
async function promiseAdmission(operations: number): Promise<void> {
  const qos = openQos(8);
  const one = async (index: number): Promise<void> => {
    const admission = await qos.admit(REQUESTS[index % 1000] as AdmitRequest);
    if (!admission.ok) throw new Error(`refused: ${admission.reason}`);
    admission.permit.firstByte();
    admission.permit.usage(USAGE);
    admission.permit.done();
  };
  const all: Promise<void>[] = [];
  for (let index = 0; index < operations; index += 1) all.push(one(index));
  await Promise.all(all);
  qos.close();
}

async function asyncPriorityQueue(operations: number): Promise<void> {
  const queue = async.priorityQueue<number>((_, done) => done(), 8);
  const all: Promise<unknown>[] = [];
  for (let index = 0; index < operations; index += 1) all.push(queue.pushAsync(index, index % 5));
  await Promise.all(all);
}

async function pQueueTasks(operations: number): Promise<void> {
  const queue = new PQueue({ concurrency: 8 });
  const all: Promise<unknown>[] = [];
  for (let index = 0; index < operations; index += 1) {
    all.push(queue.add(() => Promise.resolve(index), { priority: index % 5 }));
  }
  await Promise.all(all);
}

/** Cancels until everything is compiled, then as many again and more. */
function steadyCancels(cancels: (count: number) => number, size: number): number {
  cancels(Math.max(300_000, size / 5));
  return cancels(Math.max(500_000, size / 2));
}

/** A row's name. */
export type RowName =
  | 'bands'
  | 'edf'
  | 'cancel-fifo'
  | 'cancel-edf'
  | 'admit-sync'
  | 'admit-promise'
  | 'memory-bytes'
  | 'limits'
  | 'limits-by-name'
  | 'slo';

const ROWS: Readonly<Record<RowName, (subject: string, size: number) => number | Promise<number>>> =
  {
    bands: (subject, size) => {
      if (subject === 'qos') return measured(ourQueue(size, false).pair, size * 2);
      if (subject === 'tinyqueue') return measured(tinyQueue(size, false), size * 2);
      return measured(pQueue(size), size * 2, 100);
    },
    edf: (subject, size) =>
      measured(subject === 'qos' ? ourQueue(size, true).pair : tinyQueue(size, true), size * 2),
    'cancel-fifo': (subject, size) => {
      if (subject === 'qos') return steadyCancels(ourQueue(size, false, true).cancels, size);
      const queue = new PriorityQueue();
      const ids: string[] = [];
      let next = 0;
      const add = (): string => {
        next += 1;
        queue.enqueue(() => Promise.resolve(), { priority: random(5), id: String(next) });
        return String(next);
      };
      for (let index = 0; index < size; index += 1) ids.push(add());
      const cancels = (count: number): number => {
        const chosen = Array.from({ length: count }, (_, index) => (index * 37 + 5) % size);
        const ns = cpuNs(count, () => {
          for (const at of chosen) queue.remove(ids[at] as string);
        });
        for (const at of chosen) ids[at] = add();
        return ns;
      };
      cancels(200);
      return cancels(200);
    },
    'cancel-edf': (_subject, size) => steadyCancels(ourQueue(size, true, true).cancels, size),
    'admit-sync': () => measured(syncAdmission()),
    'admit-promise': async (subject, size) => {
      const run =
        subject === 'qos'
          ? promiseAdmission
          : subject === 'async.priorityQueue'
            ? asyncPriorityQueue
            : pQueueTasks;
      // Everybody warms up with as many and is measured three times over.
      for (let round = 0; round < 3; round += 1) await run(size);
      return cpuNsAsync(size * 3, async () => {
        for (let round = 0; round < 3; round += 1) await run(size);
      });
    },
    'memory-bytes': async (_subject, size) => {
      const qos = openQos(1);
      await qos.admit(REQUESTS[0] as AdmitRequest);
      const waiting: unknown[] = [];
      globalThis.gc?.();
      const before = process.memoryUsage().heapUsed;
      for (let index = 0; index < size; index += 1) {
        waiting.push(qos.admit(REQUESTS[index % 1000] as AdmitRequest));
      }
      await Promise.resolve();
      globalThis.gc?.();
      const bytes = (process.memoryUsage().heapUsed - before) / waiting.length;
      qos.close();
      return bytes;
    },
    'limits-by-name': (_subject, size) => ourLimits(size, false),
    limits: async (subject, size) => {
      if (subject === 'qos') return ourLimits(size, true);
      const keys = Array.from({ length: size }, (_, index) => `tenant-${index}`);
      const order = Array.from({ length: 1 << 18 }, () => random(size));
      const at = (index: number): number => order[index & ((1 << 18) - 1)] as number;
      const requests = new RateLimiterMemory({ points: 1e9, duration: 60, keyPrefix: 'r' });
      const tokens = new RateLimiterMemory({ points: 1e9, duration: 60, keyPrefix: 't' });
      const check = async (count: number): Promise<void> => {
        for (let index = 0; index < count; index += 1) {
          const key = keys[at(index)] as string;
          await requests.consume(key, 1);
          await tokens.consume(key, 100);
        }
      };
      await check(150_000);
      return cpuNsAsync(300_000, () => check(300_000));
    },
    slo: () => {
      const tracker = createSloTracker({ ttftMs: 1000, tpotMs: 50, e2eMs: null, objective: 0.99 });
      const records = Array.from({ length: 64 }, () => ({
        outcome: 'complete' as const,
        ttftMs: 100 + random(2_000),
        tpotMs: 5 + random(80),
        e2eMs: 500 + random(10_000),
        outputTokens: 100,
      }));
      let nowMs = 0;
      return measured(() => {
        nowMs += 0.05;
        tracker.record(records[Math.floor(nowMs) & 63] as (typeof records)[0], nowMs);
      });
    },
  };

const [row = '', subject = '', size = '0'] = process.argv.slice(2);
const run = ROWS[row as RowName] as (typeof ROWS)[RowName] | undefined;
if (run === undefined) throw new Error(`there is no row ${row}`);
console.log(JSON.stringify({ value: await run(subject, Number(size)) }));
// Limiters of the peer keep timers.
process.exit(0);
