/**
 * Instance runner: keeps one instance's engine process running until told to stop. Owns its life cycle (start, ready, hung, exit, back-off, verdict, parked); knows nothing of plans, cards or other instances.
 */
import type { EpochMs } from '@aim-gpu/core';
import { instanceStopping } from './agent-errors.js';
import { backOffMs } from './back-off.js';
import { type CurrentEngine, createCurrentEngine } from './current-engine.js';
import { type ServiceEnd, untilServiceEnds } from './engine-service.js';
import type { EngineProcess, EngineTools } from './engine-start.js';
import { untilIdle } from './engine-waits.js';
import type { InstanceRunner, InstanceRunnerOptions } from './instance-care.js';
import { type InstanceDefinition, partitionKey } from './instance-definition.js';
import { createInstanceFace, type InstanceFace } from './instance-face.js';
import { DEFAULT_TIMING, type RunnerTiming } from './runner-timing.js';
import type { InstanceState, InstanceStatus } from './status.js';
import { createTroubleLog, type TroubleLog } from './trouble-log.js';

/** Makes a runner; nothing happens before {@link InstanceRunner.start}. */
export function createInstanceRunner(options: InstanceRunnerOptions): InstanceRunner {
  return new Runner(options);
}

class Runner implements InstanceRunner {
  definition: InstanceDefinition;
  private readonly options: InstanceRunnerOptions;
  private readonly timing: RunnerTiming;
  private readonly face: InstanceFace;
  private readonly current: CurrentEngine = createCurrentEngine();
  private readonly troubles: TroubleLog;
  private readonly stopping = new AbortController();
  private readonly stopRequested: Promise<null>;
  private readonly settledListeners = new Set<() => void>();
  private state: InstanceState = 'waiting';
  private since: EpochMs;
  private failures = 0;
  private restarts = 0;
  private running: Promise<void> | null = null;
  private stopped: Promise<void> | null = null;
  private draining: boolean;
  private awake = false;
  private onWake: () => void = () => undefined;

