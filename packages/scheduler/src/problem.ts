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
  type CardId,
  type Demand,
  type Fleet,
  type HiveId,
  type InstanceId,
  type Inventory,
  instanceId,
  type Layout,
  type NodeName,
  type ObservedCard,
  type Reason,
  sameLayout,
  type Unplaced,
  type Workload,
  type WorkloadName,
} from '@aim-gpu/core';
import { findProduct, type Product, partitionGeometry } from '@aim-gpu/core/products';
import { legalLayouts } from '@aim-gpu/partitioning';
import type { Plugins } from './plugin.js';
import { type SpreadRule, toSpreadRule } from './spread.js';

/** What {@link planFleet} plans: desired, observed and assigned state plus what each model needs. */
export interface FleetProblem {
  readonly fleet: Fleet;
  /** One inventory for each node that can be planned. */
  readonly inventories: readonly Inventory[];
  /** A demand for every workload of the fleet. */
  readonly demands: ReadonlyMap<WorkloadName, Demand>;
  /** What runs now; they are kept where they are when that costs nothing of higher worth. */
  readonly assignments?: readonly Assignment[];
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

/** A card that the search may lay out. */
export interface CardChoice {
  readonly node: NodeName;
  readonly driver: string;
  readonly id: CardId;
  readonly hive: HiveId | null;
  readonly product: Product;
  readonly observed: ObservedCard;
  readonly current: Layout;
  /** Layouts the search may choose from, the current one first. */
  readonly layouts: readonly Layout[];
  /** Takes nothing new. */
  readonly cordoned: boolean;
}

/** One partition of a card in a chosen layout. */
export interface Slot {
  readonly card: CardChoice;
  readonly layout: Layout;
  readonly index: number;
  readonly memoryBytes: Bytes;
  /** Memory that may be handed out: capacity less the policy's reserve. */
  readonly usableBytes: Bytes;
  readonly computeUnits: number;
  readonly xcds: number;
}

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
    ...(problem.withheld === undefined ? {} : { withheld: problem.withheld }),
  };
}

function byInstance(assignments: readonly Assignment[]): ReadonlyMap<InstanceId, Assignment> {
  return new Map(assignments.map((assignment) => [assignment.instance, assignment]));
}

function toCardChoices(
  inventory: Inventory,
  problem: FleetProblem,
  kept: ReadonlyMap<InstanceId, Assignment>,
): readonly CardChoice[] {
  const { fleet, cordoned = [] } = problem;
  const wished = fleet.nodes.find(({ name }) => name === inventory.node)?.cordoned ?? [];
  return inventory.cards.flatMap((observed) => {
    const product = observed.product === null ? null : findProduct(observed.product);
    const { compute, memory } = observed.layout;
    // A card whose product or layout the driver could not tell cannot be planned with; the driver's problem says so.
    if (product === null || compute === null || memory === null) return [];
    const current: Layout = { compute, memory };
    const isHere = (place: { readonly node: NodeName; readonly card: CardId }): boolean =>
      place.node === inventory.node && place.card === observed.id;
    const isCordoned = cordoned.some(isHere) || wished === 'all' || wished.includes(observed.id);
    const isGuarded = [...kept.values()].some(({ shares }) => shares.some(isHere));
    const mayChange =
      fleet.policy.repartition.allow &&
      observed.writable &&
      !isCordoned &&
      !isGuarded &&
      !isDegraded(observed, product, current);
    const others = mayChange
      ? legalLayouts(observed)
          .legal.map(({ layout }) => layout)
          .filter((layout) => !sameLayout(layout, current))
      : [];
    return [
      {
        node: inventory.node,
        driver: inventory.driver,
        id: observed.id,
        hive: observed.hive,
        product,
        observed,
        current,
        layouts: [current, ...others],
        cordoned: isCordoned,
      },
    ];
  });
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

/**
 * Whether a card shows less than its product has in this layout: a partition that is lost, or dies of one. What is left
 * is used as it is; another layout would hand the loss to somebody else.
 */
function isDegraded(observed: ObservedCard, product: Product, layout: Layout): boolean {
  const whole = partitionGeometry(product, layout);
  const xcds = (list: readonly { readonly xcds: number }[]): number =>
    list.reduce((sum, one) => sum + one.xcds, 0);
  return observed.partitions.length < whole.length || xcds(observed.partitions) < xcds(whole);
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

/** The partitions of a card in a layout: as observed when it is the current one, else as the product's rules say. */
export function toSlots(card: CardChoice, layout: Layout, fleet: Fleet): readonly Slot[] {
  const reserve = 1 - fleet.policy.memoryReserve;
  const slot = (index: number, memoryBytes: Bytes, computeUnits: number, xcds: number): Slot => ({
    card,
    layout,
    index,
    memoryBytes,
    usableBytes: bytesFloor(memoryBytes * reserve),
    computeUnits,
    xcds,
  });
  if (sameLayout(layout, card.current)) {
    return card.observed.partitions.flatMap((partition) =>
      partition.memoryBytes === null
        ? []
        : [slot(partition.index, partition.memoryBytes, partition.computeUnits, partition.xcds)],
    );
  }
  return partitionGeometry(
    card.product,
    layout,
    card.observed.memoryBytes ?? card.product.memoryBytes,
  ).map((partition) =>
    slot(partition.index, partition.memoryBytes, partition.computeUnits, partition.xcds),
  );
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
