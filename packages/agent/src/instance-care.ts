/**
 * What caring for one instance takes and offers. Types alone; the life cycle is in instance-runner.ts.
 */
import type { Clock, Launcher, Logger, MetricSink, Rng } from '@aim-gpu/core';
import type { NotedProcess } from './assigned.js';
import type { WritableDirectory } from './endpoint-directory.js';
import type { EngineProcess } from './engine-start.js';
import type { InstanceDefinition } from './instance-definition.js';
import type { RunnerTiming } from './runner-timing.js';
import type { InstanceStatus } from './status.js';
import type { Turns } from './turns.js';

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
  /** Writes a process down before it runs; nothing when left out. */
  readonly noteProcess?: (process: NotedProcess) => Promise<void>;
  readonly noteEnded?: () => Promise<void>;
  /** Idle time after which it is stopped until somebody asks for it; never when left out. Such a one starts parked. */
  readonly parkAfterMs?: number | null;
  /** False keeps it out of the directory until {@link InstanceRunner.show}. */
  readonly shown?: boolean;
  /** Begins as one that takes no new requests. */
  readonly draining?: boolean;
}

/** One instance under care. */
export interface InstanceRunner {
  readonly definition: InstanceDefinition;
  status(): InstanceStatus;
  /** Starts it and keeps it running; a parked one waits for {@link InstanceRunner.wake}. Does not wait. */
  start(): void;
  /** Takes over a process that runs already, and goes on from there. Does not wait. */
  takeOver(engine: EngineProcess): void;
  /** Starts it when it is parked. */
  wake(): void;
  /** Takes no new requests, or takes them again. */
  setDraining(draining: boolean): void;
  /** Has requests go to it. */
  show(): void;
  /** Leaves the directory's entry to another runner of the same instance. */
  yieldEntry(): void;
  /** Takes over what needs no new process: band, targets, predictions. */
  redefine(definition: InstanceDefinition): void;
  /** The last lines its process printed, also of one that has ended. */
  lastOutput(): readonly string[];
  /** Resolves when it is ready, parked or given up; check the status. */
  settled(): Promise<void>;
  /** Takes no new requests, waits for the running ones (bounded), stops the process. Idempotent. */
  stop(options?: { readonly drain?: boolean }): Promise<void>;
  /** Stops caring and leaves the process as it is. */
  abandon(): void;
}
