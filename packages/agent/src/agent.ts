/**
 * What an agent takes and gives: its options and its face. Types alone; the agent itself is node-agent.ts.
 */
import type {
  CallOptions,
  Clock,
  EndpointDirectory,
  Fleet,
  GpuDriver,
  InstanceId,
  Inventory,
  Launcher,
  Logger,
  MetricSink,
  NodeName,
  Plan,
  Rng,
  ServingEngine,
  StateStore,
  Workload,
} from '@aim-gpu/core';
import type { HostCapabilities } from '@aim-gpu/isolation';
import type { ControlTarget } from './control-server.js';
import type { LayoutProgress } from './layouts.js';
import type { ModelSource } from './plan-from-fleet.js';
import type { RunnerTiming } from './runner-timing.js';
import type { InstanceStatus, StatusDocument } from './status.js';

/** What an agent works with. */
export interface AgentOptions {
  readonly node: NodeName;
  readonly fleet: Fleet;
  readonly models: ModelSource;
  readonly driver: GpuDriver;
  /** Drivers of the fleet's other nodes that can be read from here; they are planned with, never changed. */
  readonly otherDrivers?: readonly GpuDriver[];
  readonly launcher: Launcher;
  /** The engine of a workload on this node. */
  readonly engineFor: (workload: Workload, inventory: Inventory) => ServingEngine;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: MetricSink;
  readonly host: HostCapabilities;
  /** The file an instance's output goes to, or null for none. */
  readonly logFile?: (instance: InstanceId) => string | null;
  /** Address engines listen on, by default loopback. */
  readonly engineHost?: string;
  /** Start what can be placed instead of refusing a plan with leftovers. */
  readonly partial?: boolean;
  readonly pid: number;
  readonly runnerTiming?: Partial<RunnerTiming>;
}

/** Options of {@link Agent.apply}. */
export interface ApplyOptions extends CallOptions {
  /** Told how far a change of layouts is. */
  readonly onLayoutProgress?: (progress: LayoutProgress) => void;
}

/** One node under care. */
export interface Agent {
  readonly directory: EndpointDirectory;
  /**
   * Takes the node and repairs what an earlier run left behind. Throws `ERR_STATE_LOCKED` (conflict) with the holder.
   */
  open(options?: CallOptions): Promise<void>;
  /** Plans the fleet against what is observed and assigned now. Changes nothing. */
  plan(options?: CallOptions): Promise<Plan>;
  /**
   * Brings the node to a plan: stop what must stop → change layouts → read back → start engines. Returns when every
   * engine is being started; see {@link Agent.settled}. Calls run one after the other.
   *
   * Throws, with nothing changed, `ERR_PLAN_STALE` (conflict) when the machine changed since, `ERR_UNPLACED` or
   * `ERR_DOES_NOT_FIT` (refused) when something has no place, `ERR_LAYOUT_UNSUPPORTED` (refused) when a layout cannot be
   * had. Throws the driver's errors, the signal's reason, and `ERR_STOPPED` (unavailable) when the agent is closed
   * meanwhile: no engine was started then, and layouts are back unless they had all been reached.
   */
  apply(plan: Plan, options?: ApplyOptions): Promise<void>;
  /** Resolves when an instance is ready or given up, with its status. Throws `ERR_INSTANCE_UNKNOWN` (missing). */
  settled(instance: InstanceId): Promise<InstanceStatus>;
  /** The node as it is now. */
  status(): Promise<StatusDocument>;
  /** What the control socket shows of this agent. */
  control(hooks: ControlHooks): ControlTarget;
  /** Calls back when an instance changes state, until the returned function is called. */
  onInstanceChange(listener: (status: InstanceStatus) => void): () => void;
  /** Drains and stops every engine, releases every share and the node; the layout stays unless told. Idempotent. */
  close(options?: { readonly restoreLayout?: boolean }): Promise<void>;
}

/** What a control socket shows beside the agent, and does for it. */
export interface ControlHooks {
  /** Where the gateway listens, or null. */
  readonly gateway: () => StatusDocument['gateway'];
  /** Begins to shut down. */
  readonly down: ControlTarget['down'];
}
