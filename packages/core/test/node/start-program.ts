import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** A program of test/node/programs in a process of its own, which prints one word a line. */
export interface Program {
  readonly child: ChildProcess;
  /** The next line it prints; rejects when it ends first. */
  next(): Promise<string>;
  /** Sends a line to its standard input. */
  tell(line: string): void;
  /** Kills it with `kill -9` and waits for its end. */
  kill(): Promise<void>;
}

/** Starts a program; it does not outlive the test. */
export function startProgram(name: string, args: readonly string[]): Program {
  const file = fileURLToPath(new URL(`./programs/${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', file, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    next: async () => {
      const line = await lines.next();
      if (line.done) throw new Error(`${name} ended without saying more`);
      return line.value;
    },
    tell: (line) => void child.stdin.write(`${line}\n`),
    kill: async () => {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
