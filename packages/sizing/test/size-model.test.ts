import { describe, expect, test } from 'vitest';
import {
  compareVersions,
  engineProfile,
  engineProfiles,
  explainSizing,
  parseEngineVersion,
  sizeModel,
} from '../src/index.js';
import { capturedSizes } from '../src/overhead.js';
import { sglangMemoryFraction } from '../src/sglang-rules.js';
import { committed, denseModel } from './fixtures.js';

const GIB = 2 ** 30;
const invalid = expect.objectContaining({ code: 'ERR_CONFIG_INVALID', kind: 'invalid' });

describe('what is left for the KV cache', () => {
  const config = committed('Qwen__Qwen3-8B.json');
  const total = 79.19 * GIB;

  test('requested minus weights, activation and non-torch', () => {
    const { perRank } = sizeModel(config, {
      totalMemoryBytes: total,
      gpuMemoryUtilization: 0.95,
      engine: 'vllm@0.19.0',
    });
    const requested = Math.ceil(Math.floor(total) * 0.95);
    expect(perRank.kvPoolBytes).toBe(
      requested - perRank.weightsBytes - perRank.activationBytes - perRank.nonTorchBytes,
    );
  });

  test('from 0.21 on graphs are set aside on CUDA, never on ROCm, not when eager', () => {
    const pool = (options: object) =>
      sizeModel(config, {
        totalMemoryBytes: total,
        gpuMemoryUtilization: 0.9,
        engine: 'vllm@0.21.0',
        ...options,
      }).perRank;
    const cuda = pool({});
    const eager = pool({ enforceEager: true });
    expect((eager.kvPoolBytes ?? 0) - (cuda.kvPoolBytes ?? 0)).toBe(cuda.graphBytes);
    expect(eager.graphBytes).toBe(0);
    const rocm = pool({ platform: 'rocm' });
    expect(rocm.kvPoolBytes).toBe(
      Math.ceil(Math.floor(total) * 0.9) -
        rocm.weightsBytes -
        rocm.activationBytes -
        rocm.nonTorchBytes,
    );
  });

  test('a fixed pool needs no memory size, and utilization counts for nothing', () => {
    const { perRank, fits, kv } = sizeModel(config, {
      kvCacheMemoryBytes: 8 * GIB,
      gpuMemoryUtilization: 0.1,
      maxModelLen: 4096,
    });
    expect(perRank.kvPoolBytes).toBe(8 * GIB);
    expect(fits).toBe(true);
    expect(kv.tokens).toBe(Math.floor((kv.maxConcurrency ?? 0) * 4096));
    expect(
      sizeModel(config, {
        kvCacheMemoryBytes: 70 * GIB,
        totalMemoryBytes: total,
        maxModelLen: 4096,
      }).fits,
    ).toBe(false);
  });

  test('without a memory size nothing is said about fitting', () => {
    const { perRank, kv, fits } = sizeModel(config);
    expect([
      perRank.kvPoolBytes,
      kv.blocks,
      kv.tokens,
      kv.loggedTokens,
      kv.maxConcurrency,
      fits,
    ]).toEqual([null, null, null, null, null, null]);
    expect(kv.bytesPerRequestAtMaxLen).toBeGreaterThan(0);
  });

  test('a model larger than the device has no pool and does not fit', () => {
    const sized = sizeModel(config, { totalMemoryBytes: 12 * GIB });
    expect(sized.perRank.kvPoolBytes).toBe(0);
    expect(sized.fits).toBe(false);
    expect(sized.kv.maxConcurrency).toBe(0);
  });

  test('too little for one request does not fit although there is a pool', () => {
    const sized = sizeModel(config, { totalMemoryBytes: 24 * GIB, maxModelLen: 40_960 });
    expect(sized.perRank.kvPoolBytes).toBeGreaterThan(0);
    expect(sized.fits).toBe(false);
  });

  test('bands: ROCm wider than CUDA, approximate wider than exact', () => {
    const band = (options: object, model = config) =>
      sizeModel(model, { totalMemoryBytes: total, ...options }).confidence.kvPoolRelative;
    expect(band({ platform: 'rocm' })).toBeGreaterThan(3 * band({}));
    expect(band({ engine: 'sglang@0.5' })).toBeGreaterThan(band({}));
    expect(band({}, denseModel({ model_type: 'new', architectures: [] }))).toBeGreaterThan(
      band({}, denseModel()),
    );
    expect(band({ totalMemoryBytes: null })).toBeGreaterThan(0);
    expect(sizeModel(config, { platform: 'rocm' }).assumptions.join()).toContain('not validated');
  });

  test('utilization so high that the context has no room is warned about', () => {
    expect(
      sizeModel(config, { totalMemoryBytes: total, gpuMemoryUtilization: 1 }).warnings.join(),
    ).toContain('context');
    expect(
      sizeModel(config, { totalMemoryBytes: total, maxModelLen: 1e6 }).warnings.join(),
    ).toContain('above');
  });
});

