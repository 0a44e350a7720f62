/**
 * The agent of one node: brings what runs to what a plan says, and keeps it there. Desired state is a plan, observed
 * state comes from the driver, assigned state is in the store; each is read again after a crash. Owns the order of
 * effects; every rule is in the packages below.
 */
import {
  AimError,
  type Assignment,
  type CallOptions,
  type Clock,
  type Demand,
  type EndpointDirectory,
  type EpochMs,
  type Fleet,
  type GpuDriver,
  type InstanceId,
  type Inventory,
  type Launcher,
  type Lease,
  type Logger,
  type MetricSink,
  type NodeName,
  type Placement,
  type Plan,
  type Rng,
  type ServingEngine,
  type StateStore,
  type Workload,
} from '@aim-gpu/core';
import { type HostCapabilities, planEnvelope } from '@aim-gpu/isolation';
import { generationOf } from '@aim-gpu/scheduler';
import type { ControlTarget } from './control-server.js';
import { createEndpointDirectory } from './endpoint-directory.js';
import {
  createInstanceRunner,
  type InstanceDefinition,
  type InstanceRunner,
} from './instance-runner.js';
import {
  desiredLayouts,
  type LayoutProgress,
  reachLayouts,
  readLayouts,
  refuseLayouts,
  repairLayouts,
} from './layouts.js';
import { createNodeMetrics, type NodeMetrics } from './node-metrics.js';
import { type Demands, type ModelSource, planFromFleet } from './plan-from-fleet.js';
import { refuseUnplaced } from './refusals.js';
import type { RunnerTiming } from './runner-timing.js';
import { toServedModels } from './served-models.js';
import type { AgentState, InstanceStatus, StatusDocument } from './status.js';
import { toStatusDocument } from './status-document.js';
import { createTurns } from './turns.js';

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
   * engine was launched; see {@link Agent.settled}. Calls run one after the other. Throws `ERR_PLAN_STALE` (conflict) when the machine changed since,
   * `ERR_UNPLACED` or `ERR_DOES_NOT_FIT` (refused) when something has no place, `ERR_LAYOUT_UNSUPPORTED` (refused) when
   * a layout cannot be had; nothing was changed by these. Also the driver's errors, the signal's reason, and
   * `ERR_STOPPED` (unavailable) when the agent is closed meanwhile: no engine was started then, and layouts are back
   * unless they had all been reached.
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

/** Makes an agent. Nothing happens before {@link Agent.open}. */
export function createAgent(options: AgentOptions): Agent {
  return new NodeAgent(options);
}

const LOCK = 'agent';
const ASSIGNMENTS = 'assignments';

class NodeAgent implements Agent {
  readonly directory: ReturnType<typeof createEndpointDirectory>;
  private readonly options: AgentOptions;
  private readonly runners = new Map<InstanceId, InstanceRunner>();
  private readonly turns = createTurns();
  private readonly metrics: NodeMetrics;
  private readonly closed = new AbortController();
  private readonly listeners = new Set<(status: InstanceStatus) => void>();
  private state: AgentState = 'starting';
  private since: EpochMs;
  private lease: Lease | null = null;
  private demands: Demands = new Map();
  private current: Plan | null = null;
  private before: Inventory | null = null;
  private inventory: Inventory | null = null;
  private closing: Promise<void> | null = null;
  private applying: Promise<void> = Promise.resolve();

  constructor(options: AgentOptions) {
    this.options = options;
    this.since = options.clock.epochMs();
    this.directory = createEndpointDirectory();
    this.metrics = createNodeMetrics(options.metrics, options.node);
    this.directory.setModels(toServedModels(options.fleet, this.demands));
  }

  async open(options: CallOptions = {}): Promise<void> {
    const { driver, store } = this.options;
    const lease = await store.lock(LOCK, options);
    try {
      await repairLayouts({ ...this.options, ...options });
      // Engines of an earlier run died with it (their guards see to that), so nothing is assigned any more.
      await this.assign([]);
      this.before = await driver.discover(options);
      this.noteInventory(this.before);
    } catch (error) {
      await lease.release();
      throw error;
    }
    this.lease = lease;
  }

  async plan(options: CallOptions = {}): Promise<Plan> {
    const { fleet, models } = this.options;
    const inventories = await this.observe(options);
    const assignments = await this.assignments();
    const { plan, demands } = await planFromFleet({
      fleet,
      models,
      inventories,
      assignments,
      ...options,
    });
    this.demands = demands;
    return plan;
  }

  apply(plan: Plan, options: ApplyOptions = {}): Promise<void> {
    const signals = options.signal === undefined ? [] : [options.signal];
    const signal = AbortSignal.any([this.closed.signal, ...signals]);
    // One after the other: each starts from what the one before has left.
    const applied = this.applying.then(() => this.bringTo(plan, { ...options, signal }));
    this.applying = applied.catch(() => undefined);
    return applied;
  }

