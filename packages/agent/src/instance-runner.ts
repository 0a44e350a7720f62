/**
 * Instance runner: keeps one instance's engine process running until told to stop. Owns its life cycle (start, ready,
 * exit, back-off, verdict) and its entry in the directory; knows nothing of plans, cards or other instances.
 */
import {
  AimError,
  type Clock,
  type Demand,
  type EndpointAddress,
  type EpochMs,
  type InstanceSpec,
  isAbort,
  type LaunchEnvelope,
  type Launcher,
  type Logger,
  type MetricSink,
  type Placement,
  type Rng,
  type RunningProcess,
  type ServingEngine,
  type Workload,
} from '@aim-gpu/core';
import type { WritableDirectory } from './endpoint-directory.js';
import { findFreePort } from './free-port.js';
import type { InstanceState, InstanceStatus } from './status.js';
import type { Turns } from './turns.js';

/** What an instance is: everything that, when it changes, needs a new process. */
export interface InstanceDefinition {
  readonly placement: Placement;
  readonly workload: Workload;
  readonly demand: Demand;
  readonly envelope: LaunchEnvelope;
  readonly engine: ServingEngine;
}

/** What a runner works with. */
export interface InstanceRunnerOptions {
  readonly definition: InstanceDefinition;
  readonly launcher: Launcher;
  readonly directory: WritableDirectory;
  readonly turns: Turns;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  readonly metrics: MetricSink;
  /** Address engines listen on. */
  readonly host: string;
  readonly logFile: string | null;
  readonly onChange: () => void;
  readonly timing?: Partial<RunnerTiming>;
}

/** How patient a runner is. */
export interface RunnerTiming {
  /** From launch until it must answer its health check. A cold start with JIT compilation takes minutes. */
  readonly readyTimeoutMs: number;
  readonly pollMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number;
  /** Longest wait for running requests before an instance is stopped. */
  readonly drainMs: number;
  readonly firstBackoffMs: number;
  readonly longestBackoffMs: number;
  /** Failures in a row after which it is given up. */
  readonly mostFailures: number;
  /** Time it must have been ready for earlier failures to be forgotten. */
  readonly forgiveAfterMs: number;
}

const TIMING: RunnerTiming = {
  readyTimeoutMs: 20 * 60_000,
  pollMs: 100,
  graceMs: 5000,
  drainMs: 30_000,
  firstBackoffMs: 500,
  longestBackoffMs: 30_000,
  mostFailures: 5,
  forgiveAfterMs: 60_000,
};

/** One instance under care. */
export interface InstanceRunner {
  readonly definition: InstanceDefinition;
  status(): InstanceStatus;
  /** Starts it and keeps it running. Does not wait. */
  start(): void;
  /** The last lines its process printed, also of one that has ended. */
  lastOutput(): readonly string[];
  /** Resolves when it is ready or given up; check the status. */
  settled(): Promise<void>;
  /** Takes no new requests, waits for the running ones (bounded), stops the process. Idempotent. */
  stop(options?: { readonly drain?: boolean }): Promise<void>;
}

/** Makes a runner; nothing happens before {@link InstanceRunner.start}. */
export function createInstanceRunner(options: InstanceRunnerOptions): InstanceRunner {
  return new Runner(options);
}

type Trouble = { readonly message: string; readonly hint: string };

class Runner implements InstanceRunner {
  readonly definition: InstanceDefinition;
  private readonly options: InstanceRunnerOptions;
  private readonly timing: RunnerTiming;
  private readonly stopping = new AbortController();
  private readonly settledListeners = new Set<() => void>();
  private state: InstanceState = 'waiting';
  private since: EpochMs;
  private process: RunningProcess | null = null;
  private words: () => readonly string[] = () => [];
  private address: EndpointAddress | null = null;
  private failures = 0;
  private restarts = 0;
  private trouble: Trouble | null = null;
  private running: Promise<void> | null = null;
  private stopped: Promise<void> | null = null;

  constructor(options: InstanceRunnerOptions) {
    this.options = options;
    this.definition = options.definition;
    this.timing = { ...TIMING, ...options.timing };
    this.since = options.clock.epochMs();
  }

