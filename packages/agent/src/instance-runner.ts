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
  type LaunchEnvelope,
  type Launcher,
  type Logger,
  type MetricLabels,
  type MetricSink,
  type Placement,
  type ProcessExit,
  type Rng,
  type RunningProcess,
  type ServingEngine,
  type Workload,
} from '@aim-gpu/core';
import type { WritableDirectory } from './endpoint-directory.js';
import { untilGone, untilIdle, untilReady } from './engine-waits.js';
import { findFreePort } from './free-port.js';
import { DEFAULT_TIMING, type RunnerTiming } from './runner-timing.js';
import type { InstanceState, InstanceStatus } from './status.js';
import { type Trouble, toErrorTrouble, toExitTrouble, toLateTrouble } from './trouble.js';
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

class Runner implements InstanceRunner {
  readonly definition: InstanceDefinition;
  private readonly options: InstanceRunnerOptions;
  private readonly timing: RunnerTiming;
  private readonly stopping = new AbortController();
  private readonly stopRequested: Promise<null>;
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
    this.timing = { ...DEFAULT_TIMING, ...options.timing };
    this.since = options.clock.epochMs();
    this.stopRequested = new Promise((resolve) => {
      this.stopping.signal.addEventListener('abort', () => resolve(null), { once: true });
    });
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
    // Known before it begins, so that a failure at that moment starts nothing anew.
    this.stopped ??= Promise.resolve().then(() => this.end(options.drain ?? true));
    return this.stopped;
  }

  private labels(): MetricLabels {
    const { placement, workload } = this.definition;
    return { instance: placement.instance, workload: workload.name };
  }

  private isSettled(): boolean {
    return this.state === 'ready' || this.state === 'failed' || this.state === 'stopped';
  }

  private enter(state: InstanceState): void {
    this.state = state;
    this.since = this.options.clock.epochMs();
    const { instance } = this.definition.placement;
    this.options.metrics.gauge('aim_gpu_instance_up', this.labels(), state === 'ready' ? 1 : 0);
    this.options.logger.info(`instance-${state}`, { instance });
    this.options.onChange();
    if (!this.isSettled()) return;
    for (const listener of this.settledListeners) listener();
    this.settledListeners.clear();
  }

  /** Start, serve, fail, wait, again — until stopped or given up. Never throws: trouble is state. */
  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (this.stopped === null) {
      try {
        await this.serveOnce(signal);
      } catch (error) {
        if (this.stopped === null) this.noteError(error);
      }
      // The end is under way and owns state, process and endpoint from here on.
      if (this.stopped !== null) return;
      await this.withdraw();
      this.failures += 1;
      if (this.failures >= this.timing.mostFailures) {
        this.enter('failed');
        return;
      }
      this.restarts += 1;
      this.enter('restarting');
      await this.backOff(signal);
    }
  }

  /** One start, served until its process ends; what went wrong is noted. */
  private async serveOnce(signal: AbortSignal): Promise<void> {
    const { turns, clock } = this.options;
    const process = await turns.take(this.partitionKeys(), () => this.startOnce(signal), {
      signal,
    });
    if (process === null) return;
    const readySince = clock.monoMs();
    this.trouble = null;
    this.serve();
    // A process that cannot be killed must not hold up the end.
    const exit = await Promise.race([process.exited, this.stopRequested]);
    if (exit === null || this.stopped !== null) return;
    if (clock.monoMs() - readySince >= this.timing.forgiveAfterMs) this.failures = 0;
    this.noteExit(process, exit);
  }

  private partitionKeys(): readonly string[] {
    return this.definition.placement.shares.map(
      (share) => `${share.node} ${share.card} ${share.partition}`,
    );
  }

  /** One attempt: launch and wait until it answers, or null. Whatever goes wrong, no process is left behind. */
  private async startOnce(signal: AbortSignal): Promise<RunningProcess | null> {
    signal.throwIfAborted();
    if (this.state !== 'restarting') this.enter('starting');
    const { host, launcher, logFile, clock } = this.options;
    const { engine, placement } = this.definition;
    const address = { host, port: await findFreePort(host) };
    const command = engine.toCommand(this.specAt(address));
    const process = await launcher.launch(command, { name: placement.instance, logFile, signal });
    this.process = process;
    this.address = address;
    this.words = () => process.lastOutput();
    let ready = false;
    try {
      const outcome = await untilReady({
        engine,
        process,
        address,
        clock,
        timing: this.timing,
        signal,
      });
      ready = outcome.ok;
      if (outcome.ok) return process;
      if (outcome.why === 'exited') this.noteExit(process, outcome.exit);
      else this.trouble = toLateTrouble(placement.instance, this.timing.readyTimeoutMs);
      return null;
    } finally {
      // Before the turn ends: the next engine of the partition must find its memory free.
      if (!ready) await this.stopProcess(process);
    }
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

  /** Takes it out of the directory and sees to it that its process is gone. */
  private async withdraw(): Promise<void> {
    this.options.directory.remove(this.definition.placement.instance);
    if (this.process !== null) await this.stopProcess(this.process);
    this.process = null;
    this.address = null;
  }

  private async stopProcess(process: RunningProcess): Promise<void> {
    const { clock, logger } = this.options;
    if (await untilGone({ process, clock, timing: this.timing })) return;
    const { instance } = this.definition.placement;
    logger.error('instance-not-killed', { instance, pid: process.pid });
  }

  private noteExit(process: RunningProcess, exit: ProcessExit): void {
    const { engine, placement } = this.definition;
    const { instance } = placement;
    this.trouble = toExitTrouble({ instance, engine, process, exit });
    const { code, signal } = exit;
    const { message } = this.trouble;
    this.options.logger.warn('instance-exit', { instance, code, signal, message });
  }

  private noteError(error: unknown): void {
    this.trouble = toErrorTrouble(error);
    const { instance } = this.definition.placement;
    const { message } = this.trouble;
    this.options.logger.warn('instance-error', { instance, message });
  }

  private async backOff(signal: AbortSignal): Promise<void> {
    const { firstBackoffMs, longestBackoffMs } = this.timing;
    const base = Math.min(longestBackoffMs, firstBackoffMs * 2 ** (this.failures - 1));
    // Full jitter between half and the whole, so that engines felled together do not return together.
    const waitMs = base * (0.5 + this.options.rng.next() / 2);
    await this.options.clock.sleep(waitMs, { signal }).catch(() => undefined);
  }

  private async end(drain: boolean): Promise<void> {
    const wasReady = this.state === 'ready';
    this.enter('stopping');
    if (wasReady && drain) await this.drainRequests();
    this.stopping.abort(
      new AimError({
        code: 'ERR_STOPPED',
        kind: 'unavailable',
        message: 'instance is being stopped',
      }),
    );
    await this.running;
    await this.withdraw();
    this.enter('stopped');
    this.options.metrics.clear('aim_gpu_instance_up', this.labels());
  }

  /** Shows the endpoint as draining and waits until the engine has no request left, or the time is up. */
  private async drainRequests(): Promise<void> {
    const { clock, directory, logger } = this.options;
    const { engine, workload, placement } = this.definition;
    const { instance } = placement;
    const endpoint = directory
      .endpoints(workload.name)
      .find((entry) => entry.instance === instance);
    if (endpoint === undefined) return;
    directory.put({ ...endpoint, state: 'draining' });
    const { address } = endpoint;
    if (await untilIdle({ engine, address, clock, timing: this.timing })) return;
    logger.warn('instance-drain-cut', { instance });
  }
}