  private async bringTo(
    plan: Plan,
    options: ApplyOptions & { readonly signal: AbortSignal },
  ): Promise<void> {
    const { node } = this.options;
    const { signal, onLayoutProgress } = options;
    signal.throwIfAborted();
    if (this.lease === null) throw notOpen();
    refuseUnplaced(plan, { partial: this.options.partial === true });
    const observed = await this.observe({ signal });
    if (generationOf(observed) !== plan.observed.generation) throw stale(plan);
    const mine = plan.placements.filter((placement) =>
      placement.shares.some((share) => share.node === node),
    );
    for (const placement of mine) this.sized(placement);
    const desired = desiredLayouts(plan, node);
    const [here] = observed;
    if (here !== undefined) refuseLayouts({ inventory: here, desired });
    await this.stopAllBut(mine);
    const inventory = await reachLayouts({
      ...this.options,
      desired,
      assignments: await this.assignments(),
      stop: (instances) => this.stopInstances(instances),
      ...(onLayoutProgress === undefined ? {} : { onProgress: onLayoutProgress }),
      signal,
    });
    this.noteInventory(inventory);
    const definitions = mine.map((placement) => this.define(placement, inventory));
    signal.throwIfAborted();
    await this.assign(mine.map((placement) => toAssignment(plan, placement)));
    this.current = plan;
    this.metrics.recordPlan(plan);
    this.directory.setModels(toServedModels(this.options.fleet, this.demands));
    for (const definition of definitions) this.startInstance(definition);
    this.noteState();
  }

  async settled(instance: InstanceId): Promise<InstanceStatus> {
    const runner = this.runnerOf(instance);
    await runner.settled();
    this.noteState();
    return runner.status();
  }

  status(): Promise<StatusDocument> {
    return this.statusWith(null);
  }

  control(hooks: ControlHooks): ControlTarget {
    return {
      status: () => this.statusWith(hooks.gateway()),
      plan: () => this.current,
      logs: (instance) => this.runnerOf(instance as InstanceId).lastOutput(),
      down: hooks.down,
    };
  }

