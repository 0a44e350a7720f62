/**
 * One attempt to have an engine that answers: launched anew, or taken over from an earlier agent. Whatever goes wrong,
 * no process is left behind. Owns nothing between attempts.
 */
import type {
  Clock,
  EndpointAddress,
  Launcher,
  Logger,
  ProcessExit,
  RunningProcess,
} from '@aim-gpu/core';
import type { NotedProcess } from './assigned.js';
import { untilGone, untilReady } from './engine-waits.js';
import { findFreePort } from './free-port.js';
import { type InstanceDefinition, toSpec } from './instance-definition.js';
import { isStopped } from './process-facts.js';
import type { RunnerTiming } from './runner-timing.js';
import { startLimitMs } from './start-limit.js';

/** A process with where it listens. */
export interface EngineProcess {
  readonly process: RunningProcess;
  readonly address: EndpointAddress;
  /** Whether it had been ready before it was taken over: it must answer soon then. */
  readonly wasReady: boolean;
}

/** What starting and stopping works with. */
export interface EngineTools {
  readonly definition: InstanceDefinition;
  readonly launcher: Launcher;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly timing: RunnerTiming;
  /** Address engines listen on. */
  readonly host: string;
  readonly logFile: string | null;
  /** Writes down a process before it runs, and again when it is ready. */
  readonly noteProcess: (process: NotedProcess) => Promise<void>;
}

/** How an attempt ended. */
export type StartResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly why: 'exited'; readonly exit: ProcessExit }
  | { readonly ok: false; readonly why: 'late'; readonly limitMs: number };

/** Launches the process of an instance on a free port. It does not answer yet. */
export async function launchEngine(
  tools: EngineTools,
  signal: AbortSignal,
): Promise<EngineProcess> {
  signal.throwIfAborted();
  const { definition, host, launcher, logFile, noteProcess } = tools;
  const address = { host, port: await findFreePort(host) };
  const process = await launcher.launch(definition.engine.toCommand(toSpec(definition, address)), {
    name: definition.placement.instance,
    logFile,
    signal,
    beforeRun: (mark) => noteProcess({ mark, address, ready: false }),
  });
  return { process, address, wasReady: false };
}

/** Waits until a process answers; stops it when it does not. */
export async function untilServing(
  tools: EngineTools,
  { process, address, wasReady }: EngineProcess,
  signal: AbortSignal,
): Promise<StartResult> {
  const { definition, clock, timing } = tools;
  const limitMs = wasReady
    ? timing.probeLimitMs * timing.mostMisses
    : (timing.readyTimeoutMs ?? startLimitMs(definition.demand));
  let ready = false;
  try {
    const outcome = await untilReady({
      engine: definition.engine,
      process,
      address,
      clock,
      timing,
      limitMs,
      signal,
    });
    if (!outcome.ok) return outcome.why === 'late' ? { ...outcome, limitMs } : outcome;
    const mark = process.mark?.();
    if (mark !== undefined) await tools.noteProcess({ mark, address, ready: true });
    ready = true;
    return { ok: true };
  } finally {
    // Before the turn ends: the next engine of the partition must find its memory free.
    if (!ready) await stopEngine(tools, process, { hung: wasReady || isStopped(process.pid) });
  }
}

/** Stops a process; one that cannot be killed is given up on and logged. A hung one gets no time to end by itself. */
export async function stopEngine(
  tools: EngineTools,
  process: RunningProcess,
  options: { readonly hung?: boolean } = {},
): Promise<void> {
  const { clock, logger, timing, definition } = tools;
  const patience = options.hung === true ? { ...timing, graceMs: 0 } : timing;
  if (await untilGone({ process, clock, timing: patience })) return;
  const { instance } = definition.placement;
  logger.error('instance-not-killed', { instance, pid: process.pid });
}
