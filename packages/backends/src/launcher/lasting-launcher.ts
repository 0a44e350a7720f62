/**
 * Runs engines as processes that outlive whoever launched them, and takes over those that an earlier launcher started.
 * For an agent that may be restarted while its engines serve. Owns the launch and the adoption; what happens to a
 * process afterwards is in lasting-process.ts. Must not know what an engine is.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { Writable } from 'node:stream';
import {
  isAbort,
  type Launcher,
  type LaunchOptions,
  type ProcessMark,
  silentLogger,
} from '@aim-gpu/core';
import { engineEnvironment, redactArgv } from './environment.js';
import { createExitLook } from './exit-look.js';
import { findProgram } from './find-program.js';
import { GATE_SCRIPT, LAUNCH_ID_VARIABLE, OWNER_VARIABLE } from './guard-script.js';
import { reapMarked, watchLastingProcess } from './lasting-process.js';
import { launchFailed } from './launch-failed.js';
import { type OpenLog, openLogFor, readTail } from './log-tail.js';
import {
  DEFAULT_OUTPUT_LINES,
  MAX_LINE_LENGTH,
  type ProcessLauncherOptions,
} from './process-launcher.js';
import { findOwned, markProcess, provesItself } from './process-marks.js';

/** Options of {@link createLastingLauncher}. */
export interface LastingLauncherOptions extends ProcessLauncherOptions {
  /** Whose engines these are, for example the state directory: the same text at the next start. */
  readonly owner: string;
}

/**
 * Makes a launcher whose processes go on when the launching process ends in any way. They write to their log file by
 * themselves (nowhere without one), and end with `stop`, together with everything they started.
 *
 * A program runs only after `beforeRun` has resolved: when the launching process dies before, it never runs. `adopt`
 * takes over a process that proves to be the marked one by start time, boot, arguments and the nonce in its
 * environment; how such a process ends later is not known to anybody but init, so its exit has no code.
 * Needs `/bin/sh`, `grep`, `sleep` and `/proc`. Throws as {@link createProcessLauncher}'s.
 */
export function createLastingLauncher(options: LastingLauncherOptions): Launcher {
  const { clock, owner, logger = silentLogger } = options;
  const exitLook = createExitLook({ clock });
  const tailOf = (logFile: string | null, startsAt: number) => () =>
    readTail(logFile, {
      startsAt,
      maxLines: options.maxOutputLines ?? DEFAULT_OUTPUT_LINES,
      maxLineLength: MAX_LINE_LENGTH,
    });
  return {
    specVersion: 1,
    launch: async (command, launch) => {
      const { name, logFile, signal } = launch;
      signal?.throwIfAborted();
      const nonce = options.ids.next();
      const env: Readonly<Record<string, string>> = {
        ...engineEnvironment(process.env, command.env, options.passEnvironment ?? []),
        [LAUNCH_ID_VARIABLE]: nonce,
        [OWNER_VARIABLE]: owner,
      };
      const [file = '', ...rest] = command.argv;
      const program = findProgram(file, env['PATH']);
      if (!program.ok) throw launchFailed(name, program.reason);
      try {
        const log = openLogFor(logFile);
        const argv = [program.file, ...rest];
        const { child, mark } = await startMarked({ argv, env, nonce, log, launch });
        logger.info('engine-started', { name, pid: mark.pid, argv: redactArgv(command.argv) });
        const lastOutput = tailOf(logFile, log.startsAt);
        return watchLastingProcess({ name, mark, child, lastOutput, exitLook, clock, logger });
      } catch (error) {
        if (isAbort(error, signal)) throw error;
        throw launchFailed(name, error instanceof Error ? error.message : String(error), error);
      }
    },
    adopt: (mark, { name, logFile }) => {
      if (!provesItself(mark)) return Promise.resolve(null);
      logger.info('engine-adopted', { name, pid: mark.pid });
      const lastOutput = tailOf(logFile, 0);
      return Promise.resolve(
        watchLastingProcess({ name, mark, child: null, lastOutput, exitLook, clock, logger }),
      );
    },
    reclaim: async (keep) => {
      const kept = new Set(keep.map((mark) => mark.nonce));
      const lost = findOwned(owner).filter((mark) => !kept.has(mark.nonce));
      for (const { pid } of lost) logger.warn('engine-reclaimed', { pid });
      await Promise.all(lost.map((mark) => reapMarked(mark, clock)));
      return lost.length;
    },
  };
}

/** Starts a program at its gate, in a process group of its own, and opens the gate when it is written down. */
async function startMarked(options: {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly nonce: string;
  readonly log: OpenLog;
  readonly launch: LaunchOptions;
}): Promise<{ readonly child: ChildProcess; readonly mark: ProcessMark }> {
  const { argv, env, nonce, log, launch } = options;
  let child: ChildProcess;
  try {
    child = spawn('/bin/sh', ['-c', GATE_SCRIPT, 'aim-gpu-gate', ...argv], {
      detached: true,
      env,
      stdio: ['ignore', log.fd, log.fd, 'pipe'],
    });
    await once(child, 'spawn');
  } finally {
    closeSync(log.fd);
  }
  const { pid } = child;
  const gate = child.stdio[3];
  if (pid === undefined || !(gate instanceof Writable)) throw new Error('the process has no id');
  gate.on('error', () => undefined);
  const mark = markProcess(pid, nonce, argv);
  try {
    launch.signal?.throwIfAborted();
    await launch.beforeRun?.(mark);
    launch.signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      gate.end('go\n', (error?: Error | null) => (error ? reject(error) : resolve()));
    });
  } catch (error) {
    gate.destroy();
    throw error;
  }
  // An engine must not keep an agent alive that has nothing else to do.
  child.unref();
  return { child, mark };
}
