/**
 * Inner port: programs of the host, started with an argument array and never through a shell. What comes of a run is a
 * value: missing, not executable, too slow and too talkative are answers, not crashes. A program that is given up is
 * killed with everything it started.
 */
import { spawn } from 'node:child_process';
import type { CallOptions, Clock } from '@aim-gpu/core';

/** A program to run and its bounds. */
export interface CommandCall extends CallOptions {
  /** Absolute path of the program. */
  readonly file: string;
  readonly args: readonly string[];
  readonly timeoutMs: number;
  /** Most that is kept of stdout and stderr, each; a program that prints more is killed. */
  readonly maxBytes?: number;
  /** What it reads from stdin; nothing unless given. */
  readonly input?: string;
}

/** What came of a run. Text that was printed before it was given up is kept. */
export type CommandOutcome =
  | {
      readonly kind: 'ended';
      /** Null when a signal ended it. */
      readonly exitCode: number | null;
      readonly stdout: string;
      readonly stderr: string;
    }
  | {
      readonly kind: 'not-started';
      readonly reason: 'missing' | 'not-executable' | 'failed';
      readonly message: string;
    }
  | { readonly kind: 'timed-out' | 'too-large'; readonly stdout: string; readonly stderr: string };

/** Runs programs. */
export interface CommandRunner {
  /** Runs one to its end or its bounds. Rejects with the signal's reason only. */
  run(call: CommandCall): Promise<CommandOutcome>;
}

// `metric --json` of 64 partitions stays below 4 MiB.
const MAX_BYTES = 16 * 2 ** 20;

/** Programs of this host. They get a small environment in the C locale: their output is read by a program. */
export function createHostCommands(options: { readonly clock: Clock }): CommandRunner {
  return { run: async (call) => runProgram(options.clock, call) };
}

function runProgram(clock: Clock, call: CommandCall): Promise<CommandOutcome> {
  const { file, args, timeoutMs, maxBytes = MAX_BYTES, input, signal } = call;
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    // A group of its own, so that killing it leaves none of its children behind.
    const child = spawn(file, [...args], {
      detached: true,
      shell: false,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', PYTHONUNBUFFERED: '1' },
      cwd: '/',
    });
    const out = collect(maxBytes);
    const err = collect(maxBytes);
    let ended = false;
    const finish = (settle: () => void): void => {
      if (ended) return;
      ended = true;
      cancelTimer();
      signal?.removeEventListener('abort', onAbort);
      settle();
    };
    const giveUp = (settle: () => void): void => {
      killGroup(child.pid);
      child.stdout.destroy();
      child.stderr.destroy();
      child.stdin.destroy();
      finish(settle);
    };
    const told = (): { readonly stdout: string; readonly stderr: string } => ({
      stdout: out.text(),
      stderr: err.text(),
    });
    const onAbort = (): void => giveUp(() => reject(signal?.reason));
    const cancelTimer = clock.timer(timeoutMs, () =>
      giveUp(() => resolve({ kind: 'timed-out', ...told() })),
    );
    signal?.addEventListener('abort', onAbort, { once: true });
    const listen = (stream: NodeJS.ReadableStream, to: Collected): void => {
      stream.on('data', (chunk: Buffer) => {
        if (!to.add(chunk)) giveUp(() => resolve({ kind: 'too-large', ...told() }));
      });
      stream.on('error', () => undefined);
    };
    listen(child.stdout, out);
    listen(child.stderr, err);
    // A program that does not read its input ends all the same.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input ?? '');
    child.once('error', (error) => finish(() => resolve(notStarted(file, error))));
    child.once('close', (exitCode) =>
      finish(() => resolve({ kind: 'ended', exitCode, ...told() })),
    );
  });
}

interface Collected {
  /** False when there is no more room. */
  add(chunk: Buffer): boolean;
  text(): string;
}

function collect(maxBytes: number): Collected {
  const chunks: Buffer[] = [];
  let length = 0;
  return {
    add: (chunk) => {
      const room = maxBytes - length;
      length += chunk.length;
      if (room > 0) chunks.push(chunk.subarray(0, room));
      return length <= maxBytes;
    },
    text: () => Buffer.concat(chunks).toString('utf8'),
  };
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

function notStarted(file: string, error: NodeJS.ErrnoException): CommandOutcome {
  const reason =
    error.code === 'ENOENT' ? 'missing' : error.code === 'EACCES' ? 'not-executable' : 'failed';
  return { kind: 'not-started', reason, message: `${file}: ${error.code ?? error.message}` };
}
