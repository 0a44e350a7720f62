/**
 * What is measured, one row a process: `node rows.mjs <row> <subject> <size>` prints CPU nanoseconds (or bytes) of one
 * operation as JSON. Each row has our piece and its peer doing the same work with the same random choices.
 */
import { createSloTracker } from '../src/index.js';
import { syncAdmission, taskNs, waitingBytes } from './admission-rows.js';
import { ourLimits, peerLimits } from './limit-rows.js';
import { measured, random, steadyCancels } from './measure.js';
import { ourQueue, pQueue, pQueueCancels, tinyQueue } from './queue-rows.js';

/** A row's name. */
export type RowName =
  | 'bands'
  | 'edf'
  | 'cancel-fifo'
  | 'cancel-edf'
  | 'admit-sync'
  | 'admit-promise'
  | 'admit-awaited'
  | 'memory-bytes'
  | 'limits'
  | 'limits-by-name'
  | 'slo';

type Row = (subject: string, size: number) => number | Promise<number>;

const ROWS: Readonly<Record<RowName, Row>> = {
  bands: (subject, size) => {
    if (subject === 'qos') return measured(ourQueue(size, false).pair, size * 2);
    if (subject === 'tinyqueue') return measured(tinyQueue(size, false), size * 2);
    return measured(pQueue(size), size * 2, 100);
  },
  edf: (subject, size) =>
    measured(subject === 'qos' ? ourQueue(size, true).pair : tinyQueue(size, true), size * 2),
  'cancel-fifo': (subject, size) => {
    if (subject === 'qos') return steadyCancels(ourQueue(size, false, true).cancels, size);
    const cancels = pQueueCancels(size);
    cancels(200);
    return cancels(200);
  },
  'cancel-edf': (_subject, size) => steadyCancels(ourQueue(size, true, true).cancels, size),
  'admit-sync': () => measured(syncAdmission()),
  'admit-promise': (subject, size) => taskNs(subject, size, false),
  'admit-awaited': (subject, size) => taskNs(subject, size, true),
  'memory-bytes': (_subject, size) => waitingBytes(size),
  'limits-by-name': (_subject, size) => ourLimits(size, false),
  limits: (subject, size) => (subject === 'qos' ? ourLimits(size, true) : peerLimits(size)),
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
