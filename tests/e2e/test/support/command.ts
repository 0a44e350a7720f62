/**
 * Runs the built command as a user does: a child process, a state directory of its own, stdout and stderr kept apart.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

const manifest = createRequire(import.meta.url).resolve('@aim-gpu/cli/package.json');

/** The committed entry of the command, over the built packages. */
const PROGRAM: string = path.join(path.dirname(manifest), 'bin/aim-gpu.mjs');

/** Root of the repository. */
const ROOT: string = path.resolve(import.meta.dirname, '../../../..');

/** The fleet of the quickstart. */
export const QUICKSTART: string = path.join(ROOT, 'examples/quickstart/fleet.yaml');

/** A temporary directory that goes with the test. */
export interface Place {
  readonly directory: string;
  readonly stateDirectory: string;
  /** Writes a file and returns its path. */
  write(name: string, content: string | Uint8Array): string;
  remove(): void;
}

/** Makes a place. */
export function createPlace(): Place {
  const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-e2e-'));
  return {
    directory,
    stateDirectory: path.join(directory, 'state'),
    write: (name, content) => {
      const file = path.join(directory, name);
      writeFileSync(file, content);
      return file;
    },
    remove: () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }),
  };
}

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. */
export async function run(
  args: readonly string[],
  options: {
    readonly cwd?: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly program?: readonly string[];
  } = {},
): Promise<Ended> {
  const child = start(args, options);
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { code, stdout, stderr };
}

/** Starts a command by its `#!` line; streams are pipes. `program` stands before it, for example to drop privileges. */
export function start(
  args: readonly string[],
  options: {
    readonly cwd?: string;
    readonly env?: Readonly<Record<string, string>>;
    readonly program?: readonly string[];
  } = {},
): ChildProcess {
  const [command = PROGRAM, ...before] = [...(options.program ?? []), PROGRAM];
  return spawn(command, [...before, ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, NO_COLOR: '1', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}
