/**
 * One openb run: pods arrive one after the other, each is placed for good or skipped for good, and allocation and
 * fragmentation are read when arrived demand passes the marks.
 */
import type { DemandDistribution } from '../../src/index.js';
import { type Cluster, createCluster } from './cluster.js';
import type { Policy } from './policies.js';
import { milliOf, type PodKind, type PodList, type TraceNode } from './trace.js';

/** What was read at a mark. */
interface Reading {
  readonly allocPct: number;
  readonly fragRatioPct: number;
}

/** Outcome of a run: readings by mark (100 is arrived demand equal to capacity), and how many pods were placed. */
export interface RunResult {
  readonly readings: ReadonlyMap<number, Reading>;
  readonly placed: number;
  readonly arrived: number;
}

/** Runs arrivals against an empty cluster. */
export function simulate(options: {
  readonly nodes: readonly TraceNode[];
  readonly list: PodList;
  readonly arrivals: readonly number[];
  readonly policy: Policy;
  readonly distribution: DemandDistribution;
  readonly marks: readonly number[];
}): RunResult {
  const { list, arrivals, policy, distribution } = options;
  const cluster = createCluster(options.nodes);
  const marks = options.marks.toSorted((a, b) => a - b);
  const readings = new Map<number, Reading>();
  let arrived = 0;
  let allocated = 0;
  let placed = 0;
  for (const kind of arrivals) {
    const pod = list.kinds[kind] as PodKind;
    arrived += milliOf(pod);
    const choice = policy.choose(cluster, kind);
    if (choice !== null) {
      cluster.place(choice.node, pod, choice.units);
      allocated += milliOf(pod);
      placed += 1;
    }
    for (const mark of marks) {
      if (readings.has(mark) || arrived < (mark / 100) * cluster.capacityMilli) continue;
      readings.set(mark, read(cluster, allocated, distribution));
    }
  }
  // The last mark is reached to within less than one pod.
  for (const mark of marks)
    if (!readings.has(mark)) readings.set(mark, read(cluster, allocated, distribution));
  return { readings, placed, arrived: arrivals.length };
}

function read(cluster: Cluster, allocated: number, distribution: DemandDistribution): Reading {
  const idle = cluster.capacityMilli - allocated;
  const lost = cluster.nodes.reduce((sum, node) => sum + distribution.fragmentation(node), 0);
  return {
    allocPct: (100 * allocated) / cluster.capacityMilli,
    fragRatioPct: idle === 0 ? 0 : (100 * lost) / idle,
  };
}