describe('other engines', () => {
  test('SGLang: the pool is what is free after loading, minus the fraction kept back', () => {
    const config = committed('meta-llama__Llama-3.1-8B-Instruct.json');
    const { perRank, kv } = sizeModel(config, {
      engine: 'sglang@0.5',
      totalMemoryBytes: 80 * GIB,
      gpuMemoryUtilization: 0.88,
    });
    const free = 80 * GIB - perRank.contextBytes - perRank.nonTorchBytes;
    expect(perRank.kvPoolBytes).toBe(Math.floor(free * 0.88 - perRank.weightsBytes));
    expect(kv.bytesPerToken).toBe(131_072);
    // A log of K 27.02 and V 27.02 GB has 442,750 tokens.
    const logged =
      sizeModel(config, { engine: 'sglang', kvCacheMemoryBytes: 54.04 * GIB }).kv.loggedTokens ?? 0;
    expect(Math.abs(logged / 442_750 - 1)).toBeLessThan(2e-4);
  });

  test('SGLang: windowed layers get a share of the tokens, states are beside them', () => {
    const gemma = committed('google__gemma-2-9b-it.partial.json');
    const { kv } = sizeModel(gemma, { engine: 'sglang', maxModelLen: 4096 });
    expect(kv.bytesPerToken).toBeCloseTo(21 * 8192 * 1.8, 5);
    const hybrid = sizeModel(committed('Qwen__Qwen3.5-35B-A3B.json'), {
      engine: 'sglang',
      kvCacheMemoryBytes: 10 * GIB,
      maxModelLen: 4096,
    });
    expect(hybrid.kv.bytesPerRequestFixed).toBeGreaterThan(30 * 2_097_152);
    expect(hybrid.fits).toBe(true);
  });

  test.each([
    [80, 1, 0.875],
    [192, 1, 0.865],
    [192, 8, 0.861],
    [24, 1, 0.849],
    [16, 1, 0.773],
  ])('SGLang keeps a fraction of %i GiB with %i ranks: %d', (gib, tensor, fraction) => {
    const made = sglangMemoryFraction(gib * GIB, { tensor, pipeline: 1, data: 1, expert: false });
    expect(made).toBeCloseTo(fraction, 1);
    expect(
      sizeModel(denseModel(), { engine: 'sglang', totalMemoryBytes: gib * GIB }).perRank
        .kvPoolBytes,
    ).toBeGreaterThan(0);
  });

  test('llama.cpp takes what is left', () => {
    const { perRank } = sizeModel(denseModel(), {
      engine: 'llama.cpp',
      totalMemoryBytes: 8 * GIB,
      quantization: 'gguf:Q4_K_M',
    });
    expect(perRank.kvPoolBytes).toBe(
      8 * GIB -
        perRank.weightsBytes -
        perRank.activationBytes -
        perRank.nonTorchBytes -
        perRank.contextBytes,
    );
  });

  test('the V0 engine profiles the whole context', () => {
    const config = committed('meta-llama__Llama-3.1-8B-Instruct.json');
    const v0 = sizeModel(config, { engine: 'vllm@0.9.2-v0', maxModelLen: 131_072 });
    expect(v0.perRank.activationBytes / GIB).toBeGreaterThan(13);
    expect(v0.assumptions.join()).toContain('V0');
  });
});

