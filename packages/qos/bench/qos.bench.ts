/**
 * Bench: every row of the hot path beside its peer, in CPU time, each in a fresh process pinned to one core, rounds
 * interleaved. `--full` adds rounds; `--rows a,b` measures some rows only; `--core N` picks the core.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import type { Bench, BenchResult } from '../../../tools/bench.js';
import type { RowName } from './rows.js';

interface Row {
  readonly row: RowName;
  readonly size: number;
  /** The first is ours; the second is what the ratio is taken to. */
  readonly subjects: readonly string[];
  readonly unit: 'ns' | 'bytes';
  readonly goal: string;
  /** Whether the medians meet the goal. */
  readonly holds: (ours: number, peer: number | null, other: number | null) => boolean;
}

const ROWS: readonly Row[] = [
  {
    row: 'bands',
    size: 10_000,
    subjects: ['qos', 'tinyqueue', 'p-queue'],
    unit: 'ns',
    goal: '≤ 3 × tinyqueue, ≥ 100 × faster than p-queue',
    holds: (ours, peer, other) =>
      peer !== null && ours <= 3 * peer && other !== null && other >= 100 * ours,
  },
  {
    row: 'bands',
    size: 1_000_000,
    subjects: ['qos', 'tinyqueue'],
    unit: 'ns',
    goal: 'about 900 ns; ≤ 4 × the row at 10,000',
    holds: () => true,
  },
  {
    row: 'edf',
    size: 10_000,
    subjects: ['qos', 'tinyqueue'],
    unit: 'ns',
    goal: '≤ 250 ns on the reference machine (tinyqueue there 177)',
    holds: (ours, peer) => peer !== null && ours / peer <= 250 / 177,
  },
  {
    row: 'edf',
    size: 1_000_000,
    subjects: ['qos', 'tinyqueue'],
    unit: 'ns',
    goal: '≤ 1,000 ns on the reference machine (tinyqueue there 1,201)',
    holds: (ours, peer) => peer !== null && ours / peer <= 1000 / 1201,
  },
  ...[10_000, 100_000, 1_000_000].map(
    (size): Row => ({
      row: 'cancel-fifo',
      size,
      subjects: size === 1_000_000 ? ['qos'] : ['qos', 'p-queue'],
      unit: 'ns',
      goal: '≤ 1,000 ns',
      holds: (ours) => ours <= 1_000,
    }),
  ),
  ...[10_000, 1_000_000].map(
    (size): Row => ({
      row: 'cancel-edf',
      size,
      subjects: ['qos'],
      unit: 'ns',
      goal: '≤ 2,000 ns',
      holds: (ours) => ours <= 2_000,
    }),
  ),
  {
    row: 'admit-sync',
    size: 0,
    subjects: ['qos'],
    unit: 'ns',
    goal: '≤ 1,000 ns',
    holds: (ours) => ours <= 1_000,
  },
  {
    row: 'admit-promise',
    size: 100_000,
    subjects: ['qos', 'async.priorityQueue', 'p-queue'],
    unit: 'ns',
    goal: '≤ 4,000 ns',
    holds: (ours) => ours <= 4_000,
  },
  {
    row: 'admit-awaited',
    size: 100_000,
    subjects: ['qos', 'async.priorityQueue', 'p-queue'],
    unit: 'ns',
    goal: 'for comparison: with an async function of each caller',
    holds: () => true,
  },
  {
    row: 'memory-bytes',
    size: 100_000,
    subjects: ['qos'],
    unit: 'bytes',
    goal: '≤ 800 bytes',
    holds: (ours) => ours <= 800,
  },
  ...[10_000, 100_000].map(
    (size): Row => ({
      row: 'limits',
      size,
      subjects: ['qos', 'rate-limiter-flexible'],
      unit: 'ns',
      goal: '≥ 5 × faster than two limiters of the peer',
      holds: (ours, peer) => peer !== null && peer >= 5 * ours,
    }),
  ),
  ...[10_000, 100_000].map(
    (size): Row => ({
      row: 'limits-by-name',
      size,
      subjects: ['qos'],
      unit: 'ns',
      goal: 'for comparison: without keeping the subject',
      holds: () => true,
    }),
  ),
  {
    row: 'slo',
    size: 0,
    subjects: ['qos'],
    unit: 'ns',
    goal: '≤ 100 ns',
    holds: (ours) => ours <= 100,
  },
];

/** Util-linux's program that keeps a process on one core. */
const PIN = 'taskset';
const ROUNDS = 3;
const FULL_ROUNDS = 7;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Our sources and the peers as one file, as they ship: without a loader in the measured process. */
async function bundle(directory: string): Promise<string> {
  const outfile = path.join(directory, 'rows.mjs');
  const require = createRequire(import.meta.url);
  const pQueue = path.dirname(require.resolve('p-queue'));
  await build({
    entryPoints: [path.join(import.meta.dirname, 'rows.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['@aim-gpu/source'],
    alias: { 'p-queue/priority-queue': path.join(pQueue, 'priority-queue.js') },
    // One peer is CommonJS and asks for node's modules at run time.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
    logLevel: 'error',
  });
  return outfile;
}

function measure(file: string, core: string, row: string, subject: string, size: number): number {
  const pinned = ['-c', core, process.execPath, '--expose-gc', file, row, subject, String(size)];
  const output = execFileSync(PIN, pinned, { encoding: 'utf8' });
  return (JSON.parse(output) as { value: number }).value;
}

export const bench: Bench = {
  name: 'qos',
  summary:
    'the hot path of qos beside p-queue, tinyqueue, async and rate-limiter-flexible, in CPU time',
  run: async ({ full, values, signal, log }) => {
    const { rows: wanted, core = '1', ...unknown } = values;
    const [surplus] = Object.keys(unknown);
    if (surplus !== undefined) throw new Error(`there is no option --${surplus}`);
    const names = wanted === undefined ? null : new Set(wanted.split(','));
    const directory = mkdtempSync(path.join(tmpdir(), 'qos-bench-'));
    const results: BenchResult[] = [];
    const failures: string[] = [];
    try {
      const file = await bundle(directory);
      for (const { row, size, subjects, unit, goal, holds } of ROWS) {
        if (signal.aborted) break;
        if (names !== null && !names.has(row)) continue;
        log(`${row} at ${size}`);
        const rounds = Array.from({ length: full ? FULL_ROUNDS : ROUNDS }, () =>
          subjects.map((subject) => measure(file, core, row, subject, size)),
        );
        const medians = subjects.map((_, index) =>
          median(rounds.map((round) => round[index] ?? 0)),
        );
        const [ours = Number.NaN, peer = null, other = null] = medians;
        subjects.forEach((subject, index) => {
          const all = rounds.map((round) => round[index] ?? 0);
          const ratios = rounds.map((round) => (round[index] ?? 0) / (round[0] ?? 1));
          results.push({
            row,
            size,
            subject,
            unit,
            median: medians[index],
            low: Math.min(...all),
            high: Math.max(...all),
            timesOurs: median(ratios),
            timesOursLow: Math.min(...ratios),
            timesOursHigh: Math.max(...ratios),
            goal: index === 0 ? goal : '',
            holds: index === 0 ? holds(ours, peer, other) : '',
            load: loadavg()[0],
          });
        });
        if (!holds(ours, peer, other))
          failures.push(`${row} at ${size}: ${goal}, is ${ours.toFixed(0)} ${unit}`);
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
    // Absolute times say as much about who else uses the machine as about us, so they are shown and not enforced.
    for (const failure of failures) log(`not met here: ${failure}`);
    return { results };
  },
};
