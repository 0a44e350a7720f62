/**
 * Runs engines as child processes, each in a process group of its own beside a guard. Owns the launch; what happens
 * to a process afterwards is in supervised-process.ts. Must not know what an engine is.
 */
import { once } from 'node:events';
import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs';
import path from 'node:path';
import {
  type Clock,
  type IdSource,
  isAbort,
  type Launcher,
  type Logger,
  silentLogger,
} from '@aim-gpu/core';
import { engineEnvironment, redactArgv } from './environment.js';
import { findProgram } from './find-program.js';
import { startBehindGate } from './gated-start.js';
import { type Guard, REAP_LIMIT_MS, startGuard } from './guard.js';
import { LAUNCH_ID_VARIABLE } from './guard-script.js';
import { launchFailed } from './launch-failed.js';
import { createOutputRing } from './output-ring.js';
import { superviseProcess } from './supervised-process.js';

/** What a launcher of processes needs. */
export interface ProcessLauncherOptions {
  readonly clock: Clock;
  /** Names each launch, so that children which left its process group are still found. Must not repeat. */
  readonly ids: IdSource;
  /** Hears of starts, ends and lost guards: command lines with secrets hidden, never environments. */
  readonly logger?: Logger;
  /** Variables of the launching process that engines get beside the usual ones (PATH, HF_*, VLLM_*, ROCm's …). */
  readonly passEnvironment?: readonly string[];
  /** Lines of output kept for `lastOutput()`; 200 unless said otherwise. */
  readonly maxOutputLines?: number;
}

/** Characters of one line that are kept: enough for any message, not for a dumped tensor. */
export const MAX_LINE_LENGTH = 4096;
/** Lines kept unless told otherwise. */
export const DEFAULT_OUTPUT_LINES = 200;

/**
 * Makes a launcher of child processes. What it starts ends with `stop`, and at the latest about a second after the
 * launching process itself is gone, even when that was killed with SIGKILL, the engine ignores SIGTERM, or its
 * children left the process group: a guard per process sees to it. Needs `/bin/sh`, `grep` and `sleep`; the checks
 * for reused process ids and for children outside the group need `/proc`.
 *
 * `launch` throws `ERR_LAUNCH_FAILED` (unavailable) when the program does not exist or may not be executed, when
 * there is no shell for the guard, or when the log file cannot be written. A program that starts and then fails is an
 * exit, not an error. An exit is reported when everything the process had started is gone too.
 */
export function createProcessLauncher(options: ProcessLauncherOptions): Launcher {
  const { clock, logger = silentLogger } = options;
  return {
    specVersion: 1,
    launch: async (command, { name, logFile, signal }) => {
      signal?.throwIfAborted();
      const launchId = options.ids.next();
      const env: Readonly<Record<string, string>> = {
        ...engineEnvironment(process.env, command.env, options.passEnvironment ?? []),
        [LAUNCH_ID_VARIABLE]: launchId,
      };
      const [file = '', ...rest] = command.argv;
      const program = findProgram(file, env['PATH']);
      if (!program.ok) throw launchFailed(name, program.reason);
      let log: WriteStream | null = null;
      let guard: Guard | null = null;
      try {
        log = logFile === null ? null : await openLog(logFile);
        guard = await startGuard({ launchId, clock });
        signal?.throwIfAborted();
        const started = await startBehindGate({ argv: [program.file, ...rest], env, guard });
        logger.info('engine-started', { name, pid: started.pid, argv: redactArgv(command.argv) });
        return superviseProcess({
          ...started,
          name,
          guard,
          log,
          clock,
          logger,
          ring: createOutputRing({
            maxLines: options.maxOutputLines ?? DEFAULT_OUTPUT_LINES,
            maxLineLength: MAX_LINE_LENGTH,
          }),
        });
      } catch (error) {
        log?.destroy();
        await guard?.reap(REAP_LIMIT_MS);
        if (isAbort(error, signal)) throw error;
        throw launchFailed(name, error instanceof Error ? error.message : String(error), error);
      }
    },
  };
}

async function openLog(file: string): Promise<WriteStream> {
  mkdirSync(path.dirname(file), { recursive: true });
  // Prompts may end up in an engine's log: nobody else on the host reads it.
  const log = createWriteStream(file, { flags: 'a', mode: 0o600 });
  await once(log, 'open');
  log.on('error', () => undefined);
  return log;
}
