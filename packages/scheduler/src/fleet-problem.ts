/**
 * What the planner is asked: desired, observed and assigned state, what each model needs, and what the caller knows
 * beyond. Owns the words of the question; what the search makes of it is problem.ts.
 */
import type {
  Assignment,
  CardId,
  Demand,
  Fleet,
  InstanceId,
  Inventory,
  NodeName,
  Reason,
  Unplaced,
  WorkloadName,
} from '@aim-gpu/core';
import type { Calibration } from '@aim-gpu/performance';
import type { Plugins } from './plugin.js';

/** What {@link planFleet} plans: desired, observed and assigned state plus what each model needs. */
export interface FleetProblem {
  readonly fleet: Fleet;
  /** One inventory for each node that can be planned. */
  readonly inventories: readonly Inventory[];
  /** A demand for every workload of the fleet. */
  readonly demands: ReadonlyMap<WorkloadName, Demand>;
  /** What runs now; they are kept where they are when that costs nothing of higher worth. */
  readonly assignments?: readonly Assignment[];
  /** What was measured on these hosts; the speed of a product with an engine family follows its calibration. */
  readonly calibrations?: readonly Calibration[];
  /** Constraints and scores of the caller's own, beside the built-in ones. */
  readonly plugins?: Plugins;
  /** Cards that take nothing new and keep their layout: in maintenance, or degraded. What runs there stays. */
  readonly cordoned?: readonly { readonly node: NodeName; readonly card: CardId }[];
  /** Instances that must stay exactly where they run; their cards keep their layouts. */
  readonly protectedInstances?: readonly InstanceId[];
  /** Milliseconds from now until a running instance ends by itself, as far as known; for predicted waits. */
  readonly endsInMs?: ReadonlyMap<InstanceId, number>;
  /** Instances that get no place whatever room there is, and why. */
  readonly withheld?: ReadonlyMap<InstanceId, UnplacedReason>;
  /** Instances that may be on some cards only, beyond what their model's placement says. */
  readonly narrowed?: ReadonlyMap<InstanceId, Narrowing>;
  /** Instances that their tenants' guarantees cover: of a band they choose first. */
  readonly guaranteed?: ReadonlySet<InstanceId>;
}

/** Why something has no place, and the nearest fix. */
export type UnplacedReason = Unplaced['reasons'][number];

/** The cards an instance is kept to, and why. */
export interface Narrowing {
  /** Names of cards, `node id`. */
  readonly cards: ReadonlySet<string>;
  readonly reason: Reason;
}

/** What must stay where it runs, by the caller's word or by its model's own. */
export function protectedOf({
  fleet,
  assignments = [],
  protectedInstances = [],
}: FleetProblem): ReadonlyMap<InstanceId, Assignment> {
  const models = new Set(
    fleet.models.filter(({ placement }) => placement.protected === true).map(({ name }) => name),
  );
  const named = new Set(protectedInstances);
  return byInstance(
    assignments.filter(({ instance, workload }) => named.has(instance) || models.has(workload)),
  );
}

/** Assignments by their instance. */
export function byInstance(
  assignments: readonly Assignment[],
): ReadonlyMap<InstanceId, Assignment> {
  return new Map(assignments.map((assignment) => [assignment.instance, assignment]));
}