  status(): InstanceStatus {
    const { placement, workload, envelope, engine } = this.definition;
    return {
      instance: placement.instance,
      workload: workload.name,
      band: workload.band,
      engine: engine.name,
      state: this.state,
      since: this.since,
      pid: this.process?.pid ?? null,
      endpoint: this.state === 'ready' || this.state === 'stopping' ? this.address : null,
      shares: placement.shares,
      predicted: placement.predicted,
      isolation: envelope.measures,
      restarts: this.restarts,
      trouble: this.trouble,
    };
  }

  start(): void {
    this.running ??= this.run();
  }

  lastOutput(): readonly string[] {
    return this.words();
  }

  settled(): Promise<void> {
    if (this.isSettled()) return Promise.resolve();
    return new Promise((resolve) => this.settledListeners.add(resolve));
  }

  stop(options: { readonly drain?: boolean } = {}): Promise<void> {
    this.stopped ??= this.end(options.drain ?? true);
    return this.stopped;
  }

  private isSettled(): boolean {
    return this.state === 'ready' || this.state === 'failed' || this.state === 'stopped';
  }

  private enter(state: InstanceState): void {
    this.state = state;
    this.since = this.options.clock.epochMs();
    const { placement, workload } = this.definition;
    const labels = { instance: placement.instance, workload: workload.name };
    this.options.metrics.gauge('aim_gpu_instance_up', labels, state === 'ready' ? 1 : 0);
    this.options.logger.info(`instance-${state}`, { instance: placement.instance });
    this.options.onChange();
    if (!this.isSettled()) return;
    for (const listener of this.settledListeners) listener();
    this.settledListeners.clear();
  }

