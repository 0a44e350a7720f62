/** `aim-gpu top` over the running quickstart: models with their figures, in 80 columns and as one JSON document. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createPlace, type Place, QUICKSTART, run } from './support/command.js';
import { type Running, startUp } from './support/running.js';

const MODELS = ['assistant', 'coder', 'writer', 'guard', 'drafts'];

interface Top {
  readonly models: readonly {
    readonly model: string;
    readonly band: string;
    readonly running: number;
    readonly limited: number;
    readonly tokensPerSecond: number | null;
    readonly bands: readonly {
      readonly band: string;
      readonly waiting: number;
      readonly ttftMs: { readonly p50: number | null; readonly p99: number | null };
      readonly tpotMs: { readonly p50: number | null; readonly p99: number | null };
      readonly attainment: number | null;
      readonly burn: number | null;
    }[];
  }[];
  readonly instances: readonly unknown[];
}

let place: Place;
let up: Running;
beforeAll(async () => {
  place = createPlace();
  up = await startUp(QUICKSTART, place.stateDirectory);
}, 60_000);
afterAll(async () => {
  expect(await up.stop()).toBe(0);
  place.remove();
}, 30_000);

const top = (...args: readonly string[]) =>
  run(['top', ...args, '--state-dir', place.stateDirectory]);

function ask(max: number): Promise<Response> {
  return fetch(`${up.ready.gateway}/v1/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'assistant', prompt: 'hello', max_tokens: max, stream: true }),
  });
}

it('shows streams, queues, times, tokens, SLO and burn of each model while requests run', async () => {
  for (let index = 0; index < 3; index += 1) await (await ask(8)).text();
  const running = [await ask(2_000), await ask(2_000)];
  const { models, instances } = JSON.parse((await top('--json')).stdout) as Top;
  expect(models.map(({ model }) => model).sort()).toEqual([...MODELS].sort());
  expect(instances).toHaveLength(MODELS.length);
  const assistant = models.find(({ model }) => model === 'assistant');
  expect(assistant).toMatchObject({ band: 'interactive', running: 2, limited: 0 });
  expect(assistant?.tokensPerSecond).toBeGreaterThan(0);
  const band = assistant?.bands.find(({ band: name }) => name === 'interactive');
  expect(band?.waiting).toBe(0);
  expect(band?.ttftMs.p50).toBeGreaterThan(0);
  expect(band?.ttftMs.p99).toBeGreaterThanOrEqual(band?.ttftMs.p50 ?? Number.NaN);
  expect(band?.tpotMs.p50).toBeGreaterThan(0);
  expect(band?.attainment).toBeGreaterThanOrEqual(0);
  expect(band?.burn).toBeGreaterThanOrEqual(0);

  const { code, stdout } = await top('--once');
  expect(code).toBe(0);
  const lines = stdout.split('\n');
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(80);
  expect(lines.find((line) => line.startsWith('MODEL'))).toMatch(
    /RUN +QUEUE c\/i\/s\/b\/e +TTFT +TPOT +TOK\/S +SLO +BURN +LIM/,
  );
  expect(lines.find((line) => line.startsWith('assistant '))).toMatch(
    /^assistant +2 +0\/0\/0\/0\/0 +\d\S*\/\d\S* +\d\S*\/\d\S* +\d\S* +\d+% +\d+\.\d +0$/,
  );
  for (const response of running) await response.body?.cancel();
}, 30_000);
