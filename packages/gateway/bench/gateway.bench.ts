// What the gateway costs beside plain proxies: CPU of the proxy's own process on one pinned core, rounds interleaved so
// that whatever else the machine does hits all alike. Ratios are what counts; the peers are named in peers.ts.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import path from 'node:path';
import { buildSync } from 'esbuild';
import type { Bench, BenchOptions } from '../../../tools/bench.js';

const REFERENCE = 'undici-ref-llm';
const SUBJECT = 'gateway';
/** The client before the upstream with nothing between: what is left of a delay is the proxy's. */
const DIRECT = 'direct';
const JSON_PEERS = [REFERENCE, 'fastify-reply-from', 'http-proxy'];
/** Which core the proxy, the upstream and the client get; with `--cores 2,4,6` each has one of its own. */
const CORES = '1,0,0';
/**
 * The added time is taken twice. One request at a time over one kept connection is what a proxy adds where nobody waits;
 * it is how the reference's own figures were taken. And at 4,000 requests a second of 64 connections, where answers meet
 * in the proxy. As fast as 64 connections can it says nothing: a closed loop's time is 64 times that of the slowest
 * process, which is often not the proxy.
 */
const IDLE = 'idle';
const PACED = 'paced';
const PACED_MS = '16';
/** USER_HZ of every Linux we know: ticks of /proc/PID/stat in a second. */
const TICK_MS = 10;

/** What is measured; `--only json,sse` leaves the others out. */
const TESTS: readonly string[] = ['json', IDLE, PACED, 'sse'];

type Figures = Record<string, number>;

interface Row {
  readonly proxy: string;
  readonly test: string;
  readonly figures: Figures;
}

/**
 * The programs as they would be shipped: the loader that runs this file keeps names of functions, which costs each
 * closure a call and would measure the loader. Siblings come built, so `npm run build` comes first.
 */
