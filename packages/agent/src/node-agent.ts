/**
 * The agent of one node: brings what runs to what is wanted, and keeps it there. Desired state is a fleet with its plan,
 * observed state comes from the driver, assigned state is a journal; each is read again after a crash or a change. Owns
 * who does what when: the opening, the turns of changes, the end. Every rule is in the files and packages below.
 */
import type { CallOptions, Fleet, InstanceId, Inventory, Lease, Plan } from '@aim-gpu/core';
import { adoptEngines, stopTenures } from './adopt-engines.js';
import type {
  Agent,
  AgentOptions,
  AppliedFleet,
  ApplyFleetOptions,
  ApplyOptions,
  CloseOptions,
  ControlHooks,
} from './agent.js';
import { agentClosed, fixedFleet, nodeNotInFleet, notOpen } from './agent-errors.js';
import { toApplyDiff } from './apply-diff.js';
import { composeNode } from './compose-node.js';
import type { ControlTarget } from './control-target.js';
import type { DesiredStore } from './desired.js';
import type { WritableDirectory } from './endpoint-directory.js';
import type { WritableEventLog } from './event-log.js';
import type { Instances } from './instances.js';
import type { Keeper } from './keeper.js';
import { reachLayouts, readLayouts, repairLayouts } from './layouts.js';
import { type NodeChanges, toWish } from './node-changes.js';
import type { NodeState } from './node-state.js';
import { type NodeParts, restartInstance, type Wish } from './reconcile.js';
import type { InstanceStatus, StatusDocument } from './status.js';

/** Makes an agent. Nothing happens before {@link Agent.open}. */
export function createAgent(options: AgentOptions): Agent {
  return new NodeAgent(options);
}

const LOCK = 'agent';

class NodeAgent implements Agent {
  readonly directory: WritableDirectory;
  readonly events: WritableEventLog;
  private readonly options: AgentOptions;
  private readonly instances: Instances;
  private readonly parts: NodeParts;
  private readonly store: DesiredStore;
  private readonly state: NodeState;
  private readonly changes: NodeChanges;
  private readonly keeper: Keeper;
  private readonly closed = new AbortController();
  private lease: Lease | null = null;
  private before: Inventory | null = null;
  private closing: Promise<void> | null = null;
  private turn: Promise<unknown> = Promise.resolve();
  private stopWatching: () => void = () => undefined;

  constructor(options: AgentOptions) {
    this.options = options;
    const node = composeNode(options, {
      inTurn: (work) => this.inTurn({}, work),
      isClosed: () => this.closed.signal.aborted,
    });
    this.directory = node.directory;
    this.events = node.events;
    this.parts = node.parts;
    this.instances = node.parts.instances;
    this.store = node.store;
    this.state = node.state;
    this.changes = node.changes;
    this.keeper = node.keeper;
  }

  get fleet(): Fleet {
    return this.state.asked;
  }

  get resumed(): boolean {
    return this.state.desired !== null;
  }

  async open(options: CallOptions = {}): Promise<void> {
    const { driver, store, lasting } = this.options;
    const { parts, state, events } = this;
    const lease = await store.lock(LOCK, options);
    try {
      await events.load();
      const tenures = await parts.assigned.load();
      await repairLayouts({
        ...this.options,
        ...options,
        stop: (instances) => stopTenures(parts, tenures, instances),
      });
      this.before = await driver.discover(options);
      state.noteInventory(this.before);
      if (lasting === true) {
        state.resume(await this.store.read());
        const adopted = await adoptEngines(parts, tenures, this.before);
        for (const subject of adopted) {
          const message = 'was taken over from an earlier agent';
          events.add({ event: 'instance-adopted', subject, message });
        }
      } else {
        // Engines of an earlier run died with it (their guards see to that), so nothing is assigned any more.
        await parts.assigned.clear();
      }
    } catch (error) {
      await lease.release();
      throw error;
    }
    this.lease = lease;
    this.stopWatching = driver.watch(({ after }) => this.noteChange(after));
    if (state.desired !== null) void this.keeper.keep();
  }

  async plan(options: CallOptions = {}): Promise<Plan> {
    const { plan, demands } = await this.changes.plan(this.state.asked, options);
    this.state.demands = demands;
    return plan;
  }

  apply(plan: Plan, options: ApplyOptions = {}): Promise<void> {
    return this.inTurn(options, async (signal) => {
      if (this.lease === null) throw notOpen();
      const { asked, demands } = this.state;
      await this.changes.bringTo({ fleet: asked, demands, plan }, { ...options, signal });
    });
  }

