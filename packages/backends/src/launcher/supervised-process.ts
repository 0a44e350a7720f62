/**
 * One running engine process: its output, its end and its stop. Owns the rule that an exit is reported only when the
 * whole process group is gone; starts nothing.
 */
import type { ChildProcess } from 'node:child_process';
import type { WriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Clock, Logger, ProcessExit, RunningProcess } from '@aim-gpu/core';
import { type Guard, REAP_LIMIT_MS } from './guard.js';
import type { OutputRing } from './output-ring.js';

/** How long children that hold the output open may delay the report of an exit. */
const OUTPUT_DRAIN_MS = 250;

/** What {@link superviseProcess} takes over. */
export interface SupervisedProcessOptions {
  readonly name: string;
  readonly child: ChildProcess;
  readonly pid: number;
  readonly guard: Guard;
  readonly ring: OutputRing;
  readonly log: WriteStream | null;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Watches a started process until it is gone, and stops it when asked. */
export function superviseProcess(options: SupervisedProcessOptions): RunningProcess {
  const { child, pid, clock, logger, name } = options;
  for (const [source, stream] of [
    ['stdout', child.stdout],
    ['stderr', child.stderr],
  ] as const) {
    if (stream !== null) collect(source, stream, options.ring, options.log);
  }
  let ended = false;
  options.guard.onLost(() => {
    if (!ended) logger.warn('engine-guard-lost', { name, pid });
  });

  const left = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  const drained = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const exited = left.then(async ({ code, signal }): Promise<ProcessExit> => {
    ended = true;
    const at = clock.epochMs();
    await options.guard.reap(REAP_LIMIT_MS);
    await firstOf(drained, clock, OUTPUT_DRAIN_MS);
    child.stdout?.destroy();
    child.stderr?.destroy();
    options.log?.end();
    logger.info('engine-exited', { name, pid, code, signal });
    return { code, signal, at };
  });

  let stopping: Promise<ProcessExit> | null = null;
  const stop = async (graceMs: number): Promise<ProcessExit> => {
    if (!ended) {
      signalGroup(pid, 'SIGTERM');
      const inTime = await firstOf(left, clock, graceMs);
      if (!inTime && !ended) {
        logger.warn('engine-killed', { name, pid, graceMs });
        signalGroup(pid, 'SIGKILL');
      }
    }
    return exited;
  };
  return {
    pid,
    exited,
    lastOutput: () => options.ring.lines(),
    stop: ({ graceMs }) => {
      stopping ??= stop(graceMs);
      return stopping;
    },
  };
}

/** Copies a pipe into the ring and the log; a slow disk slows the engine's printing, not this process's memory. */
function collect(
  source: string,
  stream: Readable,
  ring: OutputRing,
  log: WriteStream | null,
): void {
  stream.on('error', () => undefined);
  stream.on('data', (chunk: Buffer) => {
    ring.push(source, chunk);
    if (log !== null && !log.destroyed && !log.writableEnded && !log.write(chunk)) {
      stream.pause();
      const resume = (): void => {
        log.off('drain', resume);
        log.off('close', resume);
        stream.resume();
      };
      log.once('drain', resume);
      log.once('close', resume);
    }
  });
}

/** Only for a group whose leader was not reaped yet: its number cannot have gone to another process. */
function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Whether `work` settled within `ms`. */
async function firstOf(work: Promise<unknown>, clock: Clock, ms: number): Promise<boolean> {
  let cancel = (): void => undefined;
  const late = new Promise<boolean>((resolve) => {
    cancel = clock.timer(ms, () => resolve(false));
  });
  const inTime = await Promise.race([work.then(() => true), late]);
  cancel();
  return inTime;
}
