// Discovery of a full node (8 cards × 8 partitions) from a tree on tmpfs, every file read again each time, against a
// bare loop over the same files: the same calls (open, read, close with callbacks), the same number at a time, nothing
// parsed. Beside it what the other ways of reading cost, the published second of amd-smi, and an idle watch.
import {
  close,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  open,
  read,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { nodeName, systemClock } from '@aim-gpu/core';
import type { Bench } from '../../../tools/bench.js';
import { discoverCards } from '../src/discovery.js';
import type { FileTree } from '../src/file-tree.js';
import { createHostFiles } from '../src/host-files.js';
import { createRocmDriver } from '../src/index.js';
import { writeFullNode } from '../test/support/full-node.js';

const NODE = nodeName('bench');
const AT_ONCE = 64;
const BUFFER_BYTES = 8192;
/** amd-smi needs about a second to start and print (published figures); discovery may take a twentieth. */
const AMD_SMI_MS = 1000;

/** A tree on tmpfs where there is one. */
function makeTree(): string {
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const root = mkdtempSync(path.join(base, 'aim-gpu-discovery-'));
  writeFullNode({
    write: (file, content) => {
      mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
      writeFileSync(path.join(root, file), content);
    },
  });
  return root;
}

/** Notes which files a discovery reads. */
async function filesRead(root: string): Promise<readonly string[]> {
  const files = createHostFiles(root);
  const seen: string[] = [];
  const counting: FileTree = {
    ...files,
    read: (file) => {
      seen.push(file);
      return files.read(file);
    },
    readHead: (file) => {
      seen.push(file);
      return files.readHead(file);
    },
  };
  await discoverCards({ tree: counting, node: NODE });
  return seen;
}

function readBare(file: string): Promise<number> {
  return new Promise((resolve) => {
    open(file, constants.O_RDONLY | constants.O_NONBLOCK, (missing, descriptor) => {
      if (missing !== null) {
        resolve(0);
        return;
      }
      const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
      read(descriptor, buffer, 0, BUFFER_BYTES, null, (_, length) => {
        close(descriptor, () => resolve(length));
      });
    });
  });
}

async function bareLoop(files: readonly string[]): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let file = files[next++]; file !== undefined; file = files[next++]) await readBare(file);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

interface Timing {
  readonly medianMs: number;
  readonly p05Ms: number;
  readonly p95Ms: number;
  readonly cpuMs: number;
}

/** Runs the ways in turn, so that load of the machine meets all of them alike. */
async function timeInTurn(
  ways: Readonly<Record<string, () => Promise<unknown>>>,
  rounds: number,
  signal: AbortSignal,
): Promise<Readonly<Record<string, Timing>>> {
  const times = new Map<string, { wall: number[]; cpu: number }>();
  for (const name of Object.keys(ways)) times.set(name, { wall: [], cpu: 0 });
  for (let round = -Math.ceil(rounds / 10); round < rounds; round += 1) {
    signal.throwIfAborted();
    for (const [name, run] of Object.entries(ways)) {
      const cpuBefore = process.cpuUsage();
      const before = performance.now();
      await run();
      const wall = performance.now() - before;
      const cpu = process.cpuUsage(cpuBefore);
      const entry = times.get(name);
      if (round < 0 || entry === undefined) continue;
      entry.wall.push(wall);
      entry.cpu += (cpu.user + cpu.system) / 1000 / rounds;
    }
  }
  return Object.fromEntries(
    [...times].map(([name, { wall, cpu }]) => {
      const sorted = wall.toSorted((a, b) => a - b);
      const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
      return [name, { medianMs: at(0.5), p05Ms: at(0.05), p95Ms: at(0.95), cpuMs: cpu }];
    }),
  );
}

/** Share of a core that watching an idle node at 1 Hz takes, what an idle process takes left out. */
async function watchShare(root: string, seconds: number, signal: AbortSignal): Promise<number> {
  const driver = createRocmDriver({ node: NODE, clock: systemClock, root });
  let events = 0;
  driver.watch(() => {
    events += 1;
  });
  // The first looks settle: they read everything.
  await systemClock.sleep(6500, { signal });
  const cpuBefore = process.cpuUsage();
  const before = performance.now();
  await systemClock.sleep(seconds * 1000, { signal });
  const cpu = process.cpuUsage(cpuBefore);
  const wallMs = performance.now() - before;
  await driver.close();
  if (events > 0) throw new Error('nothing changed, and yet the watch told of a change');
  return (cpu.user + cpu.system) / 1000 / wallMs;
}

/** The bench. */
export const bench: Bench = {
  name: 'discovery',
  summary: 'reading a node of 8 cards × 8 partitions, against a bare loop over the same files',
  run: async ({ full, values, signal, log }) => {
    const unknown = Object.keys(values);
    if (unknown.length > 0) throw new Error(`unknown options: ${unknown.join(', ')}`);
    const root = makeTree();
    try {
      const seen = await filesRead(root);
      const present = seen
        .map((file) => path.join(root, file))
        .filter((file) => statSync(file, { throwIfNoEntry: false }));
      const directories = ['sys/class/drm', 'sys/class/kfd/kfd/topology/nodes'].map((name) =>
        readdirSync(path.join(root, name)),
      );
      log(
        `${seen.length} files asked for, ${present.length} there, ${directories[0]?.length} DRM names`,
      );
      const files = createHostFiles(root);
      const times = await timeInTurn(
        {
          discovery: () => discoverCards({ tree: files, node: NODE }),
          'bare loop': () => bareLoop(present),
          'readFile, all at once': () => Promise.all(present.map((file) => readFile(file, 'utf8'))),
        },
        full ? 1000 : 200,
        signal,
      );
      const seconds = full ? 120 : 30;
      log(`watching an idle node for ${seconds} s`);
      const share = await watchShare(root, seconds, signal);
      const medianOf = (name: string): number => times[name]?.medianMs ?? Number.NaN;
      const ratio = medianOf('discovery') / medianOf('bare loop');
      const repeated = seen.length - new Set(seen).size;
      const results = [
        ...Object.entries(times).map(([name, time]) => ({ name, files: present.length, ...time })),
        { name: 'discovery ÷ bare loop', ratio },
        { name: 'files read twice', files: repeated },
        {
          name: 'discovery ÷ amd-smi’s published second',
          ratio: medianOf('discovery') / AMD_SMI_MS,
        },
        { name: 'idle watch at 1 Hz', shareOfCore: share },
      ];
      const failures = [
        ...(ratio <= 2 ? [] : [`discovery takes ${ratio.toFixed(2)} × the bare loop, goal 2`]),
        ...(repeated === 0 ? [] : [`${repeated} files were read twice`]),
        ...(medianOf('discovery') <= AMD_SMI_MS / 20 ? [] : ['slower than a twentieth of amd-smi']),
        ...(share < 0.005 ? [] : [`the watch takes ${(share * 100).toFixed(2)} % of a core`]),
      ];
      return { results, failures };
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  },
};