  /** Start, serve, fail, wait, again — until stopped or given up. Never throws: trouble is state. */
  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      try {
        const process = await this.options.turns.take(this.partitionKeys(), () =>
          this.startOnce(signal),
        );
        const readySince = this.options.clock.monoMs();
        this.trouble = null;
        this.serve();
        await process.exited;
        if (signal.aborted) return;
        if (this.options.clock.monoMs() - readySince >= this.timing.forgiveAfterMs)
          this.failures = 0;
        this.noteExit(process, await process.exited);
      } catch (error) {
        if (signal.aborted) return;
        this.noteError(error);
      }
      this.withdraw();
      this.failures += 1;
      if (this.failures >= this.timing.mostFailures) {
        this.enter('failed');
        return;
      }
      this.enter('restarting');
      this.restarts += 1;
      await this.backOff(signal);
    }
  }

  private partitionKeys(): readonly string[] {
    return this.definition.placement.shares.map(
      (share) => `${share.node} ${share.card} ${share.partition}`,
    );
  }

  /** One attempt: launch and wait until it answers. Whatever goes wrong, no process is left behind. */
  private async startOnce(signal: AbortSignal): Promise<RunningProcess> {
    signal.throwIfAborted();
    if (this.state !== 'restarting') this.enter('starting');
    const { clock, host, launcher, logFile } = this.options;
    const { engine, placement } = this.definition;
    const address = { host, port: await findFreePort(host) };
    const command = engine.toCommand(this.specAt(address));
    const process = await launcher.launch(command, { name: placement.instance, logFile, signal });
    this.process = process;
    this.address = address;
    this.words = () => process.lastOutput();
    let ended = false;
    void process.exited.then(() => {
      ended = true;
    });
    const deadline = clock.monoMs() + this.timing.readyTimeoutMs;
    while (!(await engine.isReady(address, { signal }))) {
      if (ended) {
        this.noteExit(process, await process.exited);
        throw new EngineDidNotStart();
      }
      if (clock.monoMs() > deadline || signal.aborted) {
        await process.stop({ graceMs: this.timing.graceMs });
        signal.throwIfAborted();
        this.trouble = {
          message: `did not become ready within ${this.timing.readyTimeoutMs / 1000} s`,
          hint: `read its log: aim-gpu logs ${placement.instance}`,
        };
        throw new EngineDidNotStart();
      }
      await clock.sleep(this.timing.pollMs, { signal }).catch(() => undefined);
    }
    return process;
  }

  private specAt(address: EndpointAddress): InstanceSpec {
    const { placement, workload, demand, envelope } = this.definition;
    return { instance: placement.instance, workload, demand, envelope, ...address };
  }

  private serve(): void {
    const { placement, workload, demand } = this.definition;
    const share = placement.shares[0];
    if (this.address === null || share === undefined) {
      throw new AimError({
        code: 'ERR_INVARIANT',
        kind: 'internal',
        message: 'an instance without address or share',
      });
    }
    const kvCapacityTokens =
      demand.kv.bytesPerToken > 0
        ? Math.floor(this.definition.envelope.kvCacheMemoryBytes / demand.kv.bytesPerToken)
        : null;
    this.options.directory.put({
      instance: placement.instance,
      workload: workload.name,
      address: this.address,
      node: share.node,
      card: share.card,
      partition: share.partition,
      state: 'ready',
      maxNumSeqs: demand.maxNumSeqs,
      kvCapacityTokens,
    });
    this.enter('ready');
  }

  private withdraw(): void {
    this.options.directory.remove(this.definition.placement.instance);
    this.process = null;
    this.address = null;
  }

  private noteExit(process: RunningProcess, exit: Awaited<RunningProcess['exited']>): void {
    const words = process.lastOutput();
    const known = this.definition.engine.explainExit(words);
    const how =
      exit.signal === null ? `exited with code ${exit.code}` : `was killed by ${exit.signal}`;
    const last = words.at(-1);
    this.trouble = known ?? {
      message: last === undefined ? `engine ${how}` : `engine ${how}; its last words: ${last}`,
      hint: `read its log: aim-gpu logs ${this.definition.placement.instance}`,
    };
    this.options.logger.warn('instance-exit', {
      instance: this.definition.placement.instance,
      code: exit.code,
      signal: exit.signal,
      message: this.trouble.message,
    });
  }

  private noteError(error: unknown): void {
    if (error instanceof EngineDidNotStart || isAbort(error)) return;
    const message = error instanceof Error ? error.message : String(error);
    const hint =
      AimError.is(error) && error.hint !== undefined ? error.hint : 'see the log of the agent';
    this.trouble = { message, hint };
    this.options.logger.warn('instance-error', {
      instance: this.definition.placement.instance,
      message,
    });
  }

  private async backOff(signal: AbortSignal): Promise<void> {
    const { firstBackoffMs, longestBackoffMs } = this.timing;
    const base = Math.min(longestBackoffMs, firstBackoffMs * 2 ** (this.failures - 1));
    // Full jitter between half and the whole, so that engines felled together do not return together.
    const waitMs = base * (0.5 + this.options.rng.next() / 2);
    await this.options.clock.sleep(waitMs, { signal }).catch(() => undefined);
  }

  private async end(drain: boolean): Promise<void> {
    const process = this.process;
    const wasReady = this.state === 'ready';
    this.enter('stopping');
    if (process !== null && wasReady && drain) await this.drainRequests();
    this.stopping.abort(
      new AimError({
        code: 'ERR_STOPPED',
        kind: 'unavailable',
        message: 'instance is being stopped',
      }),
    );
    if (process !== null) await process.stop({ graceMs: this.timing.graceMs });
    await this.running;
    // A launch that was under way when the stop came has left its process here.
    if (this.process !== null) await this.process.stop({ graceMs: this.timing.graceMs });
    this.withdraw();
    this.enter('stopped');
  }

  /** Shows the endpoint as draining and waits until the engine has no request left, or the time is up. */
  private async drainRequests(): Promise<void> {
    const { clock, directory } = this.options;
    const { engine, workload, placement } = this.definition;
    const endpoint = directory
      .endpoints(workload.name)
      .find((entry) => entry.instance === placement.instance);
    if (endpoint === undefined) return;
    directory.put({ ...endpoint, state: 'draining' });
    const deadline = clock.monoMs() + this.timing.drainMs;
    while (clock.monoMs() < deadline) {
      const sample = await engine.sample(endpoint.address).catch(() => null);
      if (sample === null || sample.running + sample.waiting === 0) return;
      await clock.sleep(this.timing.pollMs);
    }
  }
}

/** The attempt failed and why is noted already. */
class EngineDidNotStart extends Error {}
