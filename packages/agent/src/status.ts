/**
 * The status document: desired, observed and assigned state of one node at one moment, for `aim-gpu status`, the
 * control socket and every later surface. Data only.
 */
import type {
  Band,
  CardId,
  EndpointAddress,
  EpochMs,
  InstanceId,
  IsolationMeasure,
  NodeName,
  ObservedCard,
  PredictedLatency,
  Problem,
  Reason,
  Share,
  Unplaced,
  WorkloadName,
} from '@aim-gpu/core';

/** Where an instance is in its life. */
export type InstanceState =
  | 'waiting'
  | 'starting'
  | 'ready'
  /** Stopped because nobody asks for it; the next request starts it. */
  | 'parked'
  | 'restarting'
  | 'failed'
  | 'stopping'
  | 'stopped';

/** One instance as it is now. */
export interface InstanceStatus {
  readonly instance: InstanceId;
  readonly workload: WorkloadName;
  readonly band: Band;
  readonly engine: string;
  readonly state: InstanceState;
  /** When it entered that state. */
  readonly since: EpochMs;
  readonly pid: number | null;
  readonly endpoint: EndpointAddress | null;
  readonly shares: readonly Share[];
  readonly predicted: PredictedLatency;
  readonly isolation: readonly IsolationMeasure[];
  readonly restarts: number;
  /** Whether it was told to take no new requests. */
  readonly draining: boolean;
  /** Why it is not ready, with one fix, when something went wrong. */
  readonly trouble: { readonly message: string; readonly hint: string } | null;
}

/** What a workload lost because of a device that is gone, and what is done instead. */
export interface Degradation {
  readonly workload: WorkloadName;
  /** `moved` elsewhere, another `layout`, a `smaller-context`, its `fallback` answers, or requests are `refused`. */
  readonly step: 'moved' | 'layout' | 'smaller-context' | 'fallback' | 'refused';
  readonly message: string;
}

/** A partition with what is handed out of it. */
export interface PartitionStatus {
  readonly index: number;
  readonly memoryBytes: number | null;
  readonly reservedBytes: number;
  readonly computeUnits: number;
  readonly shares: readonly { readonly instance: InstanceId; readonly memoryBytes: number }[];
}

/** A card with its partitions. */
export interface CardStatus {
  readonly id: CardId;
  readonly product: string | null;
  readonly layout: ObservedCard['layout'];
  readonly partitions: readonly PartitionStatus[];
}

/** What the node's agent is doing. */
export type AgentState = 'starting' | 'ready' | 'degraded' | 'draining' | 'stopped';

/** The whole node. */
export interface StatusDocument {
  readonly apiVersion: 'aim-gpu/v1alpha1';
  readonly kind: 'Status';
  readonly node: NodeName;
  readonly driver: string;
  readonly fleet: string;
  readonly state: AgentState;
  readonly since: EpochMs;
  readonly pid: number;
  readonly plan: string | null;
  readonly gateway: { readonly url: string; readonly adminUrl: string } | null;
  readonly cards: readonly CardStatus[];
  readonly instances: readonly InstanceStatus[];
  readonly unplaced: readonly Unplaced[];
  /** Empty while everything is as asked for. */
  readonly degradations: readonly Degradation[];
  readonly problems: readonly Problem[];
  readonly warnings: readonly Reason[];
}
