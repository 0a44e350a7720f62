/**
 * What a plan is worth on the levels of the objective, read off the plan itself. For comparing plans of one fleet that
 * differ in who was kept out; the search compares packings by packing-worth.ts. Pure.
 */
import { BANDS, type InstanceId, type Placement, type Plan, type Workload } from '@aim-gpu/core';
import type { FleetProblem } from './fleet-problem.js';
import { excessOver } from './latency.js';
import type { Worth } from './objective.js';

/** A move stops and starts an engine: about a minute, as changes.ts has it. */
const MOVE_MS = 60_000;

/** A plan's worth; of the named workloads only, when there are any named. Without the preset's score. */
export function planWorth(
  problem: FleetProblem,
  plan: Plan,
  counts: (workload: Workload) => boolean = () => true,
): Worth {
  const models = new Map(
    problem.fleet.models.filter(counts).map((workload) => [workload.name, workload]),
  );
  const placedByBand = BANDS.map(() => 0);
  let violations = 0;
  const placed = new Set<InstanceId>();
  for (const placement of plan.placements) {
    const workload = models.get(placement.workload);
    if (workload === undefined) continue;
    placed.add(placement.instance);
    const rank = workload.kind === 'finetune' ? BANDS.length - 1 : BANDS.indexOf(workload.band);
    placedByBand[rank] = (placedByBand[rank] ?? 0) + 1;
    violations += excessOf(placement, workload);
  }
  const guaranteed = [...(problem.guaranteed ?? [])];
  return {
    placedByBand,
    violations,
    guaranteesMissed: guaranteed.filter((instance) => !placed.has(instance)).length,
    changeCostMs:
      plan.changes.reduce(
        (sum, { expectedMs, stops }) => sum + expectedMs * (1 + stops.length),
        0,
      ) +
      MOVE_MS * disturbed(problem, plan, counts).length,
    presetScore: 0,
  };
}

function excessOf({ predicted, reasons }: Placement, { slo }: Workload): number {
  const overloaded = reasons.some(({ code }) => code === 'load-above-capacity');
  return excessOver({ ...predicted, overloaded }, slo);
}

/** Running instances of the counted workloads that a plan moves or stops for a while. */
export function disturbed(
  problem: FleetProblem,
  plan: Plan,
  counts: (workload: Workload) => boolean = () => true,
): readonly InstanceId[] {
  const names = new Set(problem.fleet.models.filter(counts).map(({ name }) => name));
  const stopped = new Set(plan.changes.flatMap(({ stops }) => stops));
  const placed = new Map(plan.placements.map(({ instance, shares }) => [instance, shares]));
  return (problem.assignments ?? []).flatMap(({ instance, workload, shares }) => {
    if (!names.has(workload)) return [];
    const now = placed.get(instance);
    if (now === undefined) return [];
    const stays = shares.every((share) =>
      now.some(
        ({ node, card, partition }) =>
          node === share.node && card === share.card && partition === share.partition,
      ),
    );
    return stays && !stopped.has(instance) ? [] : [instance];
  });
}
