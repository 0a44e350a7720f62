// What the gateway holds: its memory while streams run for minutes and while thousands of connections idle, and what is
// left of a hundred thousand requests. Gateway, engine and clients are processes of their own.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { buildSync } from 'esbuild';
import type { Bench, BenchOptions } from '../../../tools/bench.js';

const STREAMS = 256;
const IDLE = 10_000;
const REQUESTS = 100_000;
const MIB = 1024 * 1024;
const IDLE_GOAL_BYTES = 300e6;
/** RSS of any minute after the second over the second's. */
const FLAT_GOAL = 0.05;
/** As the first line of `aim-gpu` starts Node. */
const AS_SHIPPED: readonly string[] = ['--max-semi-space-size=4'];
/** Connections to engines are given up after 4 s without use. */
const REST_MS = 30_000;

type Figures = Readonly<Record<string, number>>;
type Row = Record<string, unknown>;

interface Stand {
  readonly gateway: ChildProcess;
  readonly port: number;
  client(args: readonly string[]): ChildProcess;
  /** What the gateway holds now. */
  holds(): Promise<Figures>;
  close(): void;
}

/** The programs as they would be shipped; siblings come built, so `npm run build` comes first. */
function compile(): string {
  const outdir = path.join(import.meta.dirname, '../node_modules/.cache/bench-memory');
  buildSync({
    entryPoints: ['upstream', 'memory-gateway', 'memory-client'].map((name) =>
      path.join(import.meta.dirname, `${name}-process.ts`),
    ),
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'node20',
  });
  return outdir;
}

