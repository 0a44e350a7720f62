/**
 * The openb trace files and the arrival list made of them. Owns reading and tuning; who is placed where is
 * simulation.ts's business. Rules: Alibaba GPU trace 2023 and FGD (USENIX ATC 2023).
 */
import { readFileSync } from 'node:fs';
import { createRng, type Rng } from '@aim-gpu/core';

/** Milli-GPU of a whole GPU. */
export const WHOLE = 1000;

/** A host with its GPUs, as listed. */
export interface TraceNode {
  readonly cpuMilli: number;
  readonly memoryMib: number;
  readonly gpus: number;
  readonly model: string;
}

/** A kind of pod: pods of the same kind are alike in everything that placement looks at. */
export interface PodKind {
  readonly cpuMilli: number;
  readonly memoryMib: number;
  /** GPUs, 0 for pods that use the CPU only. */
  readonly gpus: number;
  /** Milli of each GPU. */
  readonly gpuMilli: number;
  /** GPU models it may use; null when any. */
  readonly models: readonly string[] | null;
}

/** A list of pods: its kinds, and the kind of each pod in order. */
export interface PodList {
  readonly kinds: readonly PodKind[];
  readonly pods: readonly number[];
}

/** Reads a node list: `sn,cpu_milli,memory_mib,gpu,model`. */
export function readNodes(file: string): readonly TraceNode[] {
  return readRows(file).map((row) => ({
    cpuMilli: numberIn(row, 'cpu_milli', file),
    memoryMib: numberIn(row, 'memory_mib', file),
    gpus: numberIn(row, 'gpu', file),
    model: row['model'] ?? '',
  }));
}

/** Reads a pod list; columns after `gpu_milli` may be missing. */
export function readPods(file: string): PodList {
  const kinds: PodKind[] = [];
  const known = new Map<string, number>();
  const pods = readRows(file).map((row) => {
    const gpus = numberIn(row, 'num_gpu', file);
    const models = (row['gpu_spec'] ?? '').split('|').filter((model) => model !== '');
    const kind: PodKind = {
      cpuMilli: numberIn(row, 'cpu_milli', file),
      memoryMib: numberIn(row, 'memory_mib', file),
      gpus,
      gpuMilli: gpus === 0 ? 0 : numberIn(row, 'gpu_milli', file),
      models: gpus === 0 || models.length === 0 ? null : models,
    };
    const key = JSON.stringify(kind);
    const index = known.get(key) ?? kinds.push(kind) - 1;
    known.set(key, index);
    return index;
  });
  return { kinds, pods };
}

function readRows(file: string): readonly Readonly<Record<string, string>>[] {
  const [head = '', ...lines] = readFileSync(file, 'utf8').trim().split(/\r?\n/);
  const names = head.split(',');
  return lines.map((line) => {
    const cells = line.split(',');
    return Object.fromEntries(names.map((name, index) => [name, cells[index] ?? '']));
  });
}

function numberIn(row: Readonly<Record<string, string>>, name: string, file: string): number {
  const text = row[name];
  const value = Number(text);
  if (text === undefined || text === '' || !Number.isFinite(value) || value < 0)
    throw new Error(`${file}: column ${name} has ${JSON.stringify(text)}`);
  return value;
}

/** Milli-GPU that a pod asks for. */
export function milliOf(kind: PodKind): number {
  return kind.gpus * kind.gpuMilli;
}

/**
 * The arrivals of one run: the list brought to `tune` times the capacity by adding pods drawn from it or taking pods
 * away, both uniformly, then shuffled.
 */
export function toArrivals(
  list: PodList,
  options: { readonly capacityMilli: number; readonly tune: number; readonly seed: number },
): readonly number[] {
  const rng = createRng(options.seed);
  const target = options.tune * options.capacityMilli;
  const milli = list.kinds.map(milliOf);
  const pods = [...list.pods];
  let demand = pods.reduce((sum, kind) => sum + (milli[kind] ?? 0), 0);
  if (demand <= target) {
    for (;;) {
      const kind = list.pods[drawBelow(rng, list.pods.length)] ?? 0;
      if (demand + (milli[kind] ?? 0) > target) break;
      pods.push(kind);
      demand += milli[kind] ?? 0;
    }
  } else {
    while (demand > target) {
      const at = drawBelow(rng, pods.length);
      demand -= milli[pods[at] ?? 0] ?? 0;
      pods[at] = pods.at(-1) ?? 0;
      pods.pop();
    }
  }
  for (let last = pods.length - 1; last > 0; last -= 1) {
    const other = drawBelow(rng, last + 1);
    const kept = pods[last] ?? 0;
    pods[last] = pods[other] ?? 0;
    pods[other] = kept;
  }
  return pods;
}

/** A whole number from 0 to below the limit. */
export function drawBelow(rng: Rng, limit: number): number {
  return Math.floor(rng.next() * limit);
}
