/**
 * Starts a program so that it cannot run before its guard watches it. Owns that order; knows nothing of what follows.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import type { Guard } from './guard.js';
import { GATE_SCRIPT } from './guard-script.js';

/**
 * Starts `argv` in a process group of its own, whose number is the process id, after `guard` was told of it. When the
 * launching process dies at any point in between, the program never runs. Rejects when nothing could be started.
 */
export async function startBehindGate(options: {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly guard: Guard;
}): Promise<{ readonly child: ChildProcess; readonly pid: number }> {
  const child = spawn('/bin/sh', ['-c', GATE_SCRIPT, 'aim-gpu-gate', ...options.argv], {
    detached: true,
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  await once(child, 'spawn');
  const pid = child.pid;
  const gate = child.stdio[3];
  if (pid === undefined || !(gate instanceof Writable)) throw new Error('the process has no id');
  gate.on('error', () => undefined);
  try {
    await options.guard.watch(pid, startTimeOf(pid));
    await new Promise<void>((resolve, reject) => {
      gate.end('go\n', (error?: Error | null) => (error ? reject(error) : resolve()));
    });
  } catch (error) {
    gate.destroy();
    throw error;
  }
  return { child, pid };
}

/** Clock ticks since boot at which a process started (proc(5), field 22); `0` where there is no /proc. */
function startTimeOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0';
  } catch {
    return '0';
  }
}
