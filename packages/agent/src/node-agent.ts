/**
 * The agent of one node: brings what runs to what is wanted, and keeps it there. Desired state is a fleet with its plan,
 * observed state comes from the driver, assigned state is a journal; each is read again after a crash or a change. Owns
 * the order of effects; every rule is in the files and packages below.
 */
import {
  AimError,
  type CallOptions,
  type EpochMs,
  type Fleet,
  type InstanceId,
  type Inventory,
  isAbort,
  type Lease,
  type Plan,
  type WorkloadName,
} from '@aim-gpu/core';
import { generationOf } from '@aim-gpu/scheduler';
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
import { agentClosed, fixedFleet, nodeNotInFleet, notOpen, stalePlan } from './agent-errors.js';
import { toAgentState } from './agent-state.js';
import { toApplyDiff } from './apply-diff.js';
import { createAssigned } from './assigned.js';
import type { ControlTarget } from './control-target.js';
import { createDesiredStore, type Desired } from './desired.js';
import { createEndpointDirectory, type WritableDirectory } from './endpoint-directory.js';
import { createEventJournal } from './event-journal.js';
import { createEventLog, type WritableEventLog } from './event-log.js';
import { createInstances, type Instances } from './instances.js';
import { createKeeper, type Keeper } from './keeper.js';
import {
  desiredLayouts,
  reachLayouts,
  readLayouts,
  refuseLayouts,
  repairLayouts,
} from './layouts.js';
import { planAfterLoss } from './loss.js';
import { createNodeMetrics, type NodeMetrics } from './node-metrics.js';
import { planFromFleet } from './plan-from-fleet.js';
import {
  type NodeParts,
  placementsOf,
  reconcile,
  restartInstance,
  sizedFor,
  toReconcileState,
  type Wish,
} from './reconcile.js';
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
  readonly directory: WritableDirectory;
  readonly events: WritableEventLog;
  private readonly options: AgentOptions;
  private readonly instances: Instances;
  private readonly parts: NodeParts;
  private readonly kept = new Set<InstanceId>();
  private readonly assigned: ReturnType<typeof createAssigned>;
  private readonly desiredStore: ReturnType<typeof createDesiredStore>;
  private readonly metrics: NodeMetrics;
  private readonly closed = new AbortController();
  private state: AgentState = 'starting';
  private since: EpochMs;
  private lease: Lease | null = null;
  private desired: Desired | null = null;
  private asked: Fleet;
  private demands: Desired['demands'] = new Map();
  private before: Inventory | null = null;
  private inventory: Inventory | null = null;
  private closing: Promise<void> | null = null;
  private turn: Promise<unknown> = Promise.resolve();
  private stopWatching: () => void = () => undefined;
  private readonly keeper: Keeper;

  constructor(options: AgentOptions) {
    this.options = options;
    this.asked = options.fleet;
    this.since = options.clock.epochMs();
    this.events = createEventLog({ clock: options.clock, journal: createEventJournal(options) });
    const startTimes = createStartTimes({ clock: options.clock });
    const { expectedReadyMs } = startTimes;
    this.directory = createEndpointDirectory({
      expectedReadyMs,
      onRequest: (workload) => this.wake(workload),
    });
    this.assigned = createAssigned(options.store);
    this.desiredStore = createDesiredStore(options.store);
    this.instances = createInstances({
      assigned: this.assigned,
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
    const { instances, assigned } = this;
    this.parts = { options, instances, assigned };
    this.instances.subscribe((status) => {
      startTimes.note(status);
      this.noteInstance(status);
    });
    this.keeper = createKeeper({
      clock: options.clock,
      rng: options.rng,
      work: (onBegin) =>
        this.inTurn({}, async (signal) => {
          onBegin();
          await this.adaptToLoss(signal);
          await this.reconcile({ signal });
        }),
      onFailure: (error) => this.noteSetback(error),
    });
    this.metrics = createNodeMetrics(options.metrics, options.node);
    this.directory.setModels(toServedModels(options.fleet, this.demands));
  }

  get fleet(): Fleet {
    return this.asked;
  }

  get resumed(): boolean {
    return this.desired !== null;
  }

  async open(options: CallOptions = {}): Promise<void> {
    const { driver, store, lasting } = this.options;
    const lease = await store.lock(LOCK, options);
    try {
      await this.events.load();
      const tenures = await this.assigned.load();
      await repairLayouts({
        ...this.options,
        ...options,
        stop: (instances) => stopTenures(this.parts, tenures, instances),
      });
      this.before = await driver.discover(options);
      this.noteInventory(this.before);
      if (lasting === true) {
        this.resume(await this.desiredStore.read());
        const adopted = await adoptEngines(this.parts, tenures, this.before);
        for (const subject of adopted) {
          const message = 'was taken over from an earlier agent';
          this.events.add({ event: 'instance-adopted', subject, message });
        }
      } else {
        // Engines of an earlier run died with it (their guards see to that), so nothing is assigned any more.
        await this.assigned.clear();
      }
    } catch (error) {
      await lease.release();
      throw error;
    }
    this.lease = lease;
    this.stopWatching = driver.watch(({ after }) => this.noteChange(after));
    if (this.desired !== null) void this.keeper.keep();
  }

  async plan(options: CallOptions = {}): Promise<Plan> {
    const { plan, demands } = await this.planFor(this.asked, options);
    this.demands = demands;
    return plan;
  }

  apply(plan: Plan, options: ApplyOptions = {}): Promise<void> {
    const wish = (): Wish => ({ fleet: this.asked, demands: this.demands, plan });
    return this.inTurn(options, (signal) => this.bringTo(wish(), { ...options, signal }));
  }

  applyFleet(fleet: Fleet, options: ApplyFleetOptions = {}): Promise<AppliedFleet> {
    return this.inTurn(options, async (signal): Promise<AppliedFleet> => {
      const { node, onFleet } = this.options;
      if (this.lease === null) throw notOpen();
      if (!fleet.nodes.some(({ name }) => name === node)) throw nodeNotInFleet(node, fleet);
      const made = await this.planFor(fleet, { signal });
      const plan = options.plan ?? made.plan;
      const wish: Wish = { fleet, demands: made.demands, plan };
      const inventory = await this.refuse(wish, signal);
      const diff = toApplyDiff(plan, toReconcileState(this.parts, wish, inventory));
      if (options.dryRun === true) return { dryRun: true, plan, diff };
      const take = await onFleet?.(fleet);
      await this.bringTo(wish, { ...options, signal }, take);
      return { dryRun: false, plan, diff };
    });
  }

  async settled(instance: InstanceId): Promise<InstanceStatus> {
    const runner = this.instances.find(instance);
    await runner.settled();
    this.noteState();
    return runner.status();
  }

  drain(instance: InstanceId | null, { undo }: { readonly undo: boolean }): void {
    const which =
      instance === null ? this.instances.statuses().map((each) => each.instance) : [instance];
    const runners = which.map((each) => this.instances.find(each));
    for (const runner of runners) runner.setDraining(!undo);
    const message = undo ? 'takes requests again' : 'takes no new requests';
    for (const subject of which) this.events.add({ event: 'instance-drain', subject, message });
  }

  restart(instance: InstanceId): Promise<void> {
    return this.inTurn({}, async () => {
      const { desired, inventory } = this;
      if (this.lease === null || desired === null || inventory === null) throw notOpen();
      this.instances.find(instance);
      const message = 'is restarted because somebody asked for it';
      this.events.add({ event: 'instance-restart', subject: instance, message });
      await restartInstance(this.parts, toWish(desired), { instance, inventory });
    });
  }

  status(): Promise<StatusDocument> {
    return this.statusWith(null);
  }

  control(hooks: ControlHooks): ControlTarget {
    return {
      status: () => this.statusWith(hooks.gateway()),
      plan: () => this.desired?.plan ?? null,
      fleet: () => this.asked,
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

  private resume(desired: Desired | null): void {
    if (desired === null) return;
    this.desired = desired;
    this.asked = desired.fleet;
    this.demands = desired.demands;
    this.directory.setModels(toServedModels(desired.served, desired.demands));
    this.metrics.recordPlan(desired.plan);
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

  private async planFor(
    fleet: Fleet,
    options: CallOptions,
  ): Promise<{ readonly plan: Plan; readonly demands: Desired['demands'] }> {
    const inventories = await this.observe(options);
    const assignments = this.assigned.assignments();
    const { models } = this.options;
    return planFromFleet({ fleet, models, inventories, assignments, ...options });
  }

  /** Throws when a plan cannot be brought about; nothing has changed then. Returns what was observed here. */
  private async refuse(wish: Wish, signal: AbortSignal): Promise<Inventory> {
    const { plan } = wish;
    const { node, partial } = this.options;
    refuseUnplaced(plan, { partial: partial === true });
    const observed = await this.observe({ signal });
    if (generationOf(observed) !== plan.observed.generation) throw stalePlan(plan);
    for (const placement of placementsOf(wish, this.parts)) sizedFor(wish, placement);
    const [inventory] = observed;
    if (inventory === undefined) throw stalePlan(plan);
    refuseLayouts({ inventory, desired: desiredLayouts(plan, node) });
    return inventory;
  }

  private async bringTo(
    wish: Wish,
    options: ApplyOptions & { readonly signal: AbortSignal },
    take: () => void = () => undefined,
  ): Promise<void> {
    if (this.lease === null) throw notOpen();
    await this.refuse(wish, options.signal);
    const { desired: previous, asked } = this;
    take();
    this.kept.clear();
    this.asked = wish.fleet;
    const subject = wish.plan.id;
    this.events.add({ event: 'apply-begun', subject, message: `fleet ${wish.fleet.name}` });
    try {
      await this.want({ ...wish, served: wish.fleet, degradations: [] });
      await this.reconcile(options);
      this.events.add({ event: 'apply-done', subject, message: `fleet ${wish.fleet.name}` });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.events.add({ event: 'apply-failed', subject, message });
      // What ran before is what is wanted again, unless all but an engine that does not start was reached.
      const half = !AimError.is(error, 'ERR_ENGINE_FAILED') && !this.closed.signal.aborted;
      if (half) {
        this.asked = asked;
        await this.want(previous);
        void this.keeper.keep();
      }
      throw error;
    }
  }

  private async want(desired: Desired | null): Promise<void> {
    if (this.options.lasting === true) await this.desiredStore.write(desired);
    this.desired = desired;
    if (desired === null) return;
    this.demands = desired.demands;
    this.metrics.recordPlan(desired.plan);
  }

  private async reconcile(options: ApplyOptions & { readonly signal: AbortSignal }): Promise<void> {
    const { desired } = this;
    if (desired === null) return;
    try {
      await reconcile(this.parts, toWish(desired), {
        ...options,
        onInventory: (inventory) => this.noteInventory(inventory),
        kept: this.kept,
      });
    } finally {
      this.noteModels();
      this.noteState();
    }
  }

  /** Plans anew when devices of the plan are gone, or when what was lost has come back. */
  private async adaptToLoss(signal: AbortSignal): Promise<void> {
    const { desired, asked, options } = this;
    if (desired === null) return;
    const next = await planAfterLoss({
      desired,
      asked,
      models: options.models,
      assignments: this.assigned.assignments(),
      observe: () => this.observe({ signal }),
      clock: options.clock,
      signal,
    });
    if (next === null) return;
    for (const { workload, step, message } of next.degradations) {
      this.events.add({ event: `workload-${step}`, subject: workload, message });
    }
    if (next.degradations.length === 0) {
      const message = 'everything is as asked for again';
      this.events.add({ event: 'node-whole', subject: options.node, message });
    }
    await this.want(next);
  }

  /** A driver that cannot be read now is no reason to touch engines that serve: it is tried again. */
  private noteSetback(error: unknown): boolean {
    if (this.closed.signal.aborted || isAbort(error)) return false;
    const message = error instanceof Error ? error.message : String(error);
    this.options.logger.warn('node-not-kept', { message });
    this.events.add({ event: 'node-not-kept', subject: this.options.node, message });
    return true;
  }

  private wake(workload: WorkloadName): void {
    for (const status of this.instances.statuses()) {
      if (status.workload === workload && status.state === 'parked') {
        this.instances.find(status.instance).wake();
      }
    }
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

  private noteChange(inventory: Inventory): void {
    this.noteInventory(inventory);
    const message = `generation ${inventory.generation}, ${inventory.cards.length} cards`;
    this.events.add({ event: 'inventory-changed', subject: inventory.node, message });
    void this.keeper.keep();
  }

  private noteInstance({ instance, state, trouble, workload }: InstanceStatus): void {
    const message = trouble?.message ?? `${workload} is ${state}`;
    this.events.add({ event: `instance-${state}`, subject: instance, message });
    if (this.closing === null) this.noteModels();
    this.noteState();
  }

  /** Tells the directory what may be asked for, when that has changed. */
  private noteModels(): void {
    const fleet = this.desired?.served ?? this.asked;
    const parked = new Set(
      this.instances
        .statuses()
        .filter(({ state }) => state === 'parked')
        .map((status) => status.workload),
    );
    const models = toServedModels(fleet, this.demands, parked);
    if (JSON.stringify(models) !== JSON.stringify(this.directory.models())) {
      this.directory.setModels(models);
    }
  }

  private async statusWith(gateway: StatusDocument['gateway']): Promise<StatusDocument> {
    const { node, driver, pid } = this.options;
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
      instances: this.instances.statuses(),
      degradations: this.desired?.degradations ?? [],
    });
  }

  private noteState(): void {
    if (this.state === 'draining' || this.state === 'stopped') return;
    const states = this.instances.statuses().map(({ state }) => state);
    const next = toAgentState(this.desired, states);
    if (next !== this.state) this.enter(next);
  }

  private enter(state: AgentState): void {
    this.state = state;
    this.since = this.options.clock.epochMs();
    const { node, logger } = this.options;
    logger.info(`agent-${state}`, { node });
    this.events.add({ event: `agent-${state}`, subject: node, message: `the node is ${state}` });
  }

  private async end({ restoreLayout, keepEngines }: CloseOptions): Promise<void> {
    const { driver, otherDrivers = [], lasting } = this.options;
    this.enter('draining');
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
        await this.assigned.clear();
        if (lasting === true) await this.desiredStore.write(null);
        if (restoreLayout === true) await this.restoreLayout();
      }
    } finally {
      this.directory.setModels([]);
      await Promise.allSettled([driver, ...otherDrivers].map((each) => each.close()));
      this.enter('stopped');
      await this.events.flushed();
      await this.lease?.release();
    }
  }

  private async restoreLayout(): Promise<void> {
    if (this.before === null) return;
    const desired = readLayouts(this.before);
    const stop = (): Promise<void> => Promise.resolve();
    this.noteInventory(await reachLayouts({ ...this.options, desired, assignments: [], stop }));
  }
}

function toWish({ served, demands, plan }: Desired): Wish {
  return { fleet: served, demands, plan };
}
