import { AimError } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import { type MeasuredRow, predictableRows } from '../bench/measured-rows.js';
import { calibrate, parseCalibration, parseStartupLog, sizeModel } from '../src/index.js';
import { committed } from './fixtures.js';

const GIB = 2 ** 30;

/** The lines a vLLM log of that run has, from the measured terms. */
function logOf(row: MeasuredRow): string {
  return [
    `Initializing a V1 LLM engine (v${row.version}) with config: model='${row.model}'`,
    `Memory profiling takes 3.21 seconds. Total non KV cache memory: 17.13GiB; torch peak memory increase: ${row.activationGib}GiB; non-torch forward increase memory: ${row.nonTorchGib}GiB; weights memory: ${row.weightsGib}GiB.`,
    `Available KV cache memory: ${row.kvGib} GiB`,
    `GPU KV cache size: ${row.kvTokens?.toLocaleString('en-US')} tokens`,
    `Graph capturing finished in 21 secs, took ${row.graphGib} GiB`,
  ].join('\n');
}

const { rows } = predictableRows();
const byLine = (line: number) => {
  const found = rows.find((one) => one.row.line === line);
  if (found === undefined) throw new Error(`no row ${line}`);
  return found;
};

describe('start-up logs', () => {
  test('vLLM V1', () => {
    const log = parseStartupLog(logOf(byLine(11).row));
    expect(log).toMatchObject({
      engine: 'vllm',
      version: '0.19.0',
      model: 'meta-llama/Llama-3.1-8B-Instruct',
      kvTokens: 476_000,
      weightsBytes: Math.round(14.99 * GIB),
      graphBytes: Math.round(0.91 * GIB),
    });
  });

  test('vLLM V0', () => {
    const log = parseStartupLog(
      'vLLM: the current vLLM instance can use total_gpu_memory (191.98GiB) x gpu_memory_utilization (0.80) = 153.58GiB\nmodel weights take 15.30GiB; non_torch_memory takes 0.66GiB; PyTorch activation peak memory takes 14.63GiB; the rest of the memory reserved for KV Cache is 122.99GiB.',
    );
    expect(log).toMatchObject({
      totalMemoryBytes: Math.round(191.98 * GIB),
      gpuMemoryUtilization: 0.8,
      activationBytes: Math.round(14.63 * GIB),
      kvPoolBytes: Math.round(122.99 * GIB),
    });
  });

  test('SGLang', () => {
    const log = parseStartupLog(
      'Load weight end. type=LlamaForCausalLM, dtype=torch.bfloat16, avail mem=63.48 GB, mem usage=15.11 GB.\nKV Cache is allocated. #tokens: 442750, K size: 27.02 GB, V size: 27.02 GB\nCapture cuda graph end. Time elapsed: 3 s. mem usage=0.50 GB. avail mem=8 GB.',
    );
    expect(log).toMatchObject({
      engine: 'sglang',
      kvTokens: 442_750,
      weightsBytes: Math.round(15.11 * GIB),
      kvPoolBytes: 2 * Math.round(27.02 * GIB),
    });
  });

  test('other text says nothing', () => {
    expect(parseStartupLog('hello')).toMatchObject({
      engine: null,
      weightsBytes: null,
      kvPoolBytes: null,
    });
  });
});

