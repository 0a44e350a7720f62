/**
 * The guard of one engine process: a shell of about 1 MB in its own session that kills what the engine started when
 * told to, or when the launching process is gone. Owns the guard's process; knows nothing about engines.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Clock } from '@aim-gpu/core';
import { GUARD_SCRIPT } from './guard-script.js';

/** How long to wait for a guard that reaps: it gives up by itself after 20 rounds of about 0.1 s. */
export const REAP_LIMIT_MS = 4000;

/** A running guard. */
export interface Guard {
  /** Tells it which process group to watch. Resolves when the guard's pipe holds the number, whatever happens next. */
  watch(group: number, leaderStart: string): Promise<void>;
  /** Kills what is left of the group and everything that left it; resolves when it is gone, or after `limitMs`. */
  reap(limitMs: number): Promise<void>;
  /** Calls back when the guard ends without having been told to. */
  onLost(callback: () => void): void;
}

/** Starts a guard that watches nothing yet. Rejects when there is no shell. */
export async function startGuard(options: {
  readonly launchId: string;
  readonly clock: Clock;
}): Promise<Guard> {
  const child = spawn('/bin/sh', ['-c', GUARD_SCRIPT, 'aim-gpu-guard', options.launchId], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    cwd: '/',
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await once(child, 'spawn');
  // The guard must not keep a launching process alive that has nothing else to do.
  child.unref();
  child.stdin.on('error', () => undefined);
  let dismissed = false;
  return {
    watch: (group, leaderStart) => send(child, `${group} ${leaderStart}\n`),
    reap: async (limitMs) => {
      dismissed = true;
      child.ref();
      await send(child, 'reap\n').catch(() => undefined);
      let cancel = (): void => undefined;
      const late = new Promise<void>((resolve) => {
        cancel = options.clock.timer(limitMs, resolve);
      });
      await Promise.race([ended, late]);
      cancel();
      child.unref();
      child.stdin?.destroy();
    },
    onLost: (callback) => {
      void ended.then(() => {
        if (!dismissed) callback();
      });
    },
  };
}

function send(child: ChildProcess, line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (child.stdin === null) reject(new Error('the guard has no pipe'));
    else child.stdin.write(line, (error) => (error ? reject(error) : resolve()));
  });
}
