/**
 * Bounded waits on one engine process: until it is ready, until it has nothing to do, until it is gone. None of them
 * trusts the engine to answer. Owns no state and decides nothing.
 */
import {
  AimError,
  type CallOptions,
  type Clock,
  type EndpointAddress,
  type ProcessExit,
  type RunningProcess,
  type ServingEngine,
  withDeadline,
} from '@aim-gpu/core';
import { engineStopped, portTaken } from './agent-errors.js';
import { isHeldByStranger, isStopped } from './process-facts.js';
import type { RunnerTiming } from './runner-timing.js';

/** From SIGKILL until a process is given up on: one that waits in the kernel cannot be killed, nor waited for. */
const KILL_LIMIT_MS = 10_000;

/** What every wait needs. */
export interface EngineWait extends CallOptions {
  readonly clock: Clock;
  readonly timing: RunnerTiming;
}

/** How a wait for readiness ended. */
export type StartOutcome =
  | { readonly ok: true }
  | { readonly ok: false; readonly why: 'exited'; readonly exit: ProcessExit }
  | { readonly ok: false; readonly why: 'late' };

/**
 * Waits until an engine answers its health check. Its end and the time limit are noticed also while it owes an answer.
 * Throws the signal's reason, what asking throws, `ERR_PORT_IN_USE` (conflict) when somebody else answers on its port:
 * requests must not go there, and `ERR_ENGINE_STOPPED` (unavailable) when its process stands still by a signal.
 */
export async function untilReady(
  options: EngineWait & {
    readonly engine: ServingEngine;
    readonly process: RunningProcess;
    readonly address: EndpointAddress;
    readonly limitMs: number;
    readonly signal: AbortSignal;
  },
): Promise<StartOutcome> {
  const { engine, process, address, clock, timing, limitMs } = options;
  // A start may take long, but not by standing still.
  const patienceMs = 2 * timing.lookEveryMs;
  const over = new AbortController();
  const exited = process.exited.then((exit): StartOutcome => {
    over.abort();
    return { ok: false, why: 'exited', exit };
  });
  const answered = withDeadline(
    async (signal): Promise<StartOutcome> => {
      let goingMs = clock.monoMs();
      while (!(await answersSoon({ engine, address, clock, timing, signal }))) {
        if (!isStopped(process.pid)) goingMs = clock.monoMs();
        else if (clock.monoMs() - goingMs > patienceMs) throw engineStopped(process.pid);
        await clock.sleep(timing.pollMs, { signal });
      }
      if (isHeldByStranger(process.pid, address.port)) throw portTaken(address);
      return { ok: true };
    },
    {
      clock,
      ms: limitMs,
      what: 'the start of the engine',
      signal: AbortSignal.any([options.signal, over.signal]),
    },
  ).catch((error: unknown): StartOutcome | Promise<StartOutcome> => {
    // The exit ended this wait, and says more than its abort.
    if (over.signal.aborted) return exited;
    if (AimError.is(error, 'ERR_TIMEOUT')) return { ok: false, why: 'late' };
    throw error;
  });
  return Promise.race([exited, answered]);
}

/** One health check with a limit: an engine that owes one answer may give the next. */
export async function answersSoon(
  options: EngineWait & {
    readonly engine: ServingEngine;
    readonly address: EndpointAddress;
    readonly signal: AbortSignal;
  },
): Promise<boolean> {
  const { engine, address, clock, timing, signal } = options;
  return orFalseWhenLate(
    withDeadline((inTime) => engine.isReady(address, { signal: inTime }), {
      clock,
      ms: timing.probeLimitMs,
      what: 'the health check',
      signal,
    }),
  );
}

/**
 * Waits until an engine has no request left: true, or false when the time was up first. One that cannot say what it
 * does has nothing left to wait for.
 */
export async function untilIdle(
  options: EngineWait & { readonly engine: ServingEngine; readonly address: EndpointAddress },
): Promise<boolean> {
  const { engine, address, clock, timing } = options;
  const busy = async (signal: AbortSignal): Promise<boolean> => {
    const sample = await engine.sample(address, { signal }).catch(() => null);
    return sample !== null && sample.running + sample.waiting > 0;
  };
  const idle = async (signal: AbortSignal): Promise<boolean> => {
    while (await busy(signal)) await clock.sleep(timing.pollMs, { signal });
    return true;
  };
  return orFalseWhenLate(
    withDeadline(idle, { clock, ms: timing.drainMs, what: 'draining the engine' }),
  );
}

/** Stops a process: true when it is gone, false when it cannot be killed. */
export async function untilGone(
  options: EngineWait & { readonly process: RunningProcess },
): Promise<boolean> {
  const { process, clock, timing } = options;
  const { graceMs } = timing;
  const gone = async (): Promise<boolean> => {
    await process.stop({ graceMs });
    return true;
  };
  return orFalseWhenLate(
    withDeadline(gone, { clock, ms: graceMs + KILL_LIMIT_MS, what: 'the end of the engine' }),
  );
}

function orFalseWhenLate(wait: Promise<boolean>): Promise<boolean> {
  return wait.catch((error: unknown) => {
    if (AimError.is(error, 'ERR_TIMEOUT')) return false;
    throw error;
  });
}
