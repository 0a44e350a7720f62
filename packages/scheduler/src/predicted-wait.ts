/**
 * How long a workload without a place waits: until those who run for a limited time have ended, one after the other, it
 * is planned again. Honest about what is not known: without ends there is no time. Pure.
 */
import type { InstanceId, Plan, WorkloadName } from '@aim-gpu/core';
import type { FleetProblem, UnplacedReason } from './fleet-problem.js';
import { planFleet } from './plan-within-rules.js';

/** When a workload gets its place. */
export interface PredictedWait {
  readonly workload: WorkloadName;
  /** Milliseconds until all of it is placed: 0 when it is already, null when no known end makes room for it. */
  readonly waitMs: number | null;
  /** Those whose ends it waits for, first to end first; empty when it need not, or cannot know. */
  readonly until: readonly InstanceId[];
}

/** Ends looked at; who waits for more than these is told that nothing is known. */
const MOST_ENDS = 32;

/**
 * Predicts the wait of each unplaced workload of a plan. Ends are `endsInMs` of the problem and, of other instances in
 * the plan, the whole duration that their model names: that is the longest they can take. Errors are those of planFleet.
 */
export function predictWaits(problem: FleetProblem, plan: Plan): readonly PredictedWait[] {
  const ends = endsOf(problem, plan).slice(0, MOST_ENDS);
  const waiting = new Set(plan.unplaced.map(({ workload }) => workload));
  const found = new Map<WorkloadName, PredictedWait>();
  for (const [index, [, waitMs]] of ends.entries()) {
    if (found.size === waiting.size) break;
    // Who ends at the same time ends together.
    if (ends[index + 1]?.[1] === waitMs) continue;
    const until = ends.slice(0, index + 1).map(([instance]) => instance);
    const later = planFleet(withoutEnded(problem, plan, new Set(until)));
    const still = new Set(later.unplaced.map(({ workload }) => workload));
    for (const workload of waiting)
      if (!still.has(workload) && !found.has(workload))
        found.set(workload, { workload, waitMs, until });
  }
  return [...waiting].map(
    (workload) => found.get(workload) ?? { workload, waitMs: null, until: [] },
  );
}

function endsOf(problem: FleetProblem, plan: Plan): readonly (readonly [InstanceId, number])[] {
  const known = problem.endsInMs ?? new Map<InstanceId, number>();
  const durations = new Map(
    problem.fleet.models.map(({ name, durationMs = null }) => [name, durationMs]),
  );
  return plan.placements
    .flatMap(({ instance, workload }) => {
      const endsInMs = known.get(instance) ?? durations.get(workload) ?? null;
      return endsInMs === null ? [] : [[instance, endsInMs] as const];
    })
    .toSorted(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
}

/** The problem when some have ended: what the plan placed runs, who has ended neither runs nor asks for a place. */
function withoutEnded(
  problem: FleetProblem,
  plan: Plan,
  ended: ReadonlySet<InstanceId>,
): FleetProblem {
  const over = (instance: InstanceId): UnplacedReason => ({
    code: 'ended',
    message: `${instance} has ended`,
    fix: 'none is needed',
  });
  // What the plan would newly start is not held to its place: when the time comes it runs, and may be left alone again.
  const assignments = (problem.assignments ?? []).filter(({ instance }) => !ended.has(instance));
  const withheld = new Map([
    ...(problem.withheld ?? []),
    ...[...ended].map((instance) => [instance, over(instance)] as const),
  ]);
  const names = new Set(
    plan.placements.filter(({ instance }) => ended.has(instance)).map(({ workload }) => workload),
  );
  // A gang whose member has ended is complete without it.
  const models = problem.fleet.models.map((model) =>
    names.has(model.name) ? { ...model, gang: null } : model,
  );
  return { ...problem, assignments, withheld, fleet: { ...problem.fleet, models } };
}