async function openStand(folder: string, signal: AbortSignal): Promise<Stand> {
  const base = 20_000 + Math.floor(Math.random() * 10_000);
  const state = mkdtempSync(path.join(tmpdir(), 'gateway-memory-'));
  const children: ChildProcess[] = [];
  const start = (
    name: string,
    args: readonly string[],
    execArgv: readonly string[] = [],
  ): ChildProcess => {
    const child = fork(path.join(folder, `${name}-process.mjs`), args, {
      execArgv: [...execArgv],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    children.push(child);
    return child;
  };
  const close = (): void => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(state, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    await once(start('upstream', [String(base)]), 'message', { signal });
    const args = [String(base + 1), String(base), state];
    const gateway = start('memory-gateway', args, ['--expose-gc', ...AS_SHIPPED]);
    await once(gateway, 'message', { signal });
    return {
      gateway,
      port: base + 1,
      client: (more) => start('memory-client', more),
      holds: async () => {
        gateway.send('holds');
        const [figures] = (await once(gateway, 'message', { signal })) as [Figures];
        return figures;
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function rssBytes({ pid }: ChildProcess): number {
  const found = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1] ?? 0) * 1024;
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

async function result(client: ChildProcess, signal: AbortSignal): Promise<Figures> {
  for (;;) {
    const [message] = (await once(client, 'message', { signal })) as [Figures | 'up'];
    if (message !== 'up') return message;
  }
}

/** A hundred thousand requests of every fate, then rest: what is there that was not there before? */
async function leaks(stand: Stand, requests: number, signal: AbortSignal): Promise<Row> {
  const load = (count: number): Promise<Figures> =>
    result(stand.client(['mixed', String(stand.port), '64', String(count)]), signal);
  const COUNTED = ['permits', 'waiting', 'exchanges', 'sockets', 'timers', 'listeners', 'warnings'];
  const before = await stand.holds();
  await load(Math.ceil(requests / 20));
  await wait(6_000);
  const warm = await stand.holds();
  const sent = await load(requests);
  const ended = performance.now() + REST_MS;
  let after = await stand.holds();
  const left = (): Record<string, number> =>
    Object.fromEntries(
      COUNTED.map((name) => [name, (after[name] ?? Number.NaN) - (before[name] ?? Number.NaN)]),
    );
  while (Object.values(left()).some((count) => count !== 0) && performance.now() < ended) {
    await wait(1_000);
    after = await stand.holds();
  }
  return {
    row: 'leaks',
    ...sent,
    left: left(),
    heapWarmMiB: (warm['heapUsedBytes'] ?? 0) / MIB,
    heapAfterMiB: (after['heapUsedBytes'] ?? 0) / MIB,
    rssMiB: rssBytes(stand.gateway) / MIB,
  };
}

/** Kept connections that say nothing. */
async function idling(stand: Stand, connections: number, signal: AbortSignal): Promise<Row> {
  const before = rssBytes(stand.gateway);
  const opened = await result(
    stand.client(['idle', String(stand.port), String(connections)]),
    signal,
  );
  await wait(5_000);
  // Before anything is asked: that collects the garbage first.
  const after = rssBytes(stand.gateway);
  const { sockets = 0 } = await stand.holds();
  return {
    row: 'idle connections',
    ...opened,
    heldByGateway: sockets,
    rssBeforeMiB: before / MIB,
    rssMiB: after / MIB,
    bytesEach: (after - before) / Math.max(1, connections),
    rssBytes: after,
  };
}

/** RSS by the minute under streams that never pause. */
async function flat(
  stand: Stand,
  minutes: number,
  { signal, log }: Pick<BenchOptions, 'signal' | 'log'>,
): Promise<Row> {
  const client = stand.client([
    'streams',
    String(stand.port),
    String(STREAMS),
    String(minutes * 60),
  ]);
  const over = result(client, signal);
  const byMinute: number[][] = [];
  for (let minute = 0; minute < minutes; minute += 1) {
    const samples: number[] = [];
    for (let second = 0; second < 60; second += 1) {
      await wait(1_000);
      signal.throwIfAborted();
      samples.push(rssBytes(stand.gateway));
    }
    byMinute.push(samples);
    log(
      `minute ${minute + 1}: ${(mean(samples) / MIB).toFixed(1)} MiB, load ${loadavg()[0]?.toFixed(1)}`,
    );
  }
  const served = await over;
  const means = byMinute.map(mean);
  const base = means[1] ?? means[0] ?? Number.NaN;
  const later = means.slice(minutes > 2 ? 1 : 0).map((each) => each / base);
  return {
    row: 'streams',
    streams: STREAMS,
    minutes,
    ...served,
    meanMiBByMinute: means.map((each) => Number((each / MIB).toFixed(1))),
    lowestOfSecondMinute: Math.min(...later),
    highestOfSecondMinute: Math.max(...later),
    lastOfSecondMinute: later.at(-1),
  };
}

/** What a row says against its goal; a short row of streams says nothing about minutes. */
function judge(rows: readonly Row[]): string[] {
  const failures: string[] = [];
  for (const row of rows) {
    const errors = Number(row['errors'] ?? 0);
    if (errors > 0) failures.push(`${row['row']}: ${errors} requests were not answered with 200`);
    if (row['row'] === 'leaks') {
      for (const [what, count] of Object.entries(row['left'] as Figures))
        if (count !== 0) failures.push(`${count} ${what} are left`);
    }
    if (Number(row['heldByGateway']) < Number(row['connections']))
      failures.push(`of ${row['connections']} connections ${row['heldByGateway']} stayed open`);
    if (row['row'] === 'idle connections' && Number(row['rssBytes']) >= IDLE_GOAL_BYTES)
      failures.push(`${row['connections']} idle connections take ${row['rssMiB']} MiB`);
    if (row['row'] === 'streams' && Number(row['minutes']) >= 10) {
      for (const figure of ['lowestOfSecondMinute', 'highestOfSecondMinute'])
        if (Math.abs(Number(row[figure]) - 1) > FLAT_GOAL)
          failures.push(`RSS under streams: ${figure} ${Number(row[figure]).toFixed(3)}`);
    }
  }
  return failures;
}

async function run({ full, values, signal, log }: BenchOptions): Promise<{
  results: Row[];
  failures: string[];
}> {
  const known = ['requests', 'connections', 'minutes', 'only'];
  for (const key of Object.keys(values))
    if (!known.includes(key))
      throw new Error(`unknown option --${key}; there are: ${known.join(', ')}`);
  const folder = compile();
  const rows: Row[] = [];
  const take = async (name: string, work: (stand: Stand) => Promise<Row>): Promise<void> => {
    if (values['only'] !== undefined && values['only'] !== name) return;
    // Each row in fresh processes: what one leaves in the heap is not the next one's.
    const stand = await openStand(folder, signal);
    try {
      const row = { ...(await work(stand)), load: loadavg()[0] };
      rows.push(row);
      log(JSON.stringify(row));
    } finally {
      stand.close();
    }
  };
  await take('leaks', (stand) => leaks(stand, Number(values['requests'] ?? REQUESTS), signal));
  await take('idle', (stand) => idling(stand, Number(values['connections'] ?? IDLE), signal));
  const minutes = Number(values['minutes'] ?? (full ? 10 : 1));
  await take('streams', (stand) => flat(stand, minutes, { signal, log }));
  return { results: rows, failures: judge(rows) };
}

/** The memory bench. */
export const bench: Bench = {
  name: 'gateway-memory',
  summary: 'memory of the gateway under streams and idle connections; what 100,000 requests leave',
  run,
};