  constructor(options: InstanceRunnerOptions) {
    this.options = options;
    this.definition = options.definition;
    this.draining = options.draining === true;
    this.timing = { ...DEFAULT_TIMING, ...options.timing };
    this.face = createInstanceFace({ ...options, shown: options.shown !== false });
    this.troubles = createTroubleLog(options);
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
      pid: this.current.pid,
      endpoint: this.state === 'ready' || this.state === 'stopping' ? this.current.address : null,
      shares: placement.shares,
      predicted: placement.predicted,
      isolation: envelope.measures,
      restarts: this.restarts,
      draining: this.draining,
      trouble: this.troubles.last,
    };
  }

  start(): void {
    this.running ??= this.run();
  }

  takeOver(engine: EngineProcess): void {
    this.current.find(engine);
    this.awake = true;
    this.start();
  }

  wake(): void {
    this.awake = true;
    this.onWake();
  }

  setDraining(draining: boolean): void {
    if (draining === this.draining) return;
    this.draining = draining;
    if (this.state === 'ready') this.showEndpoint();
    this.options.onChange();
  }

  show(): void {
    this.face.shown = true;
    if (this.state === 'ready') this.showEndpoint();
    this.face.gauge(this.definition, this.state === 'ready');
  }

  yieldEntry(): void {
    this.face.shown = false;
  }

  redefine(definition: InstanceDefinition): void {
    this.definition = definition;
  }

  lastOutput(): readonly string[] {
    return this.current.lastOutput();
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

  abandon(): void {
    this.stopped ??= Promise.resolve();
    this.stopping.abort(instanceStopping());
    this.current.leave();
    this.enter('stopped');
  }

  private isSettled(): boolean {
    return ['ready', 'parked', 'failed', 'stopped'].includes(this.state);
  }

  private enter(state: InstanceState): void {
    this.state = state;
    this.since = this.options.clock.epochMs();
    const { instance } = this.definition.placement;
    this.face.gauge(this.definition, state === 'ready');
    this.options.logger.info(`instance-${state}`, { instance });
    this.options.onChange();
    if (!this.isSettled()) return;
    for (const listener of this.settledListeners) listener();
    this.settledListeners.clear();
  }

  private tools(): EngineTools {
    const { launcher, clock, logger, host, logFile, noteProcess } = this.options;
    return {
      definition: this.definition,
      launcher,
      clock,
      logger,
      timing: this.timing,
      host,
      logFile,
      noteProcess: noteProcess ?? (() => Promise.resolve()),
    };
  }

  /** Start, serve, fail, wait, again — until stopped or given up. Never throws: trouble is state. */
  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (this.stopped === null) {
      if (!(await this.untilWanted())) return;
      let end: ServiceEnd | null = null;
      try {
        end = await this.serveOnce(signal);
      } catch (error) {
        if (this.stopped === null) this.troubles.noteError(this.definition, error);
      }
      // The end is under way and owns state, process and endpoint from here on.
      if (this.stopped !== null) return;
      await this.withdraw(end?.why === 'hung' || end?.why === 'stopped');
      if (end?.why === 'unused') {
        this.awake = false;
        continue;
      }
      this.failures += 1;
      if (this.failures >= this.timing.mostFailures) {
        this.enter('failed');
        return;
      }
      this.restarts += 1;
      this.enter('restarting');
      const waitMs = backOffMs(this.timing, this.failures, this.options.rng);
      await this.options.clock.sleep(waitMs, { signal }).catch(() => undefined);
    }
  }

  /** Waits while it is parked; false when it is stopped meanwhile. */
  private async untilWanted(): Promise<boolean> {
    if (this.options.parkAfterMs == null || this.awake) return true;
    this.failures = 0;
    this.enter('parked');
    const woken = new Promise<true>((resolve) => {
      this.onWake = () => resolve(true);
    });
    return (await Promise.race([woken, this.stopRequested])) === true && this.stopped === null;
  }

  /** One start, served until its process ends or hangs; what went wrong is noted. Null when it did not start. */
  private async serveOnce(signal: AbortSignal): Promise<ServiceEnd | null> {
    const { turns, clock } = this.options;
    const keys = this.definition.placement.shares.map(partitionKey);
    const engine = await turns.take(keys, () => this.startOnce(signal), { signal });
    if (engine === null) return null;
    const readySince = clock.monoMs();
    this.troubles.clear();
    this.showEndpoint();
    this.enter('ready');
    const end = await this.untilServiceEnds(engine);
    if (this.stopped !== null || end.why === 'stopping') return { why: 'stopping' };
    if (end.why === 'unused') return end;
    if (clock.monoMs() - readySince >= this.timing.forgiveAfterMs) this.failures = 0;
    if (end.why === 'exited') this.troubles.noteExit(this.definition, engine.process, end.exit);
    else this.troubles.noteHung(this.definition, end.why);
    return end;
  }

  /** One attempt to have an engine that answers; null when it failed. */
  private async startOnce(signal: AbortSignal): Promise<EngineProcess | null> {
    signal.throwIfAborted();
    if (this.state !== 'restarting') this.enter('starting');
    const started = await this.current.start(this.tools(), signal);
    if (started.result.ok) return started.engine;
    this.troubles.noteFailedStart(this.definition, started);
    return null;
  }

  private untilServiceEnds(served: EngineProcess): Promise<ServiceEnd> {
    return untilServiceEnds({
      served,
      engine: this.definition.engine,
      clock: this.options.clock,
      timing: this.timing,
      idleMs: this.options.parkAfterMs ?? null,
      stopRequested: this.stopRequested,
      hide: () => this.face.hide(this.definition),
    });
  }

  private showEndpoint(): void {
    const { address } = this.current;
    if (address !== null) this.face.show(this.definition, address, this.draining);
  }

  /** Takes it out of the directory and sees to it that its process is gone. */
  private async withdraw(hung: boolean): Promise<void> {
    this.face.hide(this.definition);
    if (!(await this.current.end(this.tools(), { hung }))) return;
    await this.options.noteEnded?.().catch((error: unknown) => {
      this.troubles.noteError(this.definition, error);
    });
  }

  private async end(drain: boolean): Promise<void> {
    const wasReady = this.state === 'ready';
    this.enter('stopping');
    if (wasReady && drain) await this.drainRequests();
    this.stopping.abort(instanceStopping());
    await this.running;
    await this.withdraw(false);
    this.enter('stopped');
    this.face.clearGauge(this.definition);
  }

  /** Shows the endpoint as draining and waits until the engine has no request left, or the time is up. */
  private async drainRequests(): Promise<void> {
    const { clock, logger } = this.options;
    const { engine, placement } = this.definition;
    const { address } = this.current;
    if (address === null) return;
    this.face.show(this.definition, address, true);
    if (await untilIdle({ engine, address, clock, timing: this.timing })) return;
    logger.warn('instance-drain-cut', { instance: placement.instance });
  }
}
