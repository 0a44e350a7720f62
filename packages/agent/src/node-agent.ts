/**
 * The agent of one node: brings what runs to what a plan says, and keeps it there. Desired state is a plan, observed
 * state comes from the driver, assigned state is in the store; each is read again after a crash. Owns the order of
 * effects; every rule is in the packages below.
 */
import type {
  CallOptions,
  Demand,
  EpochMs,
  InstanceId,
  Inventory,
  Lease,
  Placement,
  Plan,
  Workload,
} from '@aim-gpu/core';
import { planEnvelope } from '@aim-gpu/isolation';
import { generationOf } from '@aim-gpu/scheduler';
import type { Agent, AgentOptions, ApplyOptions, ControlHooks } from './agent.js';
import { agentClosed, neverSized, notOpen, stalePlan } from './agent-errors.js';
import { type Assigned, createAssigned } from './assigned.js';
import type { ControlTarget } from './control-server.js';
import { createEndpointDirectory } from './endpoint-directory.js';
import type { InstanceDefinition } from './instance-runner.js';
import { createInstances, type Instances } from './instances.js';
import {
  desiredLayouts,
  reachLayouts,
  readLayouts,
  refuseLayouts,
  repairLayouts,
} from './layouts.js';
import { createNodeMetrics, type NodeMetrics } from './node-metrics.js';
import { type Demands, planFromFleet } from './plan-from-fleet.js';
import { refuseUnplaced } from './refusals.js';
import { toServedModels } from './served-models.js';
import { createStartTimes } from './start-times.js';
import type { AgentState, InstanceStatus, StatusDocument } from './status.js';
import { toStatusDocument } from './status-document.js';
import { createTurns } from './turns.js';

/** Makes an agent. Nothing happens before {@link Agent.open}. */
export function createAgent(options: AgentOptions): Agent {
  return new NodeAgent(options);
}

const LOCK = 'agent';

class NodeAgent implements Agent {
  readonly directory: ReturnType<typeof createEndpointDirectory>;
  private readonly options: AgentOptions;
  private readonly instances: Instances;
  private readonly assigned: Assigned;
  private readonly metrics: NodeMetrics;
  private readonly closed = new AbortController();
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
    const startTimes = createStartTimes({ clock: options.clock });
    const { expectedReadyMs } = startTimes;
    this.directory = createEndpointDirectory({ expectedReadyMs });
    this.assigned = createAssigned(options.store);
    this.instances = createInstances({
      launcher: options.launcher,
      directory: this.directory,
      turns: createTurns(),
      clock: options.clock,
      rng: options.rng,
      logger: options.logger,
      metrics: options.metrics,
      host: options.engineHost ?? '127.0.0.1',
      logFile: (instance) => options.logFile?.(instance) ?? null,
      ...(options.runnerTiming === undefined ? {} : { timing: options.runnerTiming }),
    });
    this.instances.subscribe((status) => {
      startTimes.note(status);
      this.noteState();
    });
    this.metrics = createNodeMetrics(options.metrics, options.node);
    this.directory.setModels(toServedModels(options.fleet, this.demands));
  }

  async open(options: CallOptions = {}): Promise<void> {
    const { driver, store } = this.options;
    const lease = await store.lock(LOCK, options);
    try {
      await repairLayouts({ ...this.options, ...options });
      // Engines of an earlier run died with it (their guards see to that), so nothing is assigned any more.
      await this.assigned.clear();
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
    const assignments = await this.assigned.read();
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
    if (generationOf(observed) !== plan.observed.generation) throw stalePlan(plan);
    const mine = plan.placements.filter((placement) =>
      placement.shares.some((share) => share.node === node),
    );
    for (const placement of mine) this.sized(placement);
    const desired = desiredLayouts(plan, node);
    const [here] = observed;
    if (here !== undefined) refuseLayouts({ inventory: here, desired });
    await this.stop(this.instances.leaving(mine));
    const inventory = await reachLayouts({
      ...this.options,
      desired,
      assignments: await this.assigned.read(),
      stop: (instances) => this.stop(instances),
      ...(onLayoutProgress === undefined ? {} : { onProgress: onLayoutProgress }),
      signal,
    });
    this.noteInventory(inventory);
    const definitions = mine.map((placement) => this.define(placement, inventory));
    signal.throwIfAborted();
    await this.assigned.replace(plan, mine);
    this.current = plan;
    this.metrics.recordPlan(plan);
    this.directory.setModels(toServedModels(this.options.fleet, this.demands));
    for (const definition of definitions) this.instances.start(definition);
    this.noteState();
  }

  async settled(instance: InstanceId): Promise<InstanceStatus> {
    const runner = this.instances.find(instance);
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
      logs: (instance) => this.instances.find(instance as InstanceId).lastOutput(),
      down: hooks.down,
    };
  }

  onInstanceChange(listener: (status: InstanceStatus) => void): () => void {
    return this.instances.subscribe(listener);
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
      instances: this.instances.statuses(),
    });
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
    throw neverSized(placement.workload);
  }

  private noteState(): void {
    if (this.state === 'draining' || this.state === 'stopped') return;
    const states = this.instances.statuses().map(({ state }) => state);
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

  private async stop(instances: readonly InstanceId[]): Promise<void> {
    await this.instances.stop(instances);
    await this.assigned.drop(instances);
  }

  private async end(restoreLayout: boolean): Promise<void> {
    const { driver, otherDrivers = [] } = this.options;
    this.enter('draining');
    this.closed.abort(agentClosed());
    await this.applying;
    try {
      if (this.lease !== null) {
        await this.instances.stopAll();
        await this.assigned.clear();
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