  applyFleet(fleet: Fleet, options: ApplyFleetOptions = {}): Promise<AppliedFleet> {
    return this.inTurn(options, async (signal): Promise<AppliedFleet> => {
      const { node, onFleet } = this.options;
      if (this.lease === null) throw notOpen();
      if (!fleet.nodes.some(({ name }) => name === node)) throw nodeNotInFleet(node, fleet);
      const made = await this.changes.plan(fleet, { signal });
      const plan = options.plan ?? made.plan;
      const wish: Wish = { fleet, demands: made.demands, plan };
      const foreseen = await this.changes.foresee(wish, signal);
      const diff = toApplyDiff(plan, foreseen, { from: this.state.asked, to: fleet });
      if (options.dryRun === true) return { dryRun: true, plan, diff };
      const take = await onFleet?.(fleet);
      await this.changes.bringTo(wish, { ...options, signal }, take);
      return { dryRun: false, plan, diff };
    });
  }

  async settled(instance: InstanceId): Promise<InstanceStatus> {
    const runner = this.instances.find(instance);
    await runner.settled();
    this.state.noteState();
    return runner.status();
  }

  async drain(instance: InstanceId | null, { undo }: { readonly undo: boolean }): Promise<void> {
    const which =
      instance === null ? this.instances.statuses().map((each) => each.instance) : [instance];
    await this.instances.setDraining(which, !undo);
    const message = undo ? 'takes requests again' : 'takes no new requests';
    for (const subject of which) this.events.add({ event: 'instance-drain', subject, message });
  }

  restart(instance: InstanceId): Promise<void> {
    return this.inTurn({}, async () => {
      const { desired, inventory } = this.state;
      if (this.lease === null || desired === null || inventory === null) throw notOpen();
      this.instances.find(instance);
      const message = 'is restarted because somebody asked for it';
      this.events.add({ event: 'instance-restart', subject: instance, message });
      await restartInstance(this.parts, toWish(desired), { instance, inventory });
    });
  }

  status(): Promise<StatusDocument> {
    return Promise.resolve(this.state.status(null));
  }

  control(hooks: ControlHooks): ControlTarget {
    return {
      status: () => Promise.resolve(this.state.status(hooks.gateway())),
      plan: () => this.state.desired?.plan ?? null,
      fleet: () => this.state.asked,
      readFleet: hooks.readFleet ?? (() => Promise.reject(fixedFleet())),
      applyFleet: (fleet, options) => this.applyFleet(fleet, options),
      logs: (instance) => this.instances.find(instance as InstanceId).lastOutput(),
      drain: (instance, options) => this.drain(instance, options),
      restart: (instance) => this.restart(instance),
      events: this.events,
      down: hooks.down,
    };
  }

  onInstanceChange(listener: (status: InstanceStatus) => void): () => void {
    return this.instances.subscribe(listener);
  }

  close(options: CloseOptions = {}): Promise<void> {
    this.closing ??= Promise.resolve().then(() => this.end(options));
    return this.closing;
  }

  /** One after the other: each starts from what the one before has left. */
  private inTurn<T>(options: CallOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const signals = options.signal === undefined ? [] : [options.signal];
    const signal = AbortSignal.any([this.closed.signal, ...signals]);
    const done = this.turn.then(() => {
      signal.throwIfAborted();
      return work(signal);
    });
    this.turn = done.catch(() => undefined);
    return done;
  }

  private noteChange(inventory: Inventory): void {
    this.state.noteInventory(inventory);
    const message = `generation ${inventory.generation}, ${inventory.cards.length} cards`;
    this.events.add({ event: 'inventory-changed', subject: inventory.node, message });
    void this.keeper.keep();
  }

  private async end({ restoreLayout, keepEngines }: CloseOptions): Promise<void> {
    const { driver, otherDrivers = [], lasting } = this.options;
    this.state.enter('draining');
    this.closed.abort(agentClosed());
    this.stopWatching();
    this.keeper.cancel();
    const keep = keepEngines === true && lasting === true;
    // Before the turn ends: it may wait for an instance that does not become ready.
    if (keep) this.instances.abandonAll();
    else if (this.lease !== null) await this.instances.stopAll();
    await this.turn;
    try {
      if (this.lease !== null && !keep) {
        await this.instances.stopAll();
        await this.parts.assigned.clear();
        if (lasting === true) await this.store.write(null);
        if (restoreLayout === true) await this.restoreLayout();
      }
    } finally {
      this.directory.setModels([]);
      await Promise.allSettled([driver, ...otherDrivers].map((each) => each.close()));
      this.state.enter('stopped');
      await this.events.flushed();
      await this.lease?.release();
    }
  }

  private async restoreLayout(): Promise<void> {
    if (this.before === null) return;
    const desired = readLayouts(this.before);
    const stop = (): Promise<void> => Promise.resolve();
    this.state.noteInventory(
      await reachLayouts({ ...this.options, desired, assignments: [], stop }),
    );
  }
}
