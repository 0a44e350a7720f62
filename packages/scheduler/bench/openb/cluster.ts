/**
 * The cluster of an openb run: what is left of every node, who fits, and one placement after the other. Knows no
 * policy.
 */
import type { UnitGroup } from '../../src/index.js';
import { milliOf, type PodKind, type TraceNode, WHOLE } from './trace.js';

/** What is left of a node. */
export interface NodeState extends UnitGroup {
  readonly free: readonly number[];
  readonly memoryFree: number;
}

/** A cluster being filled. */
export interface Cluster {
  readonly nodes: readonly NodeState[];
  readonly capacityMilli: number;
  readonly capacityByModel: ReadonlyMap<string, number>;
  /** Nodes changed so far, in order: what a cache has to look at again. */
  readonly changed: readonly number[];
  fits(node: number, pod: PodKind): boolean;
  place(node: number, pod: PodKind, units: readonly number[]): void;
}

/** An empty cluster. */
export function createCluster(list: readonly TraceNode[]): Cluster {
  const nodes: NodeState[] = list.map((node) => ({
    kind: node.model,
    free: Array.from({ length: node.gpus }, () => WHOLE),
    sideFree: node.cpuMilli,
    memoryFree: node.memoryMib,
    unitCapacity: WHOLE,
  }));
  const capacityByModel = new Map<string, number>();
  for (const { model, gpus } of list)
    capacityByModel.set(model, (capacityByModel.get(model) ?? 0) + gpus * WHOLE);
  const changed: number[] = [];
  const at = (index: number): NodeState => {
    const node = nodes[index];
    if (node === undefined) throw new Error(`no node ${index}`);
    return node;
  };
  return {
    nodes,
    capacityMilli: [...capacityByModel.values()].reduce((sum, milli) => sum + milli, 0),
    capacityByModel,
    changed,
    fits: (index, pod) => {
      const node = at(index);
      if (node.sideFree < pod.cpuMilli || node.memoryFree < pod.memoryMib) return false;
      if (pod.gpus === 0) return true;
      if (pod.models !== null && !pod.models.includes(node.kind)) return false;
      let units = 0;
      for (const left of node.free) if (left >= pod.gpuMilli) units += 1;
      return units >= pod.gpus;
    },
    place: (index, pod, units) => {
      const node = at(index);
      if (units.length !== pod.gpus) throw new Error(`pod of ${pod.gpus} GPUs on ${units.length}`);
      const free = [...node.free];
      for (const unit of units) {
        const left = (free[unit] ?? 0) - pod.gpuMilli;
        if (left < 0) throw new Error(`GPU ${unit} of node ${index} oversubscribed`);
        free[unit] = left;
      }
      const sideFree = node.sideFree - pod.cpuMilli;
      const memoryFree = node.memoryFree - pod.memoryMib;
      if (sideFree < 0 || memoryFree < 0) throw new Error(`node ${index} oversubscribed`);
      nodes[index] = { ...node, free, sideFree, memoryFree };
      changed.push(index);
    },
  };
}

/** The ways a pod can sit on a node: for a share each different GPU that holds it, else the lowest free ones. */
export function waysToSit(node: NodeState, pod: PodKind): readonly (readonly number[])[] {
  if (pod.gpus === 0) return [[]];
  if (milliOf(pod) >= WHOLE) {
    const open = node.free.flatMap((left, unit) => (left >= pod.gpuMilli ? [unit] : []));
    return [open.slice(0, pod.gpus)];
  }
  const seen = new Set<number>();
  return node.free.flatMap((left, unit) => {
    if (left < pod.gpuMilli || seen.has(left)) return [];
    seen.add(left);
    return [[unit]];
  });
}
