#!/usr/bin/env node
// `npm run test:integration`: tests against real components (engines, a kernel, a cluster) that not every machine
// can have. Runs tests/integration/<name>/run.mjs each, and the vitest project tests/integration when there is one.
//
// A run.mjs ends with 0 when it passed, with 75 when its component cannot be had here (its last line says why), and
// with anything else when something broke. Only the last makes this command fail; the second is said loudly.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { localBin, runCommand } from './run-command.mjs';

const UNAVAILABLE = 75;
const TIMEOUT_MS = Number(process.env['AIM_GPU_INTEGRATION_TIMEOUT_S'] ?? 300) * 1000;
const directory = path.resolve(import.meta.dirname, '../tests/integration');

/** @type {{ name: string, outcome: 'passed' | 'failed' | 'could not run', reason: string }[]} */
const results = [];

const names = existsSync(directory)
  ? readdirSync(directory)
      .filter((name) => existsSync(path.join(directory, name, 'run.mjs')))
      .sort()
  : [];
for (const name of names) {
  console.log(`== ${name}`);
  const { code, output, timedOut } = await runCommand(
    process.execPath,
    [path.join(directory, name, 'run.mjs')],
    {
      cwd: path.join(directory, name),
      capture: true,
      timeoutMs: TIMEOUT_MS,
    },
  );
  process.stdout.write(output);
  const lastLine = output.trimEnd().split('\n').at(-1) ?? '';
  if (timedOut)
    results.push({ name, outcome: 'failed', reason: `not done within ${TIMEOUT_MS / 1000} s` });
  else if (code === 0) results.push({ name, outcome: 'passed', reason: '' });
  else if (code === UNAVAILABLE) results.push({ name, outcome: 'could not run', reason: lastLine });
  else results.push({ name, outcome: 'failed', reason: `exit code ${code}` });
}

if (existsSync(path.join(directory, 'vitest.config.ts'))) {
  console.log('== vitest');
  const { code } = await runCommand(localBin('vitest'), ['run', '--passWithNoTests'], {
    env: { AIM_GPU_INTEGRATION: '1' },
  });
  results.push({
    name: 'vitest',
    outcome: code === 0 ? 'passed' : 'failed',
    reason: code === 0 ? '' : `exit code ${code}`,
  });
}

const count = (/** @type {string} */ outcome) =>
  results.filter((result) => result.outcome === outcome).length;
console.log('');
if (results.length === 0)
  console.log('!! NOTHING RAN: there is no tests/integration/*/run.mjs yet');
for (const { name, outcome, reason } of results) {
  console.log(
    `${outcome === 'passed' ? '  ' : '!!'} ${name}: ${outcome.toUpperCase()}${reason && ` (${reason})`}`,
  );
}
console.log(
  `integration: ${count('passed')} passed, ${count('failed')} failed, ${count('could not run')} could not run`,
);
process.exitCode = count('failed') === 0 ? 0 : 1;
