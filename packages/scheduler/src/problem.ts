/**
 * The planning problem as the search sees it: cards with the layouts they may take, and instances that want a place.
 * Owns the translation from fleet, inventories and demands; decides nothing.
 */
import {
  AimError,
  type Assignment,
  BANDS,
  type Band,
  type Bytes,
  bytesFloor,
  type Demand,
  type Fleet,
  type InstanceId,
  type Inventory,
  instanceId,
  type Workload,
} from '@aim-gpu/core';
import type { Calibration } from '@aim-gpu/performance';
import { type CardChoice, type Slot, toCardChoices } from './card-choice.js';
import { byInstance, type FleetProblem, type Narrowing, protectedOf } from './fleet-problem.js';
import type { Plugins } from './plugin.js';
import { type SpreadRule, toSpreadRule } from './spread.js';

/** One instance that wants a place. */
export interface Candidate {
  readonly instance: InstanceId;
  readonly workload: Workload;
  readonly demand: Demand;
  /** Memory each of its shares must have. */
  readonly shareBytes: Bytes;
  /** Where it runs now, or null. */
  readonly assigned: Assignment | null;
  /** Must stay where it runs. */
  readonly isProtected: boolean;
  /** Cards it is kept to beyond its model's wishes; null when to none. */
  readonly narrowed: Narrowing | null;
  /** How its workload's instances are to be spread; null without such a wish. */
  readonly spread: SpreadRule | null;
  /** Needed to give its tenant what it is guaranteed. */
  readonly guaranteed: boolean;
}

/** An instance on the slots it was given: one for each of its ranks. */
export interface Resident {
  readonly candidate: Candidate;
  readonly slots: readonly Slot[];
  /** Memory it has on each slot. */
  readonly memoryBytes: Bytes;
}

/** The problem in the search's own terms. */
export interface SearchProblem {
  readonly fleet: Fleet;
  readonly inventories: readonly Inventory[];
  readonly cards: readonly CardChoice[];
  /** In the order they are placed: most urgent band first, the hardest to place first within a band. */
  readonly candidates: readonly Candidate[];
  readonly assignments: readonly Assignment[];
  readonly plugins: Plugins;
  readonly calibrations: readonly Calibration[];
  /** Instances that are not among the candidates, and why. */
  readonly withheld?: FleetProblem['withheld'];
}

/** Translates a fleet problem. Throws `ERR_DEMAND_MISSING` (internal) for a workload without a demand. */
export function toSearchProblem(problem: FleetProblem): SearchProblem {
  const assignments = problem.assignments ?? [];
  const kept = protectedOf(problem);
  const cards = problem.inventories.flatMap((inventory) => toCardChoices(inventory, problem, kept));
  const guaranteed = problem.guaranteed ?? new Set();
  const found = { cards, kept, guaranteed, running: byInstance(assignments) };
  const candidates = problem.fleet.models.flatMap((workload) =>
    toCandidates(workload, problem, found),
  );
  return {
    fleet: problem.fleet,
    inventories: problem.inventories,
    cards,
    candidates: candidates.toSorted(byUrgencyThenSize),
    assignments,
    plugins: problem.plugins ?? {},
    calibrations: problem.calibrations ?? [],
    ...(problem.withheld === undefined ? {} : { withheld: problem.withheld }),
  };
}

function toCandidates(
  workload: Workload,
  problem: FleetProblem,
  found: {
    readonly cards: readonly CardChoice[];
    readonly kept: ReadonlyMap<InstanceId, Assignment>;
    readonly running: ReadonlyMap<InstanceId, Assignment>;
    readonly guaranteed: ReadonlySet<InstanceId>;
  },
): readonly Candidate[] {
  const demand = problem.demands.get(workload.name);
  if (demand === undefined) {
    throw new AimError({
      code: 'ERR_DEMAND_MISSING',
      kind: 'internal',
      message: `no demand was given for model ${workload.name}`,
      hint: 'size every model of the fleet before planning it',
    });
  }
  // Whatever its band says, a fine-tune yields to everybody else.
  const yielding: Workload =
    workload.kind === 'finetune' ? { ...workload, band: 'best_effort' } : workload;
  const spread = toSpreadRule(workload, found.cards);
  return instancesOf(workload).flatMap((instance): readonly Candidate[] => {
    if (problem.withheld?.has(instance) === true) return [];
    const assigned = found.running.get(instance) ?? null;
    return [
      {
        instance,
        isProtected: found.kept.has(instance),
        workload: yielding,
        demand,
        shareBytes: shareBytesOf(workload, demand),
        assigned,
        narrowed: problem.narrowed?.get(instance) ?? null,
        spread,
        guaranteed: found.guaranteed.has(instance),
      },
    ];
  });
}

/** Every instance of a workload that is to have a place. */
export function instancesOf(workload: Workload): readonly InstanceId[] {
  return Array.from({ length: plannedReplicas(workload) }, (_, replica) =>
    instanceId(workload.name, replica),
  );
}

/** A parked model (min 0) keeps the room of one replica, so that waking it needs no new plan. */
function plannedReplicas(workload: Workload): number {
  return Math.max(1, workload.replicas.min);
}

/** Memory that each share of a workload's instances must have. */
export function shareBytesOf(workload: Workload, demand: Demand): Bytes {
  const least = workload.placement.minShareBytes ?? 0;
  return bytesFloor(Math.max(demand.memory.totalBytes, least));
}

/** The rank of a band: 0 is the most urgent. */
export function bandRank(band: Band): number {
  return BANDS.indexOf(band);
}

function byUrgencyThenSize(a: Candidate, b: Candidate): number {
  return (
    bandRank(a.workload.band) - bandRank(b.workload.band) ||
    Number(b.guaranteed) - Number(a.guaranteed) ||
    freedom(a) - freedom(b) ||
    b.demand.ranks - a.demand.ranks ||
    b.shareBytes - a.shareBytes ||
    (a.instance < b.instance ? -1 : 1)
  );
}

/** The fewer places a candidate can go, the earlier it chooses. */
function freedom(candidate: Candidate): number {
  const { placement } = candidate.workload;
  if (candidate.isProtected) return -1;
  if (candidate.workload.kind === 'finetune') return 3;
  if (placement.pin !== null) return 0;
  return placement.exclusive ? 1 : 2;
}

/** Whether the instance runs on this very partition now. */
export function isAssignedTo(candidate: Candidate, slot: Slot): boolean {
  const shares = candidate.assigned?.shares ?? [];
  return shares.some(
    (share) =>
      share.node === slot.card.node &&
      share.card === slot.card.id &&
      share.partition === slot.index,
  );
}
