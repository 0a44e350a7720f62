/**
 * The instances of one node: a runner for each, written down before it starts and forgotten after it has stopped. Owns
 * the set, replacing one runner by another, and the notices of changes; what runs where is decided by the plan.
 */
import { AimError, type InstanceId, type PlanId } from '@aim-gpu/core';
import { unknownInstance } from './agent-errors.js';
import type { Assigned, Tenure } from './assigned.js';
import type { EngineProcess } from './engine-start.js';
import type { InstanceRunner, InstanceRunnerOptions } from './instance-care.js';
import { digestOf, type InstanceDefinition, toStoredDefinition } from './instance-definition.js';
import { createInstanceRunner } from './instance-runner.js';
import type { InstanceStatus } from './status.js';

/** An instance that runs, with the digest of its process. */
interface RunningInstance {
  readonly definition: InstanceDefinition;
  readonly digest: string;
}

/** The instances of one node. */
export interface Instances {
  statuses(): readonly InstanceStatus[];
  /** What runs, or is being started, in the order it was started. */
  running(): readonly RunningInstance[];
  /** Throws `ERR_INSTANCE_UNKNOWN` (missing). */
  find(instance: InstanceId): InstanceRunner;
  /** Writes one down and starts it; nothing happens when it runs. */
  start(definition: InstanceDefinition, plan: PlanId): Promise<void>;
  /** Takes over a tenure of an earlier agent with its process. */
  takeOver(tenure: Tenure, definition: InstanceDefinition, engine: EngineProcess): void;
  /**
   * Starts a new process beside the old one, has requests go to it when it is ready, then drains and stops the old
   * one. Throws `ERR_ENGINE_FAILED` (unavailable) when it does not become ready; the old one serves on then.
   */
  replace(definition: InstanceDefinition, plan: PlanId): Promise<void>;
  /**
   * Has instances take no new requests, or take them again, until they are told otherwise, also by their next process.
   * Written down first. Throws `ERR_INSTANCE_UNKNOWN` (missing) with nothing changed.
   */
  setDraining(instances: readonly InstanceId[], draining: boolean): Promise<void>;
  /** Forgets that instances were drained, but for these. */
  forgetDrains(except: ReadonlySet<InstanceId>): Promise<void>;
  /** Drains and stops instances; those that do not run are stopped already. */
  stop(instances: readonly InstanceId[]): Promise<void>;
  stopAll(): Promise<void>;
  /** Stops caring for every instance and leaves its process as it is. */
  abandonAll(): void;
  /** Calls back when an instance changes state, until the returned function is called. */
  subscribe(listener: (status: InstanceStatus) => void): () => void;
}

/** What all instances of a node have in common. */
export type InstancesOptions = Omit<
  InstanceRunnerOptions,
  | 'definition'
  | 'logFile'
  | 'onChange'
  | 'noteProcess'
  | 'noteEnded'
  | 'parkAfterMs'
  | 'shown'
  | 'draining'
> & {
  readonly assigned: Assigned;
  readonly logFile: (instance: InstanceId) => string | null;
};

/** Idle time of a parked model whose fleet file names none. */
const DEFAULT_IDLE_MS = 10 * 60_000;

interface Entry {
  readonly key: string;
  readonly digest: string;
  readonly runner: InstanceRunner;
}

/** Makes an empty set. */
export function createInstances(options: InstancesOptions): Instances {
  return new InstanceSet(options);
}

class InstanceSet implements Instances {
  private readonly options: InstancesOptions;
  private readonly entries = new Map<InstanceId, Entry>();
  /** Replacements that are not shown yet. */
  private readonly incoming = new Map<InstanceId, Entry>();
  private readonly listeners = new Set<(status: InstanceStatus) => void>();
  private begun = 0;

  constructor(options: InstancesOptions) {
    this.options = options;
  }

  statuses(): readonly InstanceStatus[] {
    return [...this.entries.values()].map(({ runner }) => runner.status());
  }

  running(): readonly RunningInstance[] {
    return [...this.entries.values()].map(({ runner, digest }) => ({
      definition: runner.definition,
      digest,
    }));
  }

  find(instance: InstanceId): InstanceRunner {
    const entry = this.entries.get(instance);
    if (entry === undefined) throw unknownInstance(instance, [...this.entries.keys()]);
    return entry.runner;
  }

  async start(definition: InstanceDefinition, plan: PlanId): Promise<void> {
    const { instance } = definition.placement;
    if (this.entries.has(instance)) return;
    const entry = await this.enter(definition, plan, true);
    this.entries.set(instance, entry);
    entry.runner.start();
  }

