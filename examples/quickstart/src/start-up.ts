/**
 * Runs `aim-gpu up` as a child process and reads the events it prints with `--json`.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** What `up --json` says when everything is ready. */
interface Ready {
  readonly gateway: string;
  /** Instance by model, with where it runs. */
  readonly places: Readonly<Record<string, string>>;
}

/** A running `aim-gpu up`. */
export interface Up {
  readonly ready: Promise<Ready>;
  readonly exited: Promise<number>;
  /** Ends it as Ctrl-C does. Idempotent. */
  stop(): void;
}

/** Starts the command. With `inherit` its output goes to the terminal and `ready` never resolves. */
export function startUp(args: readonly string[], options: { readonly inherit: boolean }): Up {
  const manifest = createRequire(import.meta.url).resolve('@aim-gpu/cli/package.json');
  const program = path.join(path.dirname(manifest), 'bin/aim-gpu.mjs');
  const child = spawn(process.execPath, [program, 'up', ...args], {
    stdio: options.inherit ? 'inherit' : ['ignore', 'pipe', 'inherit'],
  });
  const stop = (): void => void child.kill('SIGINT');
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
  const exited = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
  const ready = new Promise<Ready>((resolve, reject) => {
    if (child.stdout === null) return;
    createInterface(child.stdout).on('line', (line) => {
      const event = JSON.parse(line) as { event?: string; error?: { message: string } };
      if (event.error !== undefined) reject(new Error(event.error.message));
      if (event.event === 'ready') resolve(event as unknown as Ready);
    });
    void exited.then((code) =>
      reject(new Error(`aim-gpu up ended with exit code ${code} before it was ready`)),
    );
  });
  ready.catch(() => undefined);
  return { ready, exited, stop };
}
