/**
 * Commands in process: output, exit codes and errors, as text and as JSON.
 */
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommandLine } from '../src/program.js';
import { createFakeIo, type FakeIo, SMALL_FLEET } from './support/fake-io.js';

let io: FakeIo;
beforeEach(() => {
  io = createFakeIo();
});
afterEach(() => io.remove());

const run = (...argv: string[]): Promise<number> => runCommandLine(argv, io);
const json = (): Record<string, unknown> => JSON.parse(io.out()) as Record<string, unknown>;
const error = (): Record<string, unknown> => json()['error'] as Record<string, unknown>;

describe('usage', () => {
  const MISTAKES: readonly (readonly string[])[] = [
    [],
    ['frobnicate'],
    ['plan'],
    ['plan', 'fleet.yaml', '--frobnicate'],
    ['down', '--timeout', 'soon'],
    ['gpus', '--driver', 'cuda'],
    ['size', 'Qwen/Qwen3-8B', '--max-num-seqs', 'many'],
    ['size', 'Qwen/Qwen3-8B', '--layout', 'CPX/NPS4'],
    ['size', 'Qwen/Qwen3-8B', '--gpu', 'MI300X', '--layout', 'CPX'],
    ['size', 'Qwen/Qwen3-8B', '--total-memory', 'lots'],
    ['size', 'Qwen/Qwen3-8B', '--platform', 'metal'],
    ['predict', 'Qwen/Qwen3-8B', '--gpu', 'MI300X'],
    ['predict', 'Qwen/Qwen3-8B', '--gpu', 'MI300X', '--input-len', '8', '--output-len', '8'],
    ['predict', 'Qwen/Qwen3-8B', '--input-len', '8', '--output-len', '8', '--concurrency', '1'],
    [
      'predict',
      'Qwen/Qwen3-8B',
      '--gpu',
      'MI300X',
      '--input-len',
      '8',
      '--output-len',
      '8',
      '--concurrency',
      '1',
      '--lengths',
      'any',
    ],
    [
      'predict',
      'Qwen/Qwen3-8B',
      '--gpu',
      'MI300X',
      '--input-len',
      '8',
      '--output-len',
      '8',
      '--concurrency',
      '1',
      '--with',
      'x',
    ],
    ['profile', 'generate', 'Qwen/Qwen3-8B', '--gpu', 'MI300X', '--metric', 'best'],
    ['profile', 'generate', 'Qwen/Qwen3-8B'],
  ];

  it.each(MISTAKES)('%s %s %s %s: ERR_USAGE, exit 2', async (...argv) => {
    expect(await run(...argv, '--json')).toBe(2);
    expect(error()).toMatchObject({ code: 'ERR_USAGE', kind: 'invalid' });
    expect(error()['hint']).toMatch(/\S/);
  });

  it('is told to people on stderr, without a stack', async () => {
    expect(await run('plan')).toBe(2);
    expect(io.out()).toBe('');
    expect(io.error()).toMatch(
      /^error: missing required argument 'fleet'\nhint: see `aim-gpu plan --help`\n$/,
    );
  });

  it('shows the stack with --debug', async () => {
    expect(await run('gpus', '--driver', 'cuda', '--debug')).toBe(2);
    expect(io.error()).toMatch(/\n\s+at /);
  });

  const COMMANDS = [
    '',
    'validate',
    'plan',
    'up',
    'status',
    'down',
    'gpus',
    'size',
    'fit',
    'predict',
    'measure',
    'profile',
    'profile generate',
    'profile validate',
  ];
  it.each(COMMANDS)('--help of "%s" has an example', async (words) => {
    expect(await run(...words.split(' ').filter((word) => word !== ''), '--help')).toBe(0);
    expect(io.out()).toContain('Example:\n  $ aim-gpu ');
  });

  it('knows its version', async () => {
    expect(await run('--version')).toBe(0);
    expect(io.out()).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('validate', () => {
  it('prints the file with every default', async () => {
    const file = io.write('fleet.yaml', SMALL_FLEET);
    expect(await run('validate', file, '--json')).toBe(0);
    const models = json()['models'] as Record<string, unknown>[];
    expect(models[0]).toMatchObject({
      name: 'tiny',
      band: 'standard',
      maxModelLen: 2048,
      concurrency: 2,
    });
  });

  it('fills in the longest context of a model that does not say', async () => {
    const file = io.write('fleet.yaml', SMALL_FLEET.replace(', maxModelLen: 2048', ''));
    expect(await run('validate', file, '--json')).toBe(0);
    expect((json()['models'] as Record<string, unknown>[])[0]).toMatchObject({
      maxModelLen: 32_768,
    });
  });

  it('says so to people', async () => {
    io.write('fleet.yaml', SMALL_FLEET);
    expect(await run('validate', 'fleet.yaml')).toBe(0);
    expect(io.out()).toBe('fleet.yaml: valid, 1 model on 1 node\n');
  });

  it('shows the line with a caret and one fix', async () => {
    io.write('fleet.yaml', SMALL_FLEET.replace('concurrency', 'concurency'));
    expect(await run('validate', 'fleet.yaml')).toBe(2);
    expect(io.error()).toContain('^');
    expect(io.error()).toMatch(/at .*fleet\.yaml:7:\d+/);
    expect(io.error().match(/^hint: /gm)).toHaveLength(1);
  });

  it('warns of a key whose variable is unset, without its value ever being read', async () => {
    io.write(
      'fleet.yaml',
      `${SMALL_FLEET}tenants:\n  - { name: a, keys: [{ env: NO_SUCH_KEY }] }\n`,
    );
    expect(await run('validate', 'fleet.yaml')).toBe(0);
    expect(io.error()).toContain('NO_SUCH_KEY');
  });
});

describe('plan and gpus', () => {
  it('plans without changing the machine', async () => {
    io.write('fleet.yaml', SMALL_FLEET);
    expect(await run('plan', 'fleet.yaml', '--json')).toBe(0);
    expect(json()).toMatchObject({ kind: 'Plan', unplaced: [], changes: [] });
    const fresh = createFakeIo({ XDG_STATE_HOME: path.join(io.directory, 'state') });
    expect(await runCommandLine(['gpus', '--driver', 'simulated', '--json'], fresh)).toBe(4);
    fresh.remove();
  });

  it('prints a table and the reasons', async () => {
    io.write('fleet.yaml', SMALL_FLEET);
    expect(await run('plan', 'fleet.yaml')).toBe(0);
    expect(io.out()).toMatch(/INSTANCE +CARD\/PARTITION/);
    expect(io.out()).toContain('tiny-0: best fit');
  });

  it('prints what has no place and exits 6', async () => {
    io.write(
      'fleet.yaml',
      SMALL_FLEET.replace('meta-llama/Llama-3.2-1B-Instruct', 'deepseek-ai/DeepSeek-R1'),
    );
    expect(await run('plan', 'fleet.yaml')).toBe(6);
    expect(io.out()).toContain('no place for');
  });

  it('lists the cards of a fleet as read back', async () => {
    io.write('fleet.yaml', SMALL_FLEET);
    expect(await run('gpus', 'fleet.yaml', '--json')).toBe(0);
    const { cards, problems } = json() as { cards: Record<string, unknown>[]; problems: unknown[] };
    expect(problems).toEqual([]);
    expect(Object.keys(cards[0] ?? {})).toEqual([
      'id',
      'product',
      'hive',
      'numaNode',
      'memoryBytes',
      'layout',
      'partitions',
    ]);
  });

  it('lists them as a table', async () => {
    io.write('fleet.yaml', SMALL_FLEET);
    expect(await run('gpus', 'fleet.yaml')).toBe(0);
    expect(io.out()).toMatch(/MI300X +SPX\/NPS1 +0 +8 +304 +192\.0 GiB/);
  });

  it('finds no card on a host without amdgpu: exit 4', async () => {
    expect(await run('gpus', '--driver', 'rocm', '--root', '.', '--json')).toBe(4);
    expect(error()).toMatchObject({ code: 'ERR_DEVICE_UNKNOWN' });
  });
});

describe('sizing', () => {
  it('sizes a model: every field of the contract', async () => {
    expect(
      await run('size', 'Qwen/Qwen3-8B', '--gpu', 'MI300X', '--layout', 'CPX/NPS1', '--json'),
    ).toBe(0);
    expect(Object.keys(json())).toEqual(
      expect.arrayContaining([
        'parameters',
        'perRank',
        'ranks',
        'kv',
        'fits',
        'confidence',
        'approximate',
        'assumptions',
        'warnings',
      ]),
    );
    expect((json()['parameters'] as Record<string, unknown>)['total']).toBe(8_190_735_360);
  });

  it('knows neither pool nor fit without a memory size', async () => {
    expect(await run('size', 'Qwen/Qwen3-8B', '--json')).toBe(0);
    expect(json()).toMatchObject({
      fits: null,
      kv: { tokens: null, blocks: null },
      perRank: { kvPoolBytes: null },
    });
  });

  it('takes vLLM’s spellings and short ones alike', async () => {
    expect(await run('size', 'Qwen/Qwen3-8B', '--dtype', 'half', '--json')).toBe(0);
    const half = io.out();
    const other = createFakeIo();
    expect(
      await runCommandLine(['size', 'Qwen/Qwen3-8B', '--dtype', 'fp16', '--json'], other),
    ).toBe(0);
    expect(other.out()).toBe(half);
    other.remove();
  });

  it('explains each byte to people', async () => {
    expect(await run('size', 'Qwen/Qwen3-8B', '--total-memory', '79.19GiB')).toBe(0);
    expect(io.out()).toMatch(/weights/);
  });

  it('reads formulas of the user’s own', async () => {
    io.write('formulas.yaml', 'formulas: { activation: "0.05 * weights + 512 MiB" }\n');
    expect(
      await run(
        'size',
        'Qwen/Qwen3-8B',
        '--total-memory',
        '48GiB',
        '--formulas',
        'formulas.yaml',
        '--json',
      ),
    ).toBe(0);
    const { activationBytes, weightsBytes } = json()['perRank'] as {
      activationBytes: number;
      weightsBytes: number;
    };
    expect(activationBytes / (0.05 * weightsBytes + 512 * 2 ** 20)).toBeCloseTo(1, 6);
  });

  it.each([
    [['size', './none.json'], 4, 'ERR_FILE_MISSING'],
    [['size', 'Qwen/Qwen9-8B'], 4, 'ERR_MODEL_UNKNOWN'],
    [['size', 'Qwen/Qwen3-8B', '--gpu', 'MI999'], 2, 'ERR_CONFIG_INVALID'],
    [
      ['size', 'Qwen/Qwen3-8B', '--gpu', 'MI300X', '--layout', 'TPX/NPS1'],
      6,
      'ERR_LAYOUT_UNSUPPORTED',
    ],
    [['size', 'Qwen/Qwen3-8B', '--quantization', 'int3'], 2, 'ERR_CONFIG_INVALID'],
    [['size', 'Qwen/Qwen3-8B', '--formulas', 'none.yaml'], 4, 'ERR_FILE_MISSING'],
  ] as const)('%j: exit %i, %s', async (argv, exit, code) => {
    expect(await run(...argv, '--json')).toBe(exit);
    expect(error()).toMatchObject({ code });
  });

  it('fits a model on every layout of a product', async () => {
    expect(
      await run(
        'fit',
        'Qwen/Qwen3-32B-FP8',
        '--gpu',
        'MI300X',
        '--max-model-len',
        '8192',
        '--json',
      ),
    ).toBe(0);
    const { product, layouts } = json() as { product: string; layouts: Record<string, unknown>[] };
    expect(product).toBe('MI300X');
    expect(layouts.filter((layout) => layout['fits']).map((layout) => layout['layout'])).toEqual([
      'SPX/NPS1',
      'DPX/NPS1',
      'DPX/NPS2',
      'QPX/NPS1',
      'QPX/NPS4',
    ]);
  });

  it('exits 6 when no layout holds it, and says why', async () => {
    expect(await run('fit', 'deepseek-ai/DeepSeek-R1', '--gpu', 'MI300X')).toBe(6);
    expect(io.out()).toContain('SPX/NPS1: weights take');
  });
});

describe('predict', () => {
  const LENGTHS = ['--input-len', '512', '--output-len', '128'];

  it('gives values with their band, grade and assumptions', async () => {
    const place = ['--gpu', 'MI300X', '--layout', 'QPX/NPS1'];
    expect(
      await run('predict', 'Qwen/Qwen3-8B', ...place, ...LENGTHS, '--concurrency', '4', '--json'),
    ).toBe(0);
    const { tpotMs, grade, assumptions } = json() as {
      tpotMs: { mean: number; low: number; high: number };
      grade: string;
      assumptions: string[];
    };
    expect(tpotMs.low).toBeLessThan(tpotMs.mean);
    expect(tpotMs.high).toBeGreaterThan(tpotMs.mean);
    expect(grade).toMatch(/\S/);
    expect(assumptions.length).toBeGreaterThan(0);
  });

  it('is slower beside a busy neighbour', async () => {
    const tpot = async (...more: string[]): Promise<number> => {
      const each = createFakeIo();
      const argv = [
        'predict',
        'Qwen/Qwen3-8B',
        '--gpu',
        'MI300X',
        ...LENGTHS,
        '--request-rate',
        '0.5',
        ...more,
        '--json',
      ];
      expect(await runCommandLine(argv, each)).toBe(0);
      each.remove();
      return (JSON.parse(each.out()) as { tpotMs: { mean: number } }).tpotMs.mean;
    };
    expect(await tpot('--with', 'Qwen/Qwen3-1.7B:4')).toBeGreaterThan((await tpot()) * 1.05);
  });

  it('writes a plot', async () => {
    const argv = [
      '--gpu',
      'MI300X',
      ...LENGTHS,
      '--concurrency',
      '4',
      '--lengths',
      'uniform:0.8',
      '--plot',
      'curve.svg',
    ];
    expect(await run('predict', 'Qwen/Qwen3-8B', ...argv)).toBe(0);
    expect(io.out()).toMatch(/TPOT +\d/);
  });

  it.each([
    [['Qwen/Qwen3-32B', '--layout', 'CPX/NPS1', '--concurrency', '1'], 'ERR_DOES_NOT_FIT'],
    [['Qwen/Qwen3-8B', '--request-rate', '10000'], 'ERR_DOES_NOT_FIT'],
  ] as const)('refuses %j', async (argv, code) => {
    expect(await run('predict', ...argv, '--gpu', 'MI300X', ...LENGTHS, '--json')).toBe(6);
    expect(error()).toMatchObject({ code });
  });
});

describe('profile', () => {
  it('generates a profile that validates', async () => {
    const argv = [
      'profile',
      'generate',
      'Qwen/Qwen3-32B',
      '--gpu',
      'MI300X',
      '--layout',
      'DPX/NPS1',
      '--out',
      'profiles',
    ];
    expect(await run(...argv)).toBe(0);
    const file = io.out().split(',')[0] ?? '';
    const other = createFakeIo();
    expect(await runCommandLine(['profile', 'validate', file, '--json'], other)).toBe(0);
    expect(JSON.parse(other.out())).toMatchObject({ results: [{ file, valid: true, errors: [] }] });
    other.remove();
  });

  it('prints it without --out', async () => {
    expect(
      await run(
        'profile',
        'generate',
        'Qwen/Qwen3-8B',
        '--gpu',
        'MI300X',
        '--layout',
        'QPX/NPS1',
        '--metric',
        'latency',
      ),
    ).toBe(0);
    expect(io.out()).toContain('engine_args:');
  });

  it('refuses a model that cannot run there', async () => {
    expect(
      await run(
        'profile',
        'generate',
        'Qwen/Qwen3-32B',
        '--gpu',
        'MI300X',
        '--layout',
        'CPX/NPS1',
        '--json',
      ),
    ).toBe(6);
    expect(error()).toMatchObject({ code: 'ERR_DOES_NOT_FIT' });
  });

  it('exits 2 for an invalid profile', async () => {
    io.write('broken.yaml', 'aim_id: x\n');
    expect(await run('profile', 'validate', 'broken.yaml')).toBe(2);
    expect(io.out()).toContain('broken.yaml: invalid');
  });
});

describe('without an agent', () => {
  it.each(['status', 'down'])('%s: ERR_AGENT_NOT_RUNNING, exit 4', async (command) => {
    expect(await run(command, '--json')).toBe(4);
    expect(error()).toMatchObject({ code: 'ERR_AGENT_NOT_RUNNING' });
  });
});
