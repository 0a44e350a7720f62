/**
 * The policies of the openb bench: ours, which is the planner's own fragmentation score, and the baselines FGD,
 * BestFit and Random, written from their papers and the benchmark's rules. Lower scores win; ties go to the first
 * node of the list and to the lowest GPU.
 */
import { createRng } from '@aim-gpu/core';
import {
  afterPlacing,
  createDemandDistribution,
  type DemandDistribution,
  type FragmentationWeights,
  fragmentationScore,
  type UnitDemand,
} from '../../src/index.js';
import { type Cluster, type NodeState, waysToSit } from './cluster.js';
import { drawBelow, type PodKind, type PodList, type TraceNode, WHOLE } from './trace.js';

/** Names of the policies. */
export const POLICIES = ['ours', 'fgd', 'bestfit', 'random'] as const;
/** One of the policies. */
export type PolicyName = (typeof POLICIES)[number];

// Scores closer than this are equal: the rest is rounding noise, which must not choose between like nodes.
const TIE = 1e-6;

/** Where a pod goes. */
interface Choice {
  readonly node: number;
  readonly units: readonly number[];
}

/** Chooses a place for each pod in turn. */
export interface Policy {
  choose(cluster: Cluster, kind: number): Choice | null;
}

/** The distribution of a list's demands, from which FGD and ours judge. */
export function toDistribution(
  list: PodList,
  capacityByModel: ReadonlyMap<string, number>,
): DemandDistribution {
  const merged = new Map<string, { demand: UnitDemand; weight: number }>();
  for (const kind of list.pods) {
    const demand = toDemand(list.kinds[kind] as PodKind);
    const key = JSON.stringify(demand);
    const entry = merged.get(key) ?? { demand, weight: 0 };
    entry.weight += 1;
    merged.set(key, entry);
  }
  return createDemandDistribution({
    demands: [...merged.values()].map(({ demand, weight }) => ({ ...demand, weight })),
    capacityByKind: capacityByModel,
  });
}

/** A pod kind in the planner's terms. */
function toDemand(kind: PodKind): UnitDemand {
  return { amount: kind.gpuMilli, units: kind.gpus, side: kind.cpuMilli, kinds: kind.models };
}

/** Makes a policy for one run. */
export function createPolicy(
  name: PolicyName,
  options: {
    readonly list: PodList;
    readonly nodes: readonly TraceNode[];
    readonly distribution: DemandDistribution;
    readonly seed: number;
    readonly weights?: FragmentationWeights;
  },
): Policy {
  const { list, distribution, weights } = options;
  switch (name) {
    case 'random':
      return createRandomPolicy(list, options.seed);
    case 'ours':
      return createScoredPolicy(options, (node, pod) => {
        const demand = toDemand(pod);
        return best(waysToSit(node, pod), (units) =>
          fragmentationScore(distribution, { group: node, demand, units }, weights),
        );
      });
    case 'fgd':
      return createScoredPolicy(options, (node, pod) => {
        const demand = toDemand(pod);
        const before = distribution.fragmentation(node);
        return best(waysToSit(node, pod), (units) => {
          const after = distribution.fragmentation(afterPlacing({ group: node, demand, units }));
          return -Math.floor(100 / (1 + Math.exp((after - before) / WHOLE)));
        });
      });
    case 'bestfit':
      return createScoredPolicy(options, (node, pod) => {
        const units = tightest(node, pod);
        const gpuLeft = node.free.reduce((sum, left) => sum + left, 0) - pod.gpus * pod.gpuMilli;
        const cpuLeft = node.sideFree - pod.cpuMilli;
        const left = 0.5 * (cpuLeft / 128_000) + 0.5 * (gpuLeft / 8_000);
        return { score: -Math.floor(100 * (1 - left)), units };
      });
  }
}

interface Seat {
  readonly score: number;
  readonly units: readonly number[];
}

function best(
  ways: readonly (readonly number[])[],
  score: (units: readonly number[]) => number,
): Seat {
  let found: Seat = { score: Number.POSITIVE_INFINITY, units: [] };
  for (const units of ways) {
    const value = score(units);
    if (value < found.score - TIE) found = { score: value, units };
  }
  return found;
}

function tightest(node: NodeState, pod: PodKind): readonly number[] {
  const ways = waysToSit(node, pod);
  return best(ways, ([unit]) => (unit === undefined ? 0 : (node.free[unit] ?? 0))).units;
}

/** Takes the best-scored node that fits. A node's score for a kind is worked out again only after the node changed. */
function createScoredPolicy(
  { list, nodes }: { readonly list: PodList; readonly nodes: readonly TraceNode[] },
  seatOn: (node: NodeState, pod: PodKind) => Seat,
): Policy {
  // Memory does not enter any score, so kinds that differ in it share their scores.
  const scoreKeys = list.kinds.map((pod) => JSON.stringify({ ...pod, memoryMib: 0 }));
  const known = new Map<
    string,
    { scores: Float64Array; units: (readonly number[])[]; at: number }
  >();
  return {
    choose: (cluster, kind) => {
      const pod = list.kinds[kind] as PodKind;
      const key = scoreKeys[kind] ?? '';
      const refresh = (memory: NonNullable<ReturnType<typeof known.get>>, index: number): void => {
        const node = cluster.nodes[index] as NodeState;
        const fits = cluster.fits(index, { ...pod, memoryMib: 0 });
        const seat = fits ? seatOn(node, pod) : { score: Number.POSITIVE_INFINITY, units: [] };
        memory.scores[index] = seat.score;
        memory.units[index] = seat.units;
      };
      let memory = known.get(key);
      if (memory === undefined) {
        memory = { scores: new Float64Array(nodes.length), units: [], at: cluster.changed.length };
        known.set(key, memory);
        for (let index = 0; index < nodes.length; index += 1) refresh(memory, index);
      } else if (memory.at < cluster.changed.length) {
        for (const index of new Set(cluster.changed.slice(memory.at))) refresh(memory, index);
        memory.at = cluster.changed.length;
      }
      let node = -1;
      let least = Number.POSITIVE_INFINITY;
      for (let index = 0; index < nodes.length; index += 1) {
        const score = memory.scores[index] ?? Number.POSITIVE_INFINITY;
        if (score < least - TIE && (cluster.nodes[index]?.memoryFree ?? 0) >= pod.memoryMib) {
          least = score;
          node = index;
        }
      }
      return node < 0 ? null : { node, units: memory.units[node] ?? [] };
    },
  };
}

function createRandomPolicy(list: PodList, seed: number): Policy {
  const rng = createRng(seed + 1_000_003);
  return {
    choose: (cluster, kind) => {
      const pod = list.kinds[kind] as PodKind;
      const open = cluster.nodes.flatMap((_, index) => (cluster.fits(index, pod) ? [index] : []));
      const node = open[drawBelow(rng, open.length)];
      if (node === undefined) return null;
      const state = cluster.nodes[node] as NodeState;
      if (pod.gpus !== 1 || pod.gpuMilli >= WHOLE)
        return { node, units: waysToSit(state, pod)[0] ?? [] };
      const holds = state.free.flatMap((left, unit) => (left >= pod.gpuMilli ? [unit] : []));
      return { node, units: [holds[drawBelow(rng, holds.length)] ?? 0] };
    },
  };
}
