/**
 * One engine process that outlives whoever started it, started here or adopted: its end and its stop. Owns the rule
 * that an exit is reported only when the whole process group is gone; starts no engine.
 */
import type { ChildProcess } from 'node:child_process';
import type { Clock, Logger, ProcessExit, ProcessMark, RunningProcess } from '@aim-gpu/core';
import type { ExitLook } from './exit-look.js';
import { REAP_LIMIT_MS, startGuard } from './guard.js';
import { isRunning, refreshMark } from './process-marks.js';

/** What {@link watchLastingProcess} takes over. */
export interface LastingProcessOptions {
  readonly name: string;
  readonly mark: ProcessMark;
  /** Null for an adopted process. */
  readonly child: ChildProcess | null;
  readonly lastOutput: () => readonly string[];
  /** Sees the end of an adopted one: it is nobody's child here. */
  readonly exitLook: ExitLook;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Watches a process until it is gone, and stops it when asked. Keeps nobody alive that only watches. */
export function watchLastingProcess(options: LastingProcessOptions): RunningProcess {
  const { name, child, exitLook, clock, logger } = options;
  const { pid } = options.mark;
  let mark = options.mark;
  let ended = false;
  let endLook = (): void => undefined;
  const left = new Promise<Left>((resolve) => {
    if (child !== null) child.once('exit', (code, signal) => resolve({ code, signal }));
    // How it ended is known to its parent alone.
    else endLook = exitLook.watch(mark, () => resolve({ code: null, signal: null }));
  });
  const exited = left.then(async ({ code, signal }): Promise<ProcessExit> => {
    ended = true;
    const at = clock.epochMs();
    await reapMarked(mark, clock);
    logger.info('engine-exited', { name, pid, code, signal });
    return { code, signal, at };
  });
  let stopping: Promise<ProcessExit> | null = null;
  const stop = async (graceMs: number): Promise<ProcessExit> => {
    if (!ended && graceMs > 0) {
      signalGroup(mark, 'SIGTERM');
      await firstOf(left, clock, graceMs);
    }
    if (!ended) {
      logger.warn('engine-killed', { name, pid, graceMs });
      signalGroup(mark, 'SIGKILL');
    }
    return exited;
  };
  return {
    pid,
    exited,
    lastOutput: options.lastOutput,
    mark: () => {
      mark = refreshMark(mark);
      return mark;
    },
    leave: () => endLook(),
    stop: ({ graceMs }) => {
      stopping ??= stop(graceMs);
      return stopping;
    },
  };
}

type Left = Pick<ProcessExit, 'code' | 'signal'>;

/** Kills what is left of a process's group and what left the group; resolves when it is gone. */
export async function reapMarked(
  { pid, startTicks, nonce }: ProcessMark,
  clock: Clock,
): Promise<void> {
  try {
    const guard = await startGuard({ launchId: nonce, clock });
    await guard.watch(pid, startTicks ?? '0');
    await guard.reap(REAP_LIMIT_MS);
  } catch {
    // Without a shell or processes to spare the group's own signals have to do.
  }
}

function signalGroup(mark: ProcessMark, signal: NodeJS.Signals): void {
  if (!isRunning(mark)) return;
  try {
    process.kill(-mark.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function firstOf(work: Promise<unknown>, clock: Clock, ms: number): Promise<void> {
  let cancel = (): void => undefined;
  const late = new Promise<void>((resolve) => {
    cancel = clock.timer(ms, resolve);
  });
  await Promise.race([work, late]);
  cancel();
}