function compile(): string {
  const outdir = path.join(import.meta.dirname, '../node_modules/.cache/bench');
  buildSync({
    entryPoints: ['upstream', 'proxy', 'client'].map((name) =>
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

function start(file: string, core: string, args: readonly string[]): ChildProcess {
  return fork(file, args, {
    execPath: '/usr/bin/taskset',
    execArgv: ['-c', core, process.execPath],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

function rssBytes(pid: number): number {
  const found = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1] ?? 0) * 1024;
}

interface Place {
  readonly folder: string;
  readonly cores: readonly string[];
}

/** One proxy under one load, everything in fresh processes. */
async function measure(
  { folder, cores }: Place,
  proxy: string,
  load: readonly string[],
  signal: AbortSignal,
): Promise<Figures> {
  const [proxyCore = '1', upstreamCore = '0', clientCore = '0'] = cores;
  // Below the ports that the system hands out to clients.
  const base = 20_000 + Math.floor(Math.random() * 10_000);
  const children: ChildProcess[] = [];
  const up = async (file: string, core: string, args: readonly string[]): Promise<ChildProcess> => {
    const child = start(path.join(folder, file), core, args);
    children.push(child);
    await once(child, 'message', { signal });
    return child;
  };
  try {
    const upstream = await up('upstream-process.mjs', upstreamCore, [String(base)]);
    const port = proxy === DIRECT ? base : base + 1;
    const target =
      proxy === DIRECT
        ? upstream
        : await up('proxy-process.mjs', proxyCore, [proxy, String(port), String(base)]);
    const pid = target.pid ?? 0;
    const [kind = '', ...rest] = load;
    const client = await up('client-process.mjs', clientCore, [kind, String(port), ...rest]);
    const before = cpuMs(pid);
    const [figures] = (await once(client, 'message', { signal })) as [Figures];
    const spentMs = cpuMs(pid) - before;
    const count = figures['requests'] ?? figures['tokens'] ?? 1;
    return { ...figures, cpuUs: (spentMs * 1000) / count, rssBytes: rssBytes(pid) };
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

interface Goal {
  readonly name: string;
  readonly test: string;
  readonly peer: string;
  readonly figure: string;
  /** The gateway's figure over the peer's may be at most this. */
  readonly most: number;
  /** Whether the same load's figure without a proxy is taken off both first. */
  readonly added?: boolean;
}

function added(name: string, test: string, figure: string, most: number): Goal {
  return { name, test, peer: REFERENCE, figure, most, added: true };
}

// CPU a request is the inverse of requests per CPU second: 0.8 × the rate is 1.25 × the cost.
const GOALS: readonly Goal[] = [
  { name: 'JSON CPU', test: 'json', peer: REFERENCE, figure: 'cpuUs', most: 1 / 0.8 },
  { name: 'JSON CPU', test: 'json', peer: 'fastify-reply-from', figure: 'cpuUs', most: 1 / 1.2 },
  { name: 'JSON CPU', test: 'json', peer: 'http-proxy', figure: 'cpuUs', most: 1 / 0.9 },
  ...[IDLE, PACED].flatMap((test) => [
    added(`JSON added p50, ${test}`, test, 'p50Ms', 1.3),
    added(`JSON added p99, ${test}`, test, 'p99Ms', 1.5),
  ]),
  { name: 'SSE CPU a token', test: 'sse', peer: REFERENCE, figure: 'cpuUs', most: 1.25 },
  { name: 'SSE delay p99', test: 'sse', peer: REFERENCE, figure: 'delayP99Ms', most: 1.5 },
  { name: 'SSE TTFT p50', test: 'sse', peer: REFERENCE, figure: 'ttftP50Ms', most: 1.5 },
];

function judge(rows: readonly Row[]): { results: Record<string, unknown>[]; failures: string[] } {
  const of = (proxy: string, test: string, figure: string): number[] =>
    rows
      .filter((row) => row.proxy === proxy && row.test === test)
      .map((row) => row.figures[figure] ?? Number.NaN);
  const measured = new Set(rows.map(({ test }) => test));
  const goals = GOALS.filter(({ test }) => measured.has(test));
  const results = goals.map(({ name, test, peer, figure, most, added }) => {
    const without = added === true ? of(DIRECT, test, figure) : [];
    const over = (proxy: string): number[] =>
      of(proxy, test, figure).map((value, round) => value - (without[round] ?? 0));
    const mine = over(SUBJECT);
    const theirs = over(peer);
    const ratios = mine.map((value, round) => value / (theirs[round] ?? Number.NaN));
    return {
      name,
      peer,
      gateway: median(mine),
      ofPeer: median(theirs),
      ratio: median(mine) / median(theirs),
      goal: most,
      lowest: Math.min(...ratios),
      highest: Math.max(...ratios),
    };
  });
  const errors = rows.filter((row) => (row.figures['errors'] ?? 0) > 0);
  return {
    results,
    failures: [
      ...results
        .filter(({ ratio, goal }) => !(ratio <= goal))
        .map(
          ({ name, peer, ratio, goal }) =>
            `${name} is ${ratio.toFixed(2)} × ${peer}, goal ${goal.toFixed(2)}`,
        ),
      ...errors.map(({ proxy, test, figures }) => `${proxy} ${test}: ${figures['errors']} errors`),
    ],
  };
}

async function run({ full, values, signal, log }: BenchOptions): Promise<{
  results: Record<string, unknown>[];
  failures: string[];
}> {
  const rounds = Number(values['rounds'] ?? (full ? 7 : 3));
  const rows: Row[] = [];
  const only = values['only']?.split(',') ?? TESTS;
  const strange = only.find((test) => !TESTS.includes(test));
  if (strange !== undefined) throw new Error(`--only ${strange}: there are ${TESTS.join(', ')}`);
  const place = { folder: compile(), cores: (values['cores'] ?? CORES).split(',') };
  const take = async (proxy: string, test: string, load: readonly string[]): Promise<void> => {
    if (!only.includes(test)) return;
    const figures = await measure(place, proxy, load, signal);
    rows.push({ proxy, test, figures });
    const shown = Object.entries(figures).map(([name, value]) => `${name} ${value.toPrecision(4)}`);
    log(
      `${test.padEnd(5)} ${proxy.padEnd(20)} ${shown.join('  ')}  load ${loadavg()[0]?.toFixed(1)}`,
    );
  };
  for (let round = 0; round < rounds; round += 1) {
    const isEven = round % 2 === 0;
    const order = [DIRECT, SUBJECT, ...JSON_PEERS];
    for (const proxy of isEven ? order : [...order].reverse())
      await take(proxy, 'json', ['json', '64', String(full ? 40_000 : 10_000)]);
    for (const proxy of isEven ? [DIRECT, SUBJECT, REFERENCE] : [REFERENCE, SUBJECT, DIRECT]) {
      await take(proxy, IDLE, ['json', '1', String(full ? 20_000 : 5_000)]);
      await take(proxy, PACED, ['json', '64', String(full ? 40_000 : 12_000), PACED_MS]);
    }
    for (const proxy of isEven ? [SUBJECT, REFERENCE] : [REFERENCE, SUBJECT])
      await take(proxy, 'sse', ['sse', '256', '2', '150', '20']);
  }
  return judge(rows);
}

/** The gateway's bench. */
export const bench: Bench = {
  name: 'gateway',
  summary: 'CPU and delays of the gateway with QoS beside plain proxies, JSON and SSE',
  run,
};
