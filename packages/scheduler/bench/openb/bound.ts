/**
 * An upper bound on what any policy, even one that knows the future, can have allocated when a set of pods has arrived:
 * the linear relaxation of packing whole GPUs, with every pattern of shares on one GPU as a column (Gilmore and Gomory,
 * generated as needed), GPU models, GPUs a node, and CPU and memory of all nodes alike in these taken together.
 */
import type { Highs, Model } from 'highs';
import { loadHighs } from '../../src/internal/load-highs.js';
import { type PodKind, type PodList, type TraceNode, WHOLE } from './trace.js';

interface NodeClass {
  readonly model: string;
  readonly gpusEach: number;
  gpus: number;
  cpuMilli: number;
  memoryMib: number;
}

/** Least improvement of a new column that is worth another round. */
const REDUCED_COST = 1e-6;

/** Makes a calculator of bounds; loads the solver once. */
export async function createBound(): Promise<{
  /** Most milli-GPU that the given pods can have at once on the nodes. */
  allocatedMilli(nodes: readonly TraceNode[], list: PodList, pods: readonly number[]): number;
}> {
  const highs = await loadHighs();
  return { allocatedMilli: (nodes, list, pods) => solve(highs, nodes, list, pods) };
}

function solve(
  highs: Highs,
  nodes: readonly TraceNode[],
  list: PodList,
  pods: readonly number[],
): number {
  const classes = toClasses(nodes);
  const counts = new Map<PodKind, number>();
  for (const index of pods) {
    const kind = list.kinds[index] as PodKind;
    if (kind.gpus > 0) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const sizes = [...new Set([...counts.keys()].filter(isShare).map((kind) => kind.gpuMilli))];
  const model = highs.createModel();
  try {
    model.options.set('output_flag', false);
    model.changeObjectiveSense(highs.constants.objectiveSense.maximize);
    return generateColumns(model, { classes, counts, sizes });
  } finally {
    model.dispose();
  }
}

function isShare(kind: PodKind): boolean {
  return kind.gpus === 1 && kind.gpuMilli < WHOLE;
}

function generateColumns(
  model: Model,
  input: {
    readonly classes: readonly NodeClass[];
    readonly counts: ReadonlyMap<PodKind, number>;
    readonly sizes: readonly number[];
  },
): number {
  const { classes, counts, sizes } = input;
  const none = { indices: [], values: [] };
  let rows = 0;
  const row = (upper: number): number => {
    model.addRow(Number.NEGATIVE_INFINITY, upper, none);
    rows += 1;
    return rows - 1;
  };
  const gpuRows = classes.map(({ gpus }) => row(gpus));
  const cpuRows = classes.map(({ cpuMilli }) => row(cpuMilli));
  const memoryRows = classes.map(({ memoryMib }) => row(memoryMib));
  // Shares of a size placed on a class, less what its patterns hold, at most 0.
  const sizeRows = classes.map(() => sizes.map(() => row(0)));
  for (const [kind, count] of counts) {
    const arrived = row(count);
    for (const [at, group] of classes.entries()) {
      if (kind.gpus > group.gpusEach) continue;
      if (kind.models !== null && !kind.models.includes(group.model)) continue;
      const taken = isShare(kind)
        ? { row: sizeRows[at]?.[sizes.indexOf(kind.gpuMilli)] ?? 0, value: 1 }
        : { row: gpuRows[at] ?? 0, value: kind.gpus };
      model.addCol(kind.gpus * kind.gpuMilli, 0, Number.POSITIVE_INFINITY, {
        indices: [taken.row, cpuRows[at] ?? 0, memoryRows[at] ?? 0, arrived],
        values: [taken.value, kind.cpuMilli, kind.memoryMib, 1],
      });
    }
  }
  const addPattern = (at: number, pattern: readonly number[]): void => {
    const used = pattern.flatMap((times, size) => (times > 0 ? [size] : []));
    model.addCol(0, 0, Number.POSITIVE_INFINITY, {
      indices: [gpuRows[at] ?? 0, ...used.map((size) => sizeRows[at]?.[size] ?? 0)],
      values: [1, ...used.map((size) => -(pattern[size] ?? 0))],
    });
  };
  for (const at of classes.keys()) {
    for (const [index, size] of sizes.entries())
      addPattern(
        at,
        sizes.map((_, other) => (other === index ? Math.floor(WHOLE / size) : 0)),
      );
  }
  for (;;) {
    model.run();
    const dual = model.getSolution().rowDual ?? [];
    let added = 0;
    for (const at of classes.keys()) {
      const prices = sizes.map((_, size) => dual[sizeRows[at]?.[size] ?? 0] ?? 0);
      const { value, pattern } = bestPattern(sizes, prices);
      if (value <= (dual[gpuRows[at] ?? 0] ?? 0) + REDUCED_COST * WHOLE) continue;
      addPattern(at, pattern);
      added += 1;
    }
    if (added === 0) return model.getObjectiveValue();
  }
}

/** The dearest multiset of sizes on one GPU: an unbounded knapsack. */
function bestPattern(
  sizes: readonly number[],
  prices: readonly number[],
): { readonly value: number; readonly pattern: readonly number[] } {
  const best = new Float64Array(WHOLE + 1);
  const last = new Int16Array(WHOLE + 1).fill(-1);
  for (let room = 1; room <= WHOLE; room += 1) {
    best[room] = best[room - 1] ?? 0;
    for (const [index, size] of sizes.entries()) {
      if (size > room) continue;
      const value = (best[room - size] ?? 0) + (prices[index] ?? 0);
      if (value <= (best[room] ?? 0)) continue;
      best[room] = value;
      last[room] = index;
    }
  }
  const pattern = sizes.map(() => 0);
  for (let room = WHOLE; room > 0; ) {
    const index = last[room] ?? -1;
    if (index < 0) {
      room -= 1;
      continue;
    }
    pattern[index] = (pattern[index] ?? 0) + 1;
    room -= sizes[index] ?? room;
  }
  return { value: best[WHOLE] ?? 0, pattern };
}

function toClasses(nodes: readonly TraceNode[]): readonly NodeClass[] {
  const classes = new Map<string, NodeClass>();
  for (const node of nodes) {
    const key = `${node.model} ${node.gpus}`;
    const found = classes.get(key) ?? {
      model: node.model,
      gpusEach: node.gpus,
      gpus: 0,
      cpuMilli: 0,
      memoryMib: 0,
    };
    found.gpus += node.gpus;
    found.cpuMilli += node.cpuMilli;
    found.memoryMib += node.memoryMib;
    classes.set(key, found);
  }
  return [...classes.values()];
}
