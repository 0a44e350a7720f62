// Runs child processes for the repository's own scripts. Owns nothing else.
import { spawn } from 'node:child_process';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');

/** @param {string} name */
export function localBin(name) {
  return path.join(root, 'node_modules/.bin', name);
}

/**
 * Runs a command to its end and resolves with its exit code; a signal counts as 128 plus its usual number.
 * With `capture` both streams are kept and returned instead of being shown.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, capture?: boolean, timeoutMs?: number, toStderr?: boolean }} [options]
 * @returns {Promise<{ code: number, output: string, timedOut: boolean }>}
 */
export function runCommand(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: options.cwd ?? root,
      env: { ...process.env, ...options.env },
      stdio: options.capture
        ? ['ignore', 'pipe', 'pipe']
        : ['ignore', options.toStderr ? 2 : 'inherit', 'inherit'],
      // A group of its own when it may have to be ended, so that its own children end with it.
      detached: options.timeoutMs !== undefined,
    });
    let output = '';
    const keep = (/** @type {Buffer} */ chunk) => {
      output += chunk;
    };
    child.stdout?.on('data', keep);
    child.stderr?.on('data', keep);
    let timedOut = false;
    const deadline =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            if (child.pid) process.kill(-child.pid, 'SIGKILL');
          }, options.timeoutMs);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(deadline);
      resolve({ code: code ?? (signal === 'SIGINT' ? 130 : 143), output, timedOut });
    });
  });
}

/**
 * Builds all packages; shows the output only when the build fails.
 *
 * @returns {Promise<boolean>}
 */
export async function buildQuietly() {
  const env = { NX_NO_CLOUD: 'true', NX_DAEMON: 'false', NX_TUI: 'false' };
  const { code, output } = await runCommand(
    localBin('nx'),
    ['run-many', '-t', 'build', '--output-style=static'],
    {
      capture: true,
      env,
    },
  );
  if (code !== 0) process.stderr.write(`${output}\nThe build failed.\n`);
  return code === 0;
}
