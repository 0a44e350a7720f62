/**
 * The main job: `aim-gpu up` on the quickstart fleet. Without arguments it serves until Ctrl-C; with `--once` it sends
 * requests to every model through the official OpenAI client, prints what it measured and exits. Everything after the
 * first argument it does not know goes to `aim-gpu up`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ask } from './ask.js';
import { startUp } from './start-up.js';

const FLEET = path.resolve(import.meta.dirname, '../fleet.yaml');

const given = process.argv.slice(2);
const once = given.includes('--once');
const passedOn = given.filter((argument) => argument !== '--once');
const ownState = passedOn.includes('--state-dir')
  ? null
  : mkdtempSync(path.join(tmpdir(), 'aim-gpu-quickstart-'));
const args = [
  FLEET,
  '--free-ports',
  ...(ownState === null ? [] : ['--state-dir', ownState]),
  ...passedOn,
];

try {
  process.exitCode = once ? await runOnce(args) : await startUp(args, { inherit: true }).exited;
} finally {
  if (ownState !== null) rmSync(ownState, { recursive: true, force: true });
}

async function runOnce(upArgs: readonly string[]): Promise<number> {
  const up = startUp([...upArgs, '--json'], { inherit: false });
  try {
    const ready = await up.ready;
    const answered = await ask({ baseUrl: `${ready.gateway}/v1`, places: ready.places });
    up.stop();
    const code = await up.exited;
    return answered ? code : 1;
  } finally {
    up.stop();
  }
}
