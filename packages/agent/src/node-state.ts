/**
 * What an agent knows of its node and tells of it: what is wanted, what was observed last, what it is doing. Owns that
 * memory, and that directory, metrics, events and status agree with it; takes no step and reads no device.
 */
import type { EpochMs, Fleet, Inventory } from '@aim-gpu/core';
import type { AgentOptions } from './agent.js';
import { toAgentState } from './agent-state.js';
import type { Desired, DesiredStore } from './desired.js';
import type { WritableDirectory } from './endpoint-directory.js';
import type { EventLog } from './event-log.js';
import type { Instances } from './instances.js';
import { createNodeMetrics } from './node-metrics.js';
import { toServedModels } from './served-models.js';
import type { AgentState, InstanceStatus, StatusDocument } from './status.js';
import { toStatusDocument } from './status-document.js';

/** What an agent knows of its node. */
export interface NodeState {
  /** The fleet as the user asked for it. */
  asked: Fleet;
  /** Sizes of its models, as far as they are known. */
  demands: Desired['demands'];
  /** What the node is to be; null before the first plan. */
  readonly desired: Desired | null;
  /** As read last. */
  readonly inventory: Inventory | null;
  readonly isEnding: boolean;
  /** Goes on with what an earlier agent wanted. */
  resume(desired: Desired | null): void;
  /** Wants something else; on disk when it resolves, for an agent that lasts. */
  want(desired: Desired | null): Promise<void>;
  enter(state: AgentState): void;
  noteInventory(inventory: Inventory): void;
  noteInstance(status: InstanceStatus): void;
  /** Tells the directory what may be asked for, when that has changed. */
  noteModels(): void;
  /** Enters the state that follows from the instances. */
  noteState(): void;
  status(gateway: StatusDocument['gateway']): StatusDocument;
}

/** What a node's state is told to. */
export interface NodeStateParts {
  readonly options: AgentOptions;
  readonly events: EventLog;
  readonly directory: WritableDirectory;
  readonly instances: Pick<Instances, 'statuses'>;
  readonly store: DesiredStore;
}

/** Makes the state of an agent that starts. */
export function createNodeState(parts: NodeStateParts): NodeState {
  return new StateOfNode(parts);
}

class StateOfNode implements NodeState {
  asked: Fleet;
  demands: Desired['demands'] = new Map();
  desired: Desired | null = null;
  inventory: Inventory | null = null;
  private readonly parts: NodeStateParts;
  private readonly metrics: ReturnType<typeof createNodeMetrics>;
  private state: AgentState = 'starting';
  private since: EpochMs;

  constructor(parts: NodeStateParts) {
    const { fleet, clock, metrics, node } = parts.options;
    this.parts = parts;
    this.asked = fleet;
    this.since = clock.epochMs();
    this.metrics = createNodeMetrics(metrics, node);
    parts.directory.setModels(toServedModels(fleet, this.demands));
  }

  get isEnding(): boolean {
    return this.state === 'draining' || this.state === 'stopped';
  }

  resume(desired: Desired | null): void {
    if (desired === null) return;
    this.asked = desired.fleet;
    this.take(desired);
    this.parts.directory.setModels(toServedModels(desired.served, desired.demands));
  }

  async want(desired: Desired | null): Promise<void> {
    if (this.parts.options.lasting === true) await this.parts.store.write(desired);
    this.take(desired);
  }

  enter(state: AgentState): void {
    const { options, events } = this.parts;
    this.state = state;
    this.since = options.clock.epochMs();
    options.logger.info(`agent-${state}`, { node: options.node });
    const message = `the node is ${state}`;
    events.add({ event: `agent-${state}`, subject: options.node, message });
  }

  noteInventory(inventory: Inventory): void {
    this.inventory = inventory;
    this.metrics.recordInventory(inventory);
  }

  noteInstance({ instance, state, trouble, workload }: InstanceStatus): void {
    const message = trouble?.message ?? `${workload} is ${state}`;
    this.parts.events.add({ event: `instance-${state}`, subject: instance, message });
    if (!this.isEnding) this.noteModels();
    this.noteState();
  }

  noteModels(): void {
    const { instances, directory } = this.parts;
    const fleet = this.desired?.served ?? this.asked;
    const parked = instances.statuses().filter(({ state }) => state === 'parked');
    const names = new Set(parked.map((status) => status.workload));
    const models = toServedModels(fleet, this.demands, names);
    if (JSON.stringify(models) !== JSON.stringify(directory.models())) directory.setModels(models);
  }

  noteState(): void {
    if (this.isEnding) return;
    const states = this.parts.instances.statuses().map(({ state }) => state);
    const next = toAgentState(this.desired, states);
    if (next !== this.state) this.enter(next);
  }

  status(gateway: StatusDocument['gateway']): StatusDocument {
    const { node, driver, pid } = this.parts.options;
    return toStatusDocument({
      fleet: this.asked,
      inventory: this.inventory,
      node,
      driver: driver.id,
      pid,
      state: this.state,
      since: this.since,
      plan: this.desired?.plan ?? null,
      gateway,
      instances: this.parts.instances.statuses(),
      degradations: this.desired?.degradations ?? [],
    });
  }

  private take(desired: Desired | null): void {
    this.desired = desired;
    if (desired === null) return;
    this.demands = desired.demands;
    this.metrics.recordPlan(desired.plan);
  }
}
