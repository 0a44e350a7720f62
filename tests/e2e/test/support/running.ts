/**
 * A running `aim-gpu up --json`: its events, its gateway, its engines, and its end.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { start } from './command.js';

/** One line of `up --json`. */
interface UpEvent {
  readonly event?: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly [key: string]: unknown;
}

/** The ready event. */
interface ReadyEvent extends UpEvent {
  readonly gateway: string;
  readonly admin: string;
}

/** A running command. */
export interface Running {
  readonly pid: number;
  readonly events: readonly UpEvent[];
  readonly ready: ReadyEvent;
  readonly exited: Promise<number | null>;
  stderr(): string;
  signal(name: NodeJS.Signals): void;
  /** Ends it as Ctrl-C does and returns the exit code. */
  stop(): Promise<number | null>;
}

/** Starts `up --json` with free ports and waits until it is ready. */
export function startUp(
  file: string,
  stateDirectory: string,
  more: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Running> {
  return startServing(['up', file], stateDirectory, more, env);
}

/** Starts `agent --json`, with free ports unless told others, and waits until its gateway is there. */
export function startAgent(
  file: string | null,
  stateDirectory: string,
  more: readonly string[] = [],
): Promise<Running> {
  return startServing(['agent', ...(file === null ? [] : [file])], stateDirectory, more);
}

async function startServing(
  command: readonly string[],
  stateDirectory: string,
  more: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Running> {
  const ports = ['--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0'];
  const child = start([...command, '--json', '--state-dir', stateDirectory, ...ports, ...more], {
    env,
  });
  const events: UpEvent[] = [];
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
  const ready = await new Promise<ReadyEvent>((resolve, reject) => {
    if (child.stdout === null) return;
    createInterface(child.stdout).on('line', (line) => {
      const event = JSON.parse(line) as UpEvent;
      events.push(event);
      if (event.event === 'ready') resolve(event as ReadyEvent);
    });
    void exited.then((code) =>
      reject(
        new Error(`${command[0]} ended with ${code}: ${JSON.stringify(events.at(-1))}\n${stderr}`),
      ),
    );
  });
  return {
    pid: child.pid ?? 0,
    events,
    ready,
    exited,
    stderr: () => stderr,
    signal: (name) => void child.kill(name),
    stop: () => {
      child.kill('SIGINT');
      return exited;
    },
  };
}

/** Processes whose environment names this state directory: the engines and guards of one `up`, and itself. */
export function processesOf(stateDirectory: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const env = readFileSync(`/proc/${name}/environ`, 'utf8');
        const argv = readFileSync(`/proc/${name}/cmdline`, 'utf8');
        return (
          Number(name) !== process.pid &&
          (env.includes(stateDirectory) || argv.includes(stateDirectory))
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Waits until a condition holds. Throws after the time, saying what was waited for. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`after ${timeoutMs} ms still not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