describe('calibration', () => {
  // Every pair is two runs on the same kind of host; the first is calibrated on, the second predicted.
  test.each([
    ['granite 3.3 8B from granite 3.1 2B', 8, 9],
    ['Qwen2.5-72B from Kimi-Dev-72B, two ranks', 22, 28],
    ['gpt-oss at another utilization, two ranks', 25, 26],
    ['Mistral-Small w8a8 from Mistral-Small bf16', 20, 36],
  ])('%s: the KV pool gets closer', (_name, from, to) => {
    const source = byLine(from);
    const target = byLine(to);
    const calibration = calibrate(
      source.config,
      source.options,
      parseStartupLog(logOf(source.row)),
      'host log',
    );
    const error = (options: typeof target.options): number =>
      Math.abs(
        (sizeModel(target.config, options).perRank.kvPoolBytes ?? 0) /
          ((target.row.kvGib ?? 1) * GIB) -
          1,
      );
    expect(error({ ...target.options, calibration })).toBeLessThan(error(target.options));
    expect(
      sizeModel(target.config, { ...target.options, calibration }).assumptions.join(),
    ).toContain('host log');
  });

  test('over every pair of runs of one shape on the same hosts the mean error falls', () => {
    const host = rows.filter(
      ({ row }) => row.version === '0.19.0' && row.gpu.startsWith('H100') && row.totalGib !== null,
    );
    let before = 0;
    let after = 0;
    let pairs = 0;
    for (const source of host) {
      const calibration = calibrate(
        source.config,
        source.options,
        parseStartupLog(logOf(source.row)),
      );
      for (const target of host) {
        const sameRun = source === target || source.row.tensor !== target.row.tensor;
        if (sameRun || source.file !== target.file || source.options.dtype !== target.options.dtype)
          continue;
        const error = (options: typeof target.options): number =>
          Math.abs(
            (sizeModel(target.config, options).perRank.kvPoolBytes ?? 0) /
              ((target.row.kvGib ?? 1) * GIB) -
              1,
          );
        before += error(target.options);
        after += error({ ...target.options, calibration });
        pairs += 1;
      }
    }
    expect(pairs).toBeGreaterThan(30);
    expect(after).toBeLessThan(before);
  });

  test('predicted stands beside measured, and the run itself becomes right', () => {
    const { config, options, row } = byLine(34);
    const calibration = calibrate(config, options, parseStartupLog(logOf(row)), 'log');
    expect(calibration.rows.map((one) => one.component)).toEqual([
      'weights',
      'activation',
      'nonTorch',
      'graphs',
      'kvPool',
    ]);
    expect(calibration.bounded).toEqual([]);
    const pool = sizeModel(config, { ...options, calibration }).perRank.kvPoolBytes ?? 0;
    expect(pool / GIB).toBeCloseTo(row.kvGib ?? 0, 1);
  });

  test('a short log gives the rest to memory outside the allocator', () => {
    const { config, options } = byLine(11);
    const log = parseStartupLog(
      'vllm\nModel loading took 14.99 GiB memory\nAvailable KV cache memory: 57.00 GiB',
    );
    const calibration = calibrate(config, options, log);
    expect((calibration.corrections.nonTorchBytes ?? 0) / GIB).toBeCloseTo(
      79.19 * 0.95 - 14.99 - 57 - 1.886,
      1,
    );
  });

  test('a log of another model is cut at the bounds and says so', () => {
    const { config, options } = byLine(11);
    const log = parseStartupLog('vllm\nModel loading took 44.99 GiB memory');
    const calibration = calibrate(config, options, log);
    expect(calibration.corrections.weightsFactor).toBe(1.1);
    expect(calibration.bounded).toEqual(['weights']);
  });

  test('it goes through a file, and only for the platform it is of', () => {
    const { config, options, row } = byLine(11);
    const calibration = calibrate(config, options, parseStartupLog(logOf(row)), 'log');
    expect(parseCalibration(JSON.stringify(calibration))).toEqual(calibration);
    const rocm = sizeModel(config, { ...options, platform: 'rocm', calibration });
    expect(rocm.perRank).toEqual(sizeModel(config, { ...options, platform: 'rocm' }).perRank);
    expect(rocm.assumptions.join()).toContain('not used');
    const twoRanks = sizeModel(config, { ...options, parallel: { tensor: 2 }, calibration });
    expect(twoRanks.perRank.nonTorchBytes).toBeGreaterThan(GIB);
  });

  test.each([
    [
      'no memory line',
      () => calibrate(committed('Qwen__Qwen3-8B.json'), {}, parseStartupLog('nothing')),
    ],
    ['no calibration file', () => parseCalibration('{}')],
    [
      'a factor beyond the bounds',
      () =>
        parseCalibration({
          ...calibrate(
            byLine(11).config,
            byLine(11).options,
            parseStartupLog(logOf(byLine(11).row)),
          ),
          corrections: {
            weightsFactor: 9,
            activationFactor: 1,
            graphFactor: 1,
            nonTorchBytes: null,
          },
        }),
    ],
  ])('%s is refused', (_name, run) => {
    try {
      run();
    } catch (error) {
      expect(AimError.is(error, 'ERR_CONFIG_INVALID')).toBe(true);
      return;
    }
    throw new Error('was not refused');
  });
});
