/**
 * Fragmentation of a plan: what of the idle memory of each card, node and the fleet none of the fleet's own models, as
 * often as they come, could use. The metric `aim_gpu_fragmentation_ratio` has this meaning.
 */
import type { Plan, PlannedPartition } from '@aim-gpu/core';
import { toFleetDistribution } from './fleet-demand.js';
import type { FleetProblem } from './fleet-problem.js';
import { toSearchProblem } from './problem.js';

/** Idle memory and what of it is lost. */
export interface Fragmentation {
  readonly idleBytes: number;
  /** Idle bytes that a typical model cannot use, on average over the models. */
  readonly lostBytes: number;
  /** Lost ÷ idle, 0 when nothing is idle. */
  readonly ratio: number;
}

/** Fragmentation of a plan on each level. */
export interface PlanFragmentation {
  readonly fleet: Fragmentation;
  readonly nodes: readonly (Fragmentation & { readonly node: string })[];
  readonly cards: readonly (Fragmentation & { readonly node: string; readonly card: string })[];
}

/** Measures the fragmentation that a plan leaves. Throws `ERR_DEMAND_MISSING` (internal). */
export function measureFragmentation(problem: FleetProblem, plan: Plan): PlanFragmentation {
  const search = toSearchProblem(problem);
  const distribution = toFleetDistribution(search.candidates, search.cards);
  const usable = 1 - problem.fleet.policy.memoryReserve;
  const cards = plan.nodes.flatMap((node) =>
    node.cards.map((card) => {
      const exclusive = new Set(
        plan.placements
          .filter(({ workload }) => isExclusive(problem, workload))
          .map(({ instance }) => instance as string),
      );
      const free = card.partitions.map((partition) => freeOf(partition, usable, exclusive));
      const kind = card.product ?? '';
      const idleBytes = free.reduce((sum, bytes) => sum + bytes, 0);
      const lostBytes = distribution.fragmentation({
        kind,
        free,
        sideFree: Number.POSITIVE_INFINITY,
      });
      return {
        node: node.name as string,
        card: card.id as string,
        ...toFragmentation(idleBytes, lostBytes),
      };
    }),
  );
  const nodes = plan.nodes.map((node) => ({
    node: node.name as string,
    ...add(cards.filter((card) => card.node === node.name)),
  }));
  return { fleet: add(cards), nodes, cards };
}

function isExclusive(problem: FleetProblem, name: string): boolean {
  return problem.fleet.models.some((model) => model.name === name && model.placement.exclusive);
}

function freeOf(
  { memoryBytes, shares }: PlannedPartition,
  usable: number,
  exclusive: ReadonlySet<string>,
): number {
  if (shares.some(({ instance }) => exclusive.has(instance))) return 0;
  const used = shares.reduce((sum, share) => sum + share.memoryBytes, 0);
  return Math.max(0, Math.floor(memoryBytes * usable) - used);
}

function add(parts: readonly Fragmentation[]): Fragmentation {
  const idleBytes = parts.reduce((sum, part) => sum + part.idleBytes, 0);
  const lostBytes = parts.reduce((sum, part) => sum + part.lostBytes, 0);
  return toFragmentation(idleBytes, lostBytes);
}

function toFragmentation(idleBytes: number, lostBytes: number): Fragmentation {
  const lost = Math.round(lostBytes);
  return { idleBytes, lostBytes: lost, ratio: idleBytes === 0 ? 0 : lost / idleBytes };
}
