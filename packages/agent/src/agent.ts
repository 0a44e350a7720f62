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
import type { DegradedState, HookRunner } from '@aim-gpu/partitioning';
import type { ApplyDiff } from './apply-diff.js';
import type { ControlTarget } from './control-target.js';
import type { EventLog } from './event-log.js';
import type { LayoutProgress } from './layouts.js';
import type { PlanSources } from './plan-from-fleet.js';
import type { RunnerTiming } from './runner-timing.js';
import type { InstanceStatus, StatusDocument } from './status.js';

/** What an agent works with. */
export interface AgentOptions extends PlanSources {
  readonly node: NodeName;
  /** What is served until another fleet is applied. */
  readonly fleet: Fleet;
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
  /**
   * Engines outlive this agent: its launcher adopts. {@link Agent.open} takes over what runs, and
   * {@link Agent.close} leaves it running unless told to stop it.
   */
  readonly lasting?: boolean;
  /**
   * Called before another fleet is applied, for what else depends on it (tenants' keys); a throw refuses the fleet.
   * The function it resolves to is called when the fleet was taken.
   */
  readonly onFleet?: (fleet: Fleet) => Promise<() => void>;
  /** Runs the hooks that an interrupted change of layouts left behind, which another command may have begun. */
  readonly hookRunner?: HookRunner;
  /** What a person types when a change of layouts stopped half way and this agent has ended. */
  readonly resumeCommand?: (state: DegradedState) => string;
}

/** Options of {@link Agent.apply}. */
export interface ApplyOptions extends CallOptions {
  /** Told how far a change of layouts is. */
  readonly onLayoutProgress?: (progress: LayoutProgress) => void;
}

/** Options of {@link Agent.applyFleet}. */
export interface ApplyFleetOptions extends ApplyOptions {
  /** Says what would change and changes nothing. */
  readonly dryRun?: boolean;
  /** A plan made earlier, instead of a new one. */
  readonly plan?: Plan;
}

/** What {@link Agent.applyFleet} did, or would do. */
export interface AppliedFleet {
  readonly dryRun: boolean;
  readonly plan: Plan;
  readonly diff: ApplyDiff;
}

/** One node under care. */
export interface Agent {
  readonly directory: EndpointDirectory;
  readonly events: EventLog;
  /** The fleet that is served. */
  readonly fleet: Fleet;
  /**
   * Takes the node and repairs what an earlier run left behind; a lasting agent takes over the engines that still run
   * and goes on with the fleet that was applied last. Throws `ERR_STATE_LOCKED` (conflict) with the holder,
   * `ERR_STATE_CORRUPT` and `ERR_STATE_NEWER`.
   */
  open(options?: CallOptions): Promise<void>;
  /** Whether {@link Agent.open} found a fleet that an earlier agent served. */
  readonly resumed: boolean;
  /** Plans the fleet against what is observed and assigned now. Changes nothing. */
  plan(options?: CallOptions): Promise<Plan>;
  /**
   * Brings the node to a plan, one safe step after the other: stop what nobody wants → replace what can be replaced
   * beside the old one → stop what is on changing cards and change them → read back → start engines. Returns when
   * replacements serve and every other engine is being started; see {@link Agent.settled}. Calls run one after the
   * other.
   *
   * Throws, with nothing changed, `ERR_PLAN_STALE` (conflict) when the machine changed since, `ERR_UNPLACED` or
   * `ERR_DOES_NOT_FIT` (refused) when something has no place, `ERR_LAYOUT_UNSUPPORTED` (refused) when a layout cannot be
   * had. Throws the driver's errors, the signal's reason, `ERR_ENGINE_FAILED` (unavailable) when a replacement did not
   * become ready (the old one serves on), and `ERR_STOPPED` (unavailable) when the agent is closed meanwhile: no engine
   * was started then, and layouts are back unless they had all been reached.
   */
  apply(plan: Plan, options?: ApplyOptions): Promise<void>;
  /**
   * Plans another fleet against what runs and brings the node to it. Throws as {@link Agent.apply}, what sizing throws,
   * and `ERR_NODE_UNKNOWN` (missing) for a fleet without this node; a refusal changes nothing.
   */
  applyFleet(fleet: Fleet, options?: ApplyFleetOptions): Promise<AppliedFleet>;
  /** Resolves when an instance is ready, parked or given up, with its status. Throws `ERR_INSTANCE_UNKNOWN` (missing). */
  settled(instance: InstanceId): Promise<InstanceStatus>;
  /**
   * Has an instance, or all of them, take no new requests until that is undone or the plan no longer has it, or take
   * them again. A lasting agent's successor keeps to it. Throws `ERR_INSTANCE_UNKNOWN` (missing) and `ERR_STATE_IO`.
   */
  drain(instance: InstanceId | null, options: { readonly undo: boolean }): Promise<void>;
  /** Replaces an instance's process by a new one, beside the old one where there is room. Throws as `apply`. */
  restart(instance: InstanceId): Promise<void>;
  /** The node as it is now. */
  status(): Promise<StatusDocument>;
  /** What the control socket shows of this agent. */
  control(hooks: ControlHooks): ControlTarget;
  /** Calls back when an instance changes state, until the returned function is called. */
  onInstanceChange(listener: (status: InstanceStatus) => void): () => void;
  /**
   * Drains and stops every engine, releases every share and the node; the layout stays unless told. With
   * `keepEngines` a lasting agent lets them run on, to be taken over by the next one. Idempotent.
   */
  close(options?: CloseOptions): Promise<void>;
}

/** Options of {@link Agent.close}. */
export interface CloseOptions {
  readonly restoreLayout?: boolean;
  readonly keepEngines?: boolean;
}

/** What a control socket shows beside the agent, and does for it. */
export interface ControlHooks {
  /** Where the gateway listens, or null. */
  readonly gateway: () => StatusDocument['gateway'];
  /** Begins to shut down. */
  readonly down: ControlTarget['down'];
  /** Reads a fleet document a client sent. Left out, the fleet cannot be changed through the socket. */
  readonly readFleet?: ControlTarget['readFleet'];
}
