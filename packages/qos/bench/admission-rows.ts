/**
 * Whole admissions, ours and what peers do for a task: fairness, three limits, an endpoint's gate and the SLO record
 * are in ours; the peers only keep their order and eight at a time.
 */
import { BANDS, type Band, systemClock } from '@aim-gpu/core';
import async from 'async';
import PQueue from 'p-queue';
import { type Admission, type AdmitRequest, createQos, type Qos } from '../src/index.js';
import { cpuNsAsync } from './measure.js';
import { TENANTS, UNBOUNDED } from './queue-rows.js';

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

export function syncAdmission(): () => void {
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

/** One task each: `ask` is called for all of them before any has run; what it resolves to is served. */
interface Tasks {
  ask(index: number): Promise<unknown>;
  /** Null where the queue itself runs the task before it resolves. */
  readonly serve: ((answer: unknown) => void) | null;
}

function serve(answer: unknown): void {
  const admission = answer as Admission;
  if (!admission.ok) throw new Error(`refused: ${admission.reason}`);
  admission.permit.firstByte();
  admission.permit.usage(USAGE);
  admission.permit.done();
}

const OPEN: Readonly<Record<string, () => Tasks>> = {
  qos: () => {
    const qos = openQos(8);
    return { ask: (index) => qos.admit(REQUESTS[index % 1000] as AdmitRequest), serve };
  },
  'async.priorityQueue': () => {
    const queue = async.priorityQueue<number>((_, done) => done(), 8);
    return { ask: (index) => queue.pushAsync(index, index % 5), serve: null };
  },
  'p-queue': () => {
    const queue = new PQueue({ concurrency: 8 });
    const run = (index: number) => (): Promise<number> => Promise.resolve(index);
    return { ask: (index) => queue.add(run(index), { priority: index % 5 }), serve: null };
  },
};

/** Everything is asked at once and runs eight at a time. */
async function runTasks(subject: string, count: number, isAwaited: boolean): Promise<void> {
  const open = OPEN[subject];
  if (open === undefined) throw new Error(`there is no subject ${subject}`);
  const tasks = open();
  const awaited = async (index: number): Promise<void> => {
    const answer = await tasks.ask(index);
    tasks.serve?.(answer);
  };
  const plain = (index: number): Promise<unknown> =>
    tasks.serve === null ? tasks.ask(index) : tasks.ask(index).then(tasks.serve);
  const all: Promise<unknown>[] = [];
  for (let index = 0; index < count; index += 1) {
    all.push(isAwaited ? awaited(index) : plain(index));
  }
  await Promise.all(all);
}

/**
 * What a task costs with the one promise that each subject gives; `isAwaited` adds an async function of the caller
 * around each, which costs about as much for everybody. Everybody warms up with as many as are measured.
 */
export async function taskNs(subject: string, count: number, isAwaited: boolean): Promise<number> {
  const rounds = async (): Promise<void> => {
    for (let round = 0; round < 3; round += 1) await runTasks(subject, count, isAwaited);
  };
  await rounds();
  return cpuNsAsync(count * 3, rounds);
}

/** Memory of a request that waits. */
export async function waitingBytes(count: number): Promise<number> {
  const qos = openQos(1);
  await qos.admit(REQUESTS[0] as AdmitRequest);
  const waiting: unknown[] = [];
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < count; index += 1) {
    waiting.push(qos.admit(REQUESTS[index % 1000] as AdmitRequest));
  }
  await Promise.resolve();
  globalThis.gc?.();
  const bytes = (process.memoryUsage().heapUsed - before) / waiting.length;
  qos.close();
  return bytes;
}