  takeOver(tenure: Tenure, definition: InstanceDefinition, engine: EngineProcess): void {
    const { instance } = definition.placement;
    const { key, digest } = tenure;
    const runner = this.createRunner(key, definition, true);
    this.entries.set(instance, { key, digest, runner });
    runner.takeOver(engine);
  }

  async replace(definition: InstanceDefinition, plan: PlanId): Promise<void> {
    const { instance } = definition.placement;
    const old = this.entries.get(instance);
    if (old === undefined || old.runner.status().state === 'parked') {
      await this.stop([instance]);
      await this.start(definition, plan);
      return;
    }
    const next = await this.enter(definition, plan, false);
    this.incoming.set(instance, next);
    next.runner.wake();
    next.runner.start();
    try {
      await next.runner.settled();
      const { state, trouble } = next.runner.status();
      if (state !== 'ready') {
        await this.end(next);
        throw replacementFailed(instance, trouble);
      }
    } finally {
      this.incoming.delete(instance);
    }
    await this.options.assigned.noteShown(next.key);
    old.runner.yieldEntry();
    next.runner.show();
    this.entries.set(instance, next);
    this.tell(next.runner.status());
    await this.end(old);
  }

  async setDraining(instances: readonly InstanceId[], draining: boolean): Promise<void> {
    const { assigned } = this.options;
    const runners = instances.map((instance) => this.find(instance));
    const drained = new Set(assigned.drained());
    for (const instance of instances) drained[draining ? 'add' : 'delete'](instance);
    await assigned.noteDrained(drained);
    for (const runner of runners) runner.setDraining(draining);
  }

  forgetDrains(except: ReadonlySet<InstanceId>): Promise<void> {
    const { assigned } = this.options;
    return assigned.noteDrained(
      new Set([...assigned.drained()].filter((instance) => except.has(instance))),
    );
  }

  async stop(instances: readonly InstanceId[]): Promise<void> {
    await Promise.all(
      instances.map(async (instance) => {
        const entry = this.entries.get(instance);
        if (entry === undefined) return;
        await this.end(entry);
        if (this.entries.get(instance) === entry) this.entries.delete(instance);
      }),
    );
  }

  async stopAll(): Promise<void> {
    const incoming = [...this.incoming.values()].map((entry) => this.end(entry));
    await Promise.all([...incoming, this.stop([...this.entries.keys()])]);
  }

  abandonAll(): void {
    for (const { runner } of [...this.entries.values(), ...this.incoming.values()]) {
      runner.abandon();
    }
  }

  subscribe(listener: (status: InstanceStatus) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  private async end({ key, runner }: Entry): Promise<void> {
    await runner.stop();
    await this.options.assigned.drop(key);
  }

  private async enter(
    definition: InstanceDefinition,
    plan: PlanId,
    shown: boolean,
  ): Promise<Entry> {
    this.begun += 1;
    const { instance } = definition.placement;
    // Never the same again, also after a restart of the agent.
    const key = `${instance}@${this.options.clock.epochMs()}.${this.begun}`;
    const digest = digestOf(definition);
    const stored = toStoredDefinition(definition);
    await this.options.assigned.assign({ key, definition: stored, digest, plan, shown });
    return { key, digest, runner: this.createRunner(key, definition, shown) };
  }

  private createRunner(
    key: string,
    definition: InstanceDefinition,
    shown: boolean,
  ): InstanceRunner {
    const { assigned, logFile, ...common } = this.options;
    const { placement, workload } = definition;
    const { min, idleMs } = workload.replicas;
    const runner: InstanceRunner = createInstanceRunner({
      ...common,
      definition,
      logFile: logFile(placement.instance),
      shown,
      draining: assigned.drained().has(placement.instance),
      parkAfterMs: min === 0 ? (idleMs ?? DEFAULT_IDLE_MS) : null,
      noteProcess: (process) => assigned.noteProcess(key, process),
      noteEnded: () => assigned.noteEnded(key),
      onChange: () => {
        if (this.incoming.get(placement.instance)?.runner !== runner) this.tell(runner.status());
      },
    });
    return runner;
  }

  /** A listener that throws must not stop the instance it is told about. */
  private tell(status: InstanceStatus): void {
    for (const listener of [...this.listeners]) {
      try {
        listener(status);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        this.options.logger.error('listener-failed', { instance: status.instance, message });
      }
    }
  }
}

function replacementFailed(instance: InstanceId, trouble: InstanceStatus['trouble']): AimError {
  return new AimError({
    code: 'ERR_ENGINE_FAILED',
    kind: 'unavailable',
    message: `the new ${instance} did not become ready${trouble === null ? '' : `: ${trouble.message}`}; the old one serves on`,
    details: { instance },
    ...(trouble === null ? {} : { hint: trouble.hint }),
  });
}
