#!/usr/bin/env node
// `aim-gpu measure` against a real engine: llama-server on this machine's processor, hardware that the speed model
// knows nothing about. The calibration has to bring the predicted TPOT within 20 % on settings that were not fitted,
// and `predict` has to follow it. Ends with 75 when llama-server cannot be had here (tools/get-llama-server.mjs).
//
// The machine may be busy with other things, which no model of speed can know: the server and the client run at raised
// priority (the server before everything else), figures are medians over rounds, and a sweep that was disturbed may be taken again, three times in all.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { cpus, loadavg, setPriority, tmpdir } from 'node:os';
import path from 'node:path';
import { getLlamaServer, UNAVAILABLE } from '../../../tools/get-llama-server.mjs';
import { startLlamaServer } from '../../../tools/llama-server.mjs';
import { writeMicroGguf } from '../../../tools/micro-gguf.mjs';
import { buildQuietly, runCommand } from '../../../tools/run-command.mjs';

const TOLERANCE_PERCENT = 20;
const ATTEMPTS = 3;
const SLOTS = 8;
const NICE = -10;
/** Load a core above which another program decides what is measured. */
const BUSY = 2;
const root = path.resolve(import.meta.dirname, '../../..');
const command = path.join(root, 'packages/cli/bin/aim-gpu.mjs');

const got = await getLlamaServer();
if (!got.ok) {
  console.log(got.reason);
  process.exit(UNAVAILABLE);
}
if (!existsSync(path.join(root, 'packages/cli/dist/main.js'))) assert.ok(await buildQuietly());
setPriority(NICE);
const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-measure-'));
const model = path.join(directory, 'micro.gguf');
const size = writeMicroGguf(model, {
  ...{ kind: 'random', hiddenSize: 128, layers: 4, heads: 8, kvHeads: 4, feedForward: 1024 },
});
console.log(
  `llama-server ${got.version}, ${size.parameters} parameters, load ${loadavg()[0]?.toFixed(1)}`,
);
const server = await startLlamaServer({
  ...{ tree: got.tree, modelFile: model, name: 'micro', slots: SLOTS, realtime: true },
  contextTokens: SLOTS * 2048,
});
try {
  const measured = await measureUntilCalm(server.url);
  if (measured !== null) {
    const setting = ['--input-len', '100', '--output-len', '48', '--concurrency', '4'];
    const predicted = await run(['predict', model, ...setting, '--engine', 'llama.cpp']);
    assert.equal(predicted.grade, 'calibrated');
    assert.equal(predicted.assumptions[0], measured.calibration.provenance);
    console.log(
      `predict: TPOT ${predicted.tpotMs.mean.toFixed(2)} ms, ${predicted.assumptions[0]}`,
    );
  }
} finally {
  await server.stop();
  rmSync(directory, { recursive: true, force: true });
}

/** @param {string} url */
async function measureUntilCalm(url) {
  const sweep = ['--prompts', '24,64,144', '--concurrency', '1,3,8', '--output-len', '64'];
  const effort = ['--requests', '3', '--rounds', '3', '--max-num-seqs', String(SLOTS)];
  let worst = Number.POSITIVE_INFINITY;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const words = ['measure', url, '--config', model, '--engine', 'llama.cpp'];
    const measured = await run([...words, ...sweep, ...effort]);
    assert.equal(measured.settings.length, 9 + measured.checks.length);
    assert.ok(measured.checks.length >= 3);
    worst = 0;
    for (const check of measured.checks) {
      const { promptTokens, outputTokens, concurrency, errorPercent } = check;
      const errors = Object.entries(errorPercent).map(
        ([key, percent]) =>
          `${key} ${check.predicted[key].toFixed(1)} / ${check.measured[key].toFixed(1)} (${percent.toFixed(1)} %)`,
      );
      console.log(
        `attempt ${attempt}, not fitted: ${promptTokens.toFixed(0)}/${outputTokens.toFixed(0)} × ${concurrency}: ${errors.join(', ')}`,
      );
      worst = Math.max(worst, Math.abs(errorPercent.tpotMs));
    }
    const { tpotErrorPercent, ttftErrorPercent } = measured.calibration;
    console.log(
      `attempt ${attempt}, fitted: median TPOT ${tpotErrorPercent.toFixed(1)} %, TTFT ${ttftErrorPercent.toFixed(1)} %; load ${loadavg()[0]?.toFixed(1)}`,
    );
    if (worst <= TOLERANCE_PERCENT) return measured;
  }
  const load = loadavg()[0] ?? 0;
  if (load > BUSY * cpus().length) {
    console.log(
      `nothing can be measured here now: load ${load.toFixed(1)} on ${cpus().length} cores`,
    );
    process.exitCode = UNAVAILABLE;
    return null;
  }
  throw new Error(`TPOT is off by ${worst.toFixed(1)} % on a setting that was not fitted`);
}

/** @param {readonly string[]} words */
async function run(words) {
  const state = ['--json', '--state-dir', path.join(directory, 'state')];
  const { code, output } = await runCommand(process.execPath, [command, ...words, ...state], {
    capture: true,
    timeoutMs: 120_000,
  });
  assert.equal(code, 0, output);
  return JSON.parse(output.slice(output.lastIndexOf('\n{') + 1).trim());
}
