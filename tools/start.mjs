#!/usr/bin/env node
// `npm start`: builds the packages and runs the main job, examples/quickstart. Arguments go to it (`--once` …).
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { buildQuietly } from './run-command.mjs';

const root = path.resolve(import.meta.dirname, '..');
const entry = path.join(root, 'examples/quickstart/src/main.ts');

if (!existsSync(entry)) {
  process.stderr.write(
    'examples/quickstart/src/main.ts does not exist, so there is no main job to run.\n',
  );
  process.exitCode = 4;
} else if (!(await buildQuietly())) {
  process.exitCode = 70;
} else {
  const child = spawn(process.execPath, ['--import', 'tsx', entry, ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
  });
  // The terminal sends Ctrl-C to the whole group; a signal sent to this process alone has to be handed on.
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
  });
}