  onInstanceChange(listener: (status: InstanceStatus) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  close(options: { readonly restoreLayout?: boolean } = {}): Promise<void> {
    this.closing ??= Promise.resolve().then(() => this.end(options.restoreLayout === true));
    return this.closing;
  }

  /** Every node's inventory that can be read from here, this node's first. */
  private observe(options: CallOptions): Promise<readonly Inventory[]> {
    const { driver, otherDrivers = [] } = this.options;
    return Promise.all([driver, ...otherDrivers].map((each) => each.discover(options)));
  }

  private async assignments(): Promise<readonly Assignment[]> {
    return (await this.options.store.snapshot<readonly Assignment[]>(ASSIGNMENTS).read()) ?? [];
  }

  private assign(assignments: readonly Assignment[]): Promise<void> {
    return this.options.store.snapshot<readonly Assignment[]>(ASSIGNMENTS).write(assignments);
  }

  private noteInventory(inventory: Inventory): void {
    this.inventory = inventory;
    this.metrics.recordInventory(inventory);
  }

  private async statusWith(gateway: StatusDocument['gateway']): Promise<StatusDocument> {
    return toStatusDocument({
      fleet: this.options.fleet,
      inventory: this.inventory,
      node: this.options.node,
      driver: this.options.driver.id,
      pid: this.options.pid,
      state: this.state,
      since: this.since,
      plan: this.current,
      gateway,
      instances: [...this.runners.values()].map((runner) => runner.status()),
    });
  }

  private runnerOf(instance: InstanceId): InstanceRunner {
    const runner = this.runners.get(instance);
    if (runner !== undefined) return runner;
    throw new AimError({
      code: 'ERR_INSTANCE_UNKNOWN',
      kind: 'missing',
      message: `there is no instance ${instance}`,
      hint: `instances are: ${[...this.runners.keys()].join(', ')}`,
    });
  }

  private startInstance(definition: InstanceDefinition): void {
    const { placement } = definition;
    if (this.runners.has(placement.instance)) return;
    const runner = createInstanceRunner({
      definition,
      launcher: this.options.launcher,
      directory: this.directory,
      turns: this.turns,
      clock: this.options.clock,
      rng: this.options.rng,
      logger: this.options.logger,
      metrics: this.options.metrics,
      host: this.options.engineHost ?? '127.0.0.1',
      logFile: this.options.logFile?.(placement.instance) ?? null,
      onChange: () => this.instanceChanged(placement.instance),
      ...(this.options.runnerTiming === undefined ? {} : { timing: this.options.runnerTiming }),
    });
    this.runners.set(placement.instance, runner);
    runner.start();
  }

  private define(placement: Placement, inventory: Inventory): InstanceDefinition {
    const { fleet, host, engineFor } = this.options;
    const { workload, demand } = this.sized(placement);
    const envelope = planEnvelope({
      placement,
      workload,
      demand,
      inventory,
      policy: fleet.policy,
      host,
    });
    return { placement, workload, demand, envelope, engine: engineFor(workload, inventory) };
  }

  /** The workload of a placement and its demand, of the last plan made here. */
  private sized(placement: Placement): { readonly workload: Workload; readonly demand: Demand } {
    const { fleet } = this.options;
    const workload = fleet.models.find((model) => model.name === placement.workload);
    const demand = this.demands.get(placement.workload);
    if (workload !== undefined && demand !== undefined) return { workload, demand };
    throw new AimError({
      code: 'ERR_PLAN_STALE',
      kind: 'conflict',
      message: `the plan places ${placement.workload}, which is not in the fleet that was sized`,
      hint: 'plan again',
    });
  }

  private instanceChanged(instance: InstanceId): void {
    this.noteState();
    const status = this.runners.get(instance)?.status();
    if (status === undefined) return;
    for (const listener of [...this.listeners]) this.tell(listener, status);
  }

  /** A listener that throws must not stop the instance it is told about. */
  private tell(listener: (status: InstanceStatus) => void, status: InstanceStatus): void {
    try {
      listener(status);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.options.logger.error('listener-failed', { instance: status.instance, message });
    }
  }

  private noteState(): void {
    if (this.state === 'draining' || this.state === 'stopped') return;
    const states = [...this.runners.values()].map((runner) => runner.status().state);
    const next: AgentState = states.some((state) => state === 'failed' || state === 'restarting')
      ? 'degraded'
      : this.current !== null && states.every((state) => state === 'ready')
        ? 'ready'
        : 'starting';
    if (next !== this.state) this.enter(next);
  }

  private enter(state: AgentState): void {
    this.state = state;
    this.since = this.options.clock.epochMs();
    this.options.logger.info(`agent-${state}`, { node: this.options.node });
  }

  /** Stops what the plan no longer has, and what it has elsewhere or differently. */
  private async stopAllBut(placements: readonly Placement[]): Promise<void> {
    const kept = new Map(
      placements.map((placement) => [placement.instance, JSON.stringify(placement.shares)]),
    );
    const leaving = [...this.runners]
      .filter(
        ([instance, runner]) =>
          kept.get(instance) !== JSON.stringify(runner.definition.placement.shares),
      )
      .map(([instance]) => instance);
    await this.stopInstances(leaving);
  }

  private async stopInstances(instances: readonly InstanceId[]): Promise<void> {
    await Promise.all(
      instances.map(async (instance) => {
        await this.runners.get(instance)?.stop();
        this.runners.delete(instance);
      }),
    );
    const assigned = await this.assignments();
    const left = assigned.filter(({ instance }) => !instances.includes(instance));
    if (left.length < assigned.length) await this.assign(left);
  }

  private async end(restoreLayout: boolean): Promise<void> {
    const { driver, otherDrivers = [] } = this.options;
    this.enter('draining');
    this.closed.abort(closedError());
    await this.applying;
    try {
      if (this.lease !== null) {
        await this.stopInstances([...this.runners.keys()]);
        if (restoreLayout) await this.restoreLayout();
      }
    } finally {
      this.directory.setModels([]);
      await Promise.allSettled([driver, ...otherDrivers].map((each) => each.close()));
      await this.lease?.release();
      this.enter('stopped');
    }
  }

  private async restoreLayout(): Promise<void> {
    if (this.before === null) return;
    const desired = readLayouts(this.before);
    const stop = (): Promise<void> => Promise.resolve();
    this.noteInventory(await reachLayouts({ ...this.options, desired, assignments: [], stop }));
  }
}

function toAssignment(plan: Plan, placement: Placement): Assignment {
  return {
    instance: placement.instance,
    workload: placement.workload,
    shares: placement.shares,
    plan: plan.id,
  };
}

function stale(plan: Plan): AimError {
  return new AimError({
    code: 'ERR_PLAN_STALE',
    kind: 'conflict',
    message: `the machine has changed since plan ${plan.id} was made`,
    hint: 'plan again',
    details: { plan: plan.id, generation: plan.observed.generation },
  });
}

function notOpen(): AimError {
  return new AimError({
    code: 'ERR_AGENT_NOT_OPEN',
    kind: 'internal',
    message: 'the agent does not hold its node: open it first',
  });
}

function closedError(): AimError {
  return new AimError({
    code: 'ERR_STOPPED',
    kind: 'unavailable',
    message: 'the agent is being closed',
  });
}
