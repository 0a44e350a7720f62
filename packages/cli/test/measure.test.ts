/**
 * `measure` and what `predict` makes of it, against a small server with a pace of its own.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommandLine } from '../src/program.js';
import { createFakeIo, type FakeIo } from './support/fake-io.js';

let io: FakeIo;
let server: Server | null = null;
beforeEach(() => {
  io = createFakeIo({ ENDPOINT_KEY: 'sesame' });
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  io.remove();
});

const run = (...argv: string[]): Promise<number> => runCommandLine(argv, io);
const json = (): Record<string, unknown> => JSON.parse(io.out()) as Record<string, unknown>;
const MODEL = 'Qwen/Qwen3-1.7B';
const FLEET = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: measured }
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 1 } }
models:
  - { name: small, source: ${MODEL}, maxModelLen: 2048 }
`;

/** Serves models by name and answers tokens, four characters each, two milliseconds apart. */
async function serve(names: readonly string[], withUsage = true): Promise<string> {
  server = createServer((request, response) => {
    if (request.headers.authorization !== 'Bearer sesame') {
      response.writeHead(401).end('who are you?');
      return;
    }
    if (request.url === '/v1/models') {
      response.end(JSON.stringify({ data: names.map((id) => ({ id })) }));
      return;
    }
    let body = '';
    request.on('data', (data) => {
      body += String(data);
    });
    request.on('end', () => {
      const asked = JSON.parse(body) as { max_tokens: number; messages: { content: string }[] };
      const prompt = Math.ceil((asked.messages[0]?.content.length ?? 0) / 4);
      let left = asked.max_tokens;
      const write = (value: unknown): void => {
        response.write(`data: ${JSON.stringify(value)}\n\n`);
      };
      const timer = setInterval(() => {
        write({ choices: [{ delta: { content: 'word' } }] });
        left -= 1;
        if (left > 0) return;
        clearInterval(timer);
        const usage = { prompt_tokens: prompt, completion_tokens: asked.max_tokens };
        if (withUsage) write({ choices: [], usage });
        response.end('data: [DONE]\n\n');
      }, 2);
    });
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const SMALL = [
  ...['--key-env', 'ENDPOINT_KEY', '--prompts', '16,32', '--concurrency', '1,2'],
  ...['--output-len', '8', '--requests', '2'],
];

describe('measure', () => {
  it('writes a calibration that predictions on this host then use', async () => {
    const url = await serve([MODEL]);
    const gpu = ['--gpu', 'MI300X', '--layout', 'QPX/NPS1'];
    const load = ['--input-len', '24', '--output-len', '8', '--concurrency', '2', '--json'];
    expect(await run('measure', `${url}/v1/`, ...gpu, ...SMALL, '--json')).toBe(0);
    const document = json();
    expect(document).toMatchObject({ endpoint: url, model: MODEL });
    expect(document['settings']).toHaveLength(4 + 2);
    const { file, provenance } = document['calibration'] as { file: string; provenance: string };
    expect(file).toBe(path.join(io.directory, 'state/aim-gpu/speed-calibrations/MI300X.vllm.json'));
    expect(provenance).toContain(`${MODEL} at ${url}, host test-host, 20`);
    expect(readFileSync(file, 'utf8')).not.toContain('sesame');

    const predicted = async (...more: string[]): Promise<Record<string, unknown>> => {
      let out = '';
      const writeOut = (text: string): void => {
        out += text;
      };
      const fresh = { ...io, writeOut };
      expect(await runCommandLine(['predict', MODEL, ...gpu, ...load, ...more], fresh)).toBe(0);
      return JSON.parse(out) as Record<string, unknown>;
    };
    const calibrated = await predicted();
    expect(calibrated).toMatchObject({ grade: 'calibrated' });
    expect((calibrated['assumptions'] as string[])[0]).toBe(provenance);
    expect(await predicted('--speed-calibration', file)).toEqual(calibrated);
    expect(await predicted('--speed-calibration', 'none')).toMatchObject({ grade: 'transferred' });
    expect(await predicted('--engine', 'sglang')).not.toMatchObject({ grade: 'calibrated' });
  });

  it('writes a calibration that plans on this host then rest on', async () => {
    const fleet = io.write('fleet.yaml', FLEET);
    const planned = async (): Promise<unknown> => {
      let out = '';
      const writeOut = (text: string): void => {
        out += text;
      };
      expect(await runCommandLine(['plan', fleet, '--json'], { ...io, writeOut })).toBe(0);
      const { placements } = JSON.parse(out) as { placements: { predicted: { tpotMs: number } }[] };
      return placements[0]?.predicted.tpotMs;
    };
    const before = await planned();
    const url = await serve([MODEL]);
    expect(await run('measure', url, '--gpu', 'MI300X', ...SMALL, '--json')).toBe(0);
    expect(await planned()).not.toBe(before);
    // The one that was measured can be damaged: a plan that would silently ignore it is refused.
    const { file } = json()['calibration'] as { file: string };
    writeFileSync(file, '{}');
    expect(await runCommandLine(['plan', fleet], io)).toBe(2);
    expect(io.error()).toContain(`${file} is no speed calibration`);
  });

  it('makes unknown hardware predictable, in words for people', async () => {
    const url = await serve([MODEL]);
    const load = ['--input-len', '24', '--output-len', '8', '--concurrency', '2'];
    expect(await run('predict', MODEL, ...load)).toBe(2);
    expect(await run('measure', url, ...SMALL, '--max-num-seqs', '4')).toBe(0);
    expect(io.out()).toContain('fitted to 4 settings on unknown hardware: TPOT within');
    expect(io.out()).toContain('settings that were not fitted, predicted against measured:');
    expect(await run('predict', MODEL, ...load)).toBe(0);
    expect(io.out()).toContain(`${MODEL} on the measured machine test-host, calibrated`);
  });

  it('goes without checks and writes where it is told', async () => {
    const url = await serve(['mine']);
    const words = ['--config', MODEL, '--no-checks', '--out', 'here.json', '--json'];
    expect(await run('measure', url, ...SMALL, ...words)).toBe(0);
    expect(json()).toMatchObject({ model: 'mine', checks: [] });
    expect(existsSync(path.join(io.directory, 'here.json'))).toBe(true);
  });

  it.each([
    ['several models and no name', ['a', 'b'], [], 'ERR_USAGE', 2],
    ['a model that is not served', ['a'], ['--model', 'b'], 'ERR_MODEL_UNKNOWN', 4],
    ['a key that is not set', ['a'], ['--key-env', 'NO_SUCH'], 'ERR_USAGE', 2],
    ['a key that is refused', ['a'], ['--key-env', 'HOME_KEY'], 'ERR_ENDPOINT_REFUSED', 8],
    ['an engine without a model of speed', ['a'], ['--engine', 'tgi'], 'ERR_USAGE', 2],
    ['lengths that are none', ['a'], ['--prompts', '16,none'], 'ERR_USAGE', 2],
  ] as const)('refuses %s', async (_, names, words, code, exit) => {
    const url = await serve(names);
    io = { ...io, env: { ...io.env, HOME_KEY: 'wrong' } };
    expect(await run('measure', url, ...SMALL, ...words, '--json')).toBe(exit);
    expect(json()['error']).toMatchObject({ code });
  });

  it.each([['ftp://x'], ['http://'], ['http://exa mple']])(
    'refuses the endpoint %s',
    async (url) => {
      expect(await run('measure', url, '--json')).toBe(2);
      expect(json()['error']).toMatchObject({ code: 'ERR_USAGE' });
    },
  );

  it('says that a server counts nothing, and keeps nothing', async () => {
    const url = await serve([MODEL], false);
    expect(await run('measure', url, ...SMALL, '--json')).toBe(6);
    expect(json()['error']).toMatchObject({ code: 'ERR_ENDPOINT_NO_USAGE' });
    expect(existsSync(path.join(io.directory, 'state/aim-gpu/speed-calibrations'))).toBe(false);
  });
});

describe('predict', () => {
  it.each([
    ['text', 'not JSON'],
    ['{}', 'is no speed calibration'],
  ])('refuses a calibration of %s', async (content, words) => {
    const file = path.join(io.directory, 'broken.json');
    writeFileSync(file, content);
    const load = ['--input-len', '24', '--output-len', '8', '--concurrency', '2'];
    expect(await run('predict', MODEL, ...load, '--speed-calibration', file, '--json')).toBe(2);
    expect(json()['error']).toMatchObject({ code: 'ERR_CONFIG_INVALID' });
    expect((json()['error'] as { message: string }).message).toContain(words);
  });

  it.each([
    ['a context beyond the model', ['--input-len', '500000'], 'ERR_PREDICT_INVALID', 2],
    ['a context beyond the engine', ['--max-model-len', '256'], 'ERR_PREDICT_INVALID', 2],
    ['clients without number', ['--concurrency', '9999999999'], 'ERR_PREDICT_INVALID', 2],
    ['no answer', ['--output-len', '0'], 'ERR_USAGE', 2],
    ['a negative load', ['--concurrency', '-1'], 'ERR_USAGE', 2],
    [
      'weights beyond the partition',
      ['--dtype', 'fp32', '--total-memory', '1GiB'],
      'ERR_DOES_NOT_FIT',
      6,
    ],
  ] as const)('refuses %s', async (_, words, code, exit) => {
    const place = ['--gpu', 'MI300X', '--layout', 'CPX/NPS4'];
    const load = ['--input-len', '512', '--output-len', '128', '--concurrency', '8'];
    expect(await run('predict', MODEL, ...place, ...load, ...words, '--json')).toBe(exit);
    expect(json()['error']).toMatchObject({ code });
  });

  it('refuses a load above what the partition serves', async () => {
    const load = ['--input-len', '512', '--output-len', '128', '--request-rate', '10000'];
    expect(await run('predict', MODEL, '--gpu', 'MI300X', ...load, '--json')).toBe(6);
    expect(json()['error']).toMatchObject({ code: 'ERR_DOES_NOT_FIT' });
  });

  it('draws TPOT against concurrency', async () => {
    const load = ['--input-len', '512', '--output-len', '128', '--concurrency', '8'];
    expect(await run('predict', MODEL, '--gpu', 'MI300X', ...load, '--plot', 'plot.svg')).toBe(0);
    expect(readFileSync(path.join(io.directory, 'plot.svg'), 'utf8')).toMatch(/^<svg /);
  });
});
