/**
 * Plan and assignment: what shall be done, as data that can be printed, diffed, stored and refused (CONTRACT §3),
 * and what the journal says runs. Made by `scheduler`; effects happen elsewhere.
 */
import type { CardId, InstanceId, NodeName, PlanId, WorkloadName } from './ids.js';
import type { Layout } from './layout.js';
import type { Bytes } from './units.js';

/** A coded reason for people and programs. */
export interface Reason {
  readonly code: string;
  readonly message: string;
}

/** A slice of one partition given to one engine process. */
export interface Share {
  readonly node: NodeName;
  readonly card: CardId;
  readonly partition: number;
  readonly memoryBytes: Bytes;
}

/** What the speed model says of a placement at the declared loads. */
export interface PredictedLatency {
  readonly ttftMs: number;
  readonly tpotMs: number;
  /** TPOT on the same share of the same partition with its neighbours idle. */
  readonly aloneTpotMs: number;
}

/** An instance on its share or shares. */
export interface Placement {
  readonly instance: InstanceId;
  readonly workload: WorkloadName;
  readonly shares: readonly Share[];
  readonly predicted: PredictedLatency;
  readonly reasons: readonly Reason[];
}

/** A partition of a card in the wanted layout with who is on it. */
export interface PlannedPartition {
  readonly index: number;
  readonly memoryBytes: Bytes;
  readonly computeUnits: number;
  readonly shares: readonly { readonly instance: InstanceId; readonly memoryBytes: Bytes }[];
}

/** A card in its wanted layout. */
export interface PlannedCard {
  readonly id: CardId;
  readonly product: string | null;
  readonly layout: Layout;
  readonly partitions: readonly PlannedPartition[];
}

/** A node with its cards in their wanted layouts. */
export interface PlannedNode {
  readonly name: NodeName;
  readonly driver: string;
  readonly cards: readonly PlannedCard[];
}

/** One layout change; `card` is null when the whole node changes (memory mode). */
export interface LayoutChange {
  readonly node: NodeName;
  readonly card: CardId | null;
  readonly from: Layout;
  readonly to: Layout;
  readonly expectedMs: number;
  /** Instances that must stop for it. */
  readonly stops: readonly InstanceId[];
}

/** A workload that found no place, with the nearest fix. */
export interface Unplaced {
  readonly workload: WorkloadName;
  readonly replicas: number;
  readonly reasons: readonly {
    readonly code: string;
    readonly message: string;
    readonly fix: string;
  }[];
}

/** Everything that shall change, as data. Deterministic: same input, same bytes. */
export interface Plan {
  readonly apiVersion: 'aim-gpu/v1alpha1';
  readonly kind: 'Plan';
  readonly id: PlanId;
  /** What the plan was made against; a plan whose generation is no longer true is refused. */
  readonly observed: { readonly generation: string };
  readonly nodes: readonly PlannedNode[];
  readonly placements: readonly Placement[];
  readonly changes: readonly LayoutChange[];
  readonly unplaced: readonly Unplaced[];
}

/** What the journal says about one instance: the third state beside desired and observed. */
export interface Assignment {
  readonly instance: InstanceId;
  readonly workload: WorkloadName;
  readonly shares: readonly Share[];
  readonly plan: PlanId;
}