describe('engine releases', () => {
  test.each([
    ['vllm', 'vllm', '0.19.0'],
    ['auto', 'vllm', '0.19.0'],
    ['simulated', 'vllm', '0.19.0'],
    ['simulated@1.0.0', 'vllm', '0.19.0'],
    ['vllm@0.11.0', 'vllm', '0.11.0'],
    ['vllm@v0.21.1', 'vllm', 'v0.21.1'],
    ['sglang', 'sglang', '0.5.0'],
    ['llama.cpp@b1234', 'llama.cpp', 'b1234'],
  ])('%s', (text, name, version) => {
    expect(parseEngineVersion(text)).toEqual({ name, version });
  });

  test('an engine without rules is refused', () => {
    expect(() => parseEngineVersion('tgi@2')).toThrow(invalid);
  });

  test('the newest row that is not newer counts', () => {
    const at = (version: string) => engineProfile({ name: 'vllm', version }).from;
    expect([
      at('0.6.3'),
      at('0.8.0'),
      at('0.9.2'),
      at('0.12.9'),
      at('0.17.1'),
      at('0.19.0'),
      at('0.21.0'),
      at('9.0.0'),
    ]).toEqual(['0.0.0', '0.8.0', '0.8.0', '0.12.0', '0.17.0', '0.18.0', '0.21.0', '0.26.0']);
    expect(engineProfile({ name: 'vllm', version: '0.9.2-v0' }).generation).toBe('v0');
    expect(compareVersions('0.9.10', '0.9.9')).toBeGreaterThan(0);
    expect(compareVersions('v0.19', '0.19.0')).toBe(0);
  });

  test('every row says where it comes from', () => {
    for (const row of engineProfiles()) expect(row.source.length).toBeGreaterThan(10);
  });

  test('default batch and sequences follow the card', () => {
    const config = denseModel();
    const large = sizeModel(config, { totalMemoryBytes: 80 * GIB }).perRank.activationBytes;
    const small = sizeModel(config, { totalMemoryBytes: 24 * GIB }).perRank.activationBytes;
    expect(large).toBeGreaterThan(3 * small);
  });

  test.each([
    [256, 8192, 0, 51],
    [1, 8192, 0, 2],
    [32, 8192, 0, 11],
    [1024, 128, 0, 19],
    [16, 8192, 3, 19],
  ])(
    '%i sequences, %i tokens, %i speculative: %i sizes captured',
    (sequences, tokens, speculative, sizes) => {
      expect(capturedSizes(sequences, tokens, speculative)).toBe(sizes);
    },
  );
});

describe('options out of range', () => {
  test.each([
    ['dtype', { dtype: 'bf8' }],
    ['quantization', { quantization: 'magic' }],
    ['a GGUF type', { quantization: 'gguf:Q99' }],
    ['KV type', { kvCacheDtype: 'fp3' }],
    ['state type', { mambaSsmCacheDtype: 'fp3' }],
    ['context', { maxModelLen: -1 }],
    ['sequences', { maxNumSeqs: 0.5 }],
    ['batch tokens', { maxNumBatchedTokens: -4 }],
    ['block size', { blockSize: -16 }],
    ['utilization', { gpuMemoryUtilization: 1.2 }],
    ['utilization of 0', { gpuMemoryUtilization: 0 }],
    ['memory', { totalMemoryBytes: Number.NaN }],
    ['pool', { kvCacheMemoryBytes: -1 }],
    ['LoRA slots', { maxLoras: -1 }],
    ['context ranks', { contextRanks: 0 }],
  ])('%s', (_name, options) => {
    expect(() => sizeModel(denseModel(), options)).toThrow(invalid);
  });

  test.each(['bfloat16', 'half', 'float', 'fp16', 'auto', 'FP32'])('dtype %s is known', (dtype) => {
    expect(sizeModel(denseModel(), { dtype }).perRank.weightsBytes).toBeGreaterThan(0);
  });
});

describe('explanations', () => {
  test('every component with formula and source, and the weights add up', () => {
    const { rows, text, sizing } = explainSizing(committed('Qwen__Qwen3-30B-A3B.json'), {
      totalMemoryBytes: 192 * GIB,
      platform: 'rocm',
    });
    const weights = rows
      .filter((row) => row.component.startsWith('weights'))
      .reduce((sum, row) => sum + (row.bytes ?? 0), 0);
    expect(weights).toBe(sizing.perRank.weightsBytes);
    for (const row of rows) {
      expect(row.formula).not.toBe('');
      expect(row.source).not.toBe('');
    }
    expect(text).toContain('routed experts');
    expect(text).toContain('assumed:');
    expect(text.split('\n').length).toBeGreaterThan(rows.length);
  });

  test('without a memory size the pool is not known; a fixed one is named', () => {
    expect(explainSizing(denseModel(), { enforceEager: true }).text).toContain(
      'needs the memory size',
    );
    expect(
      explainSizing(denseModel(), { kvCacheMemoryBytes: GIB, maxModelLen: 1e5 }).text,
    ).toContain('warning:');
    expect(
      explainSizing(denseModel(), {
        totalMemoryBytes: 80 * GIB,
        engine: 'vllm@0.21.0',
        quantization: 'fp8',
      }).text,
    ).toContain('− graphs');
  });
});
