// Random operations on one node, seed after seed, each step compared with a plain model; then apply/remove cycles over a
// state directory on disk, looking for what stays behind.
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { silentLogger, workloadName } from '@aim-gpu/core';
import { createFileStateStore } from '@aim-gpu/core/node';
import { aWorkload } from '@aim-gpu/core/testing';
import type { Soak } from '../../../tools/soak.js';
import { createBench } from '../test/support/agent-bench.js';
import { type RandomRun, runRandomOperations } from '../test/support/random-operations.js';

const STEPS_A_SEED = 100;

/** The soak. */
export const soak: Soak = {
  name: 'agent-operations',
  summary:
    'random operations against a plain model (--seed N, --only apply,kill,…), and apply/remove cycles (--cycles N)',
  run: async ({ seconds, values, signal, log }) => {
    const failures: string[] = [];
    const runs: RandomRun[] = [];
    const end = performance.now() + seconds * 1000;
    let seed = Number(values['seed'] ?? 1);
    const first = seed;
    const only = values['only'];
    const kinds = only === undefined ? {} : { kinds: only.split(',') };
    for (; performance.now() < end && !signal.aborted; seed += 1) {
      try {
        runs.push(await runRandomOperations({ seed, steps: STEPS_A_SEED, signal, ...kinds }));
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
      }
      if (seed % 20 === 0) log(`seed ${seed}`);
    }
    const sum = (of: (run: RandomRun) => number): number =>
      runs.reduce((total, run) => total + of(run), 0);
    const cycles = Number(values['cycles'] ?? 1000);
    const left = cycles === 0 ? {} : await cycle(cycles, { signal, log });
    for (const [what, grown] of Object.entries(left)) {
      if (grown > 0) failures.push(`${cycles} cycles left ${grown} ${what} behind`);
    }
    const applies = sum((run) => run.applies);
    const placeable = sum((run) => run.placeable);
    const wrongRefusals = sum((run) => run.wrongRefusals);
    if (wrongRefusals > placeable / 100)
      failures.push(`${wrongRefusals} of ${placeable} that have a placement were refused`);
    const slowestMs = Math.max(0, ...runs.map((run) => run.slowestRecoveryMs));
    if (slowestMs > 30_000) failures.push(`a recovery took ${slowestMs} ms`);
    const seen = [...new Set(runs.flatMap((run) => Object.keys(run.slowestByKindMs)))].toSorted();
    const slowestSecondsByKind = Object.fromEntries(
      seen.map((kind) => [
        kind,
        Math.max(0, ...runs.map((run) => run.slowestByKindMs[kind] ?? 0)) / 1000,
      ]),
    );
    return {
      results: [
        {
          seeds: `${first}..${seed - 1}`,
          steps: sum((run) => run.steps),
          applies,
          placeable,
          refusals: sum((run) => run.refusals),
          wrongRefusals,
          wrongPercent: (wrongRefusals / Math.max(1, placeable)) * 100,
          slowestSecondsByKind,
        },
        { cycles, ...left },
      ],
      failures,
    };
  },
};

/** Cycles after which every cache and the last 1,000 events are filled. */
const SETTLED_AFTER = 200;
const MOST_HEAP_GROWTH_BYTES = 2 ** 21;

/** The journal's bound; compaction comes at the next record. */
const MOST_RECORDS = 257;

function ownSockets(): readonly string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith('socket:[') ? [target.slice(8, -1)] : [];
    } catch {
      return [];
    }
  });
}

/** The least of several looks: a file may be open for a write just now. */
async function leastOf(
  count: () => Readonly<Record<string, number>>,
): Promise<Readonly<Record<string, number>>> {
  let least = count();
  for (let look = 0; look < 50; look += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = count();
    least = Object.fromEntries(
      Object.entries(least).map(([what, seen]) => [what, Math.min(seen, now[what] ?? seen)]),
    );
  }
  return least;
}

/** Own sockets that listen. */
function listening(): number {
  const own = new Set(ownSockets());
  const lines = ['/proc/self/net/tcp', '/proc/self/net/tcp6'].flatMap((file) =>
    readFileSync(file, 'latin1').split('\n'),
  );
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === '0A' && own.has(fields[9] ?? '')).length;
}

function recordsIn(file: string): number {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
}

/** What is in use after a collection. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}

/** Applies and removes a model again and again; what there is more of after the last cycle than once it had settled. */
async function cycle(
  cycles: number,
  { signal, log }: { readonly signal: AbortSignal; readonly log: (line: string) => void },
): Promise<Readonly<Record<string, number>>> {
  const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-cycles-'));
  const memory = createFileStateStore({ directory });
  // What only records must not be taken for a leak.
  const logger = silentLogger;
  const bench = createBench({ memory, workloads: [], lasting: true, logger });
  await bench.bringUp();
  const one = { ...bench.fleet, models: [aWorkload({ name: workloadName('chat') })] };
  const count = (): Readonly<Record<string, number>> => ({
    fds: readdirSync('/proc/self/fd').length,
    files: readdirSync(directory).length,
    processes: bench.launcher.alive().length,
    timers: bench.clock.pending(),
    sockets: ownSockets().length,
    listeningSockets: listening(),
    handles: process.getActiveResourcesInfo().length,
    processListeners: process
      .eventNames()
      .reduce((total, name) => total + process.listenerCount(name), 0),
    records: recordsIn(path.join(directory, 'assigned.jsonl')) > MOST_RECORDS ? 1 : 0,
  });
  let before = count();
  let heapBefore = heapBytes();
  for (let round = 1; round <= cycles && !signal.aborted; round += 1) {
    await bench.run(bench.agent.applyFleet(one));
    await bench.run(bench.agent.settled('chat-0' as never));
    await bench.run(bench.agent.applyFleet(bench.fleet));
    bench.launcher.forget();
    if (round === SETTLED_AFTER) {
      before = await leastOf(count);
      heapBefore = heapBytes();
    }
  }
  const after = await leastOf(count);
  const heapGrownBytes = heapBytes() - heapBefore;
  log(
    `heap ${(heapBefore / 2 ** 20).toFixed(1)} MiB, grown by ${Math.round(heapGrownBytes / 1024)} KiB`,
  );
  const journal = path.join(directory, 'assigned.jsonl');
  const journalBytes = existsSync(journal) ? statSync(journal).size : 0;
  await bench.run(bench.agent.close());
  rmSync(directory, { recursive: true, force: true });
  const grown = Object.entries(after).map(([what, now]) => [what, now - (before[what] ?? 0)]);
  return {
    ...Object.fromEntries(grown),
    // Bounded by its records, 256 of a few kilobytes each.
    heapBytesBeyondBound: Math.max(0, heapGrownBytes - MOST_HEAP_GROWTH_BYTES),
    journalBytesBeyondBound: Math.max(0, journalBytes - 2 ** 21),
  };
}
