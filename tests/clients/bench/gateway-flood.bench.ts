// Interactive requests while batch floods the same model of the running quickstart: TTFT against an idle machine, and
// what batch keeps of the capacity. Engines are the simulated ones, so the machine's own load adds to every figure.
// Capacity is what the same streams get in the model's own band, from which nothing is held back; it is measured last,
// because it makes the model look busy with urgent requests. `--seconds N` sets the length of each part, 30 unless given.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import OpenAI from 'openai';
import type { Bench } from '../../../tools/bench.js';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const MODEL = 'assistant';
const FLOOD_STREAMS = 48;
const EVERY_MS = 250;

interface Up {
  readonly child: ChildProcess;
  readonly url: string;
}

async function up(state: string): Promise<Up> {
  const args = ['up', path.join(ROOT, 'examples/quickstart/fleet.yaml')];
  const flags = ['--free-ports', '--json', '--state-dir', state];
  const command = path.join(ROOT, 'packages/cli/bin/aim-gpu.mjs');
  const child = spawn(process.execPath, [command, ...args, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const url = await new Promise<string>((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += String(chunk);
      for (const line of text.split('\n').slice(0, -1)) {
        const event = JSON.parse(line) as { event?: string; gateway?: string };
        if (event.event === 'ready' && event.gateway !== undefined) resolve(event.gateway);
      }
    });
    child.once('exit', () => reject(new Error('up ended before it was ready')));
  });
  return { child, url };
}

/** One stream: milliseconds to its first content, and how many events it had. */
async function stream(
  client: OpenAI,
  band: string | null,
  tokens: number,
  onToken: () => void,
): Promise<number> {
  const start = performance.now();
  const answer = await client.chat.completions.create(
    {
      model: MODEL,
      messages: [{ role: 'user', content: 'x'.repeat(800) }],
      max_tokens: tokens,
      stream: true,
    },
    band === null ? {} : { headers: { 'x-aim-band': band } },
  );
  let firstMs = Number.NaN;
  for await (const chunk of answer) {
    if (!chunk.choices[0]?.delta.content) continue;
    if (Number.isNaN(firstMs)) firstMs = performance.now() - start;
    onToken();
  }
  return firstMs;
}

async function interactive(
  client: OpenAI,
  seconds: number,
  onToken: () => void,
): Promise<number[]> {
  const asked: Promise<number>[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    asked.push(stream(client, null, 24, onToken));
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
  return (await Promise.all(asked)).sort((a, b) => a - b);
}

/** Keeps streams open until the returned function is called; it resolves when all have ended. */
function flood(client: OpenAI, band: string | null, onToken: () => void): () => Promise<unknown> {
  let isOver = false;
  const work = async (): Promise<void> => {
    while (!isOver) await stream(client, band, 128, onToken).catch(() => undefined);
  };
  const all = Promise.all(Array.from({ length: FLOOD_STREAMS }, work));
  return () => {
    isOver = true;
    return all;
  };
}

const pause = (seconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** The flood. */
export const bench: Bench = {
  name: 'gateway-flood',
  summary: 'interactive TTFT and batch throughput on the running quickstart under a batch flood',
  run: async ({ full, values, log }) => {
    const { seconds: text = full ? '120' : '30', ...unknown } = values;
    const [surplus] = Object.keys(unknown);
    if (surplus !== undefined) throw new Error(`there is no option --${surplus}`);
    const seconds = Number(text);
    if (!(seconds >= 1)) throw new Error(`--seconds ${text} is no length`);
    const state = mkdtempSync(path.join(tmpdir(), 'aim-gpu-flood-'));
    const { child, url } = await up(state);
    const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });
    try {
      let urgent = 0;
      let batch = 0;
      await interactive(client, 5, () => undefined);
      const alone = await interactive(client, seconds, () => undefined);
      log(`alone: p99 ${quantile(alone, 0.99).toFixed(1)} ms of ${alone.length}`);
      const stop = flood(client, 'batch', () => {
        batch += 1;
      });
      await pause(5);
      batch = 0;
      await pause(seconds);
      const batchAlone = batch / seconds;
      log(`batch alone: ${batchAlone.toFixed(0)} tokens/s`);
      batch = 0;
      const asked = interactive(client, seconds, () => {
        urgent += 1;
      });
      // Both are counted in the time in which interactive requests come, not until the last of them has ended.
      await pause(seconds);
      const kept = batch / seconds;
      const urgentRate = urgent / seconds;
      const during = await asked;
      await stop();
      let all = 0;
      const stopAll = flood(client, null, () => {
        all += 1;
      });
      await pause(5);
      all = 0;
      await pause(seconds);
      // What batch alone was given is no less a measure of what the engine can do.
      const capacity = Math.max(all / seconds, batchAlone);
      await stopAll();
      const left = capacity - urgentRate;
      const ratio = quantile(during, 0.99) / quantile(alone, 0.99);
      const share = kept / left;
      const results = [
        { name: 'TTFT p50 alone, ms', value: quantile(alone, 0.5) },
        { name: 'TTFT p99 alone, ms', value: quantile(alone, 0.99) },
        { name: 'TTFT p50 in the flood, ms', value: quantile(during, 0.5) },
        { name: 'TTFT p99 in the flood, ms', value: quantile(during, 0.99) },
        { name: 'TTFT p99, ratio (goal ≤ 2)', value: ratio },
        { name: 'capacity, tokens/s', value: capacity },
        { name: 'batch tokens/s alone', value: batchAlone },
        { name: 'batch tokens/s beside interactive', value: kept },
        { name: 'interactive tokens/s', value: urgentRate },
        { name: 'batch of what is left, ratio (goal ≥ 0.9)', value: share },
        { name: 'the same of batch alone, ratio', value: kept / (batchAlone - urgentRate) },
        { name: 'load of the machine', value: loadavg()[0] ?? 0 },
      ];
      const failures = [
        ...(ratio <= 2 ? [] : [`interactive TTFT p99 is ${ratio.toFixed(2)} × unloaded, goal 2`]),
        ...(share >= 0.9 ? [] : [`batch keeps ${share.toFixed(2)} of what is left, goal 0.9`]),
      ];
      return { results, failures };
    } finally {
      child.kill('SIGINT');
      await once(child, 'exit');
      rmSync(state, { recursive: true, force: true });
    }
  },
};
