import { describe, expect, test } from 'vitest';
import { sizeModel } from '../src/index.js';
import { committed, denseModel } from './fixtures.js';

const GIB = 2 ** 30;

describe('KV layouts of real logs', () => {
  // Each row: blocks, tokens or concurrency that an engine printed for a pool of that many GiB.
  test('Qwen3.6-27B on vLLM 0.27: 857 blocks of 784 tokens, 71.42 requests, 292,522 tokens', () => {
    const { kv } = sizeModel(committed('nvidia__Qwen3.6-27B-NVFP4.json'), {
      quantization: 'none',
      engine: 'vllm@0.27.1',
      kvCacheMemoryBytes: 41.03 * GIB,
      maxModelLen: 4096,
      maxNumBatchedTokens: 4096,
    });
    expect(kv.blockSize).toBe(784);
    expect(kv.blocks).toBe(857);
    expect(kv.maxConcurrency).toBeCloseTo(71.42, 2);
    expect(kv.loggedTokens).toBe(292_522);
  });

  test('the same dimensions on vLLM 0.19 with four ranks: 114,464 tokens, 12.98 requests', () => {
    const { kv } = sizeModel(committed('nvidia__Qwen3.6-27B-NVFP4.json'), {
      quantization: 'none',
      engine: 'vllm@0.19.0',
      parallel: { tensor: 4 },
      kvCacheMemoryBytes: 7 * GIB,
      maxModelLen: 32_768,
    });
    expect(kv.loggedTokens).toBe(114_464);
    expect(kv.maxConcurrency).toBeCloseTo(12.98, 1);
  });

  test('gemma 4 26B: narrower full layers take twice the tokens in the same page', () => {
    const { kv } = sizeModel(committed('google__gemma-4-26B-A4B.json'), {
      engine: 'vllm@0.25.1',
      kvCacheMemoryBytes: 83.89 * GIB,
      maxModelLen: 262_144,
      maxNumBatchedTokens: 2496,
    });
    expect(kv.maxConcurrency).toBeCloseTo(14.78, 2);
    expect(Math.abs((kv.loggedTokens ?? 0) / 3_875_400 - 1)).toBeLessThan(1e-4);
  });

  test('gemma 2 27B: windows and full layers in two groups', () => {
    const { kv } = sizeModel(committed('google__gemma-2-27b-it.partial.json'), {
      engine: 'vllm@0.19.0',
      kvCacheMemoryBytes: 20.59 * GIB,
      maxModelLen: 8192,
      maxNumBatchedTokens: 8192,
    });
    expect(Math.abs((kv.blocks ?? 0) - 7335)).toBeLessThanOrEqual(3);
    expect(kv.maxConcurrency).toBeCloseTo(7.16, 1);
  });

  test('Kimi K2: decode context ranks multiply the tokens', () => {
    const config = committed('moonshotai__Kimi-K2-Instruct.json');
    const at = (contextRanks: number) =>
      sizeModel(config, { kvCacheMemoryBytes: 46.8 * GIB, contextRanks, maxModelLen: 131_072 }).kv
        .loggedTokens ?? 0;
    expect(Math.abs(at(1) / 715_072 - 1)).toBeLessThan(2e-3);
    expect(Math.abs(at(8) / 5_721_088 - 1)).toBeLessThan(2e-3);
  });

  test('GLM-5: 576 latent bytes and 132 indexer bytes a layer in fp8', () => {
    const { kv } = sizeModel(committed('zai-org__GLM-5.json'), {
      kvCacheDtype: 'fp8',
      maxModelLen: 1024,
    });
    expect(kv.bytesPerToken).toBe(78 * (576 + 132));
    expect(kv.blockSize).toBe(64);
  });

  test('GLM-5.2: only the layers that own an indexer have its entries', () => {
    const { kv } = sizeModel(committed('zai-org__GLM-5.2-FP8.json'), {
      kvCacheDtype: 'fp8',
      maxModelLen: 1024,
    });
    expect(kv.bytesPerToken).toBe(78 * 576 + 21 * 132);
  });

  test('latent caches are not divided by tensor parallelism', () => {
    const config = committed('deepseek-ai__DeepSeek-R1.json');
    const at = (tensor: number) =>
      sizeModel(config, { parallel: { tensor }, maxModelLen: 1024 }).kv.bytesPerToken;
    expect(at(1)).toBe(61 * 576 * 2);
    expect(at(8)).toBe(at(1));
  });
});

describe('types of the cache', () => {
  test.each([
    ['auto', 2],
    ['bfloat16', 2],
    ['fp8', 1],
    ['fp8_e5m2', 1],
    ['float32', 4],
    ['nvfp4', 0.5625],
  ])('%s: %d bytes a value', (kvCacheDtype, each) => {
    expect(sizeModel(denseModel(), { kvCacheDtype }).kv.bytesPerToken).toBe(8 * 2 * 4 * 64 * each);
  });

  test('int8 adds a scale per head', () => {
    expect(sizeModel(denseModel(), { kvCacheDtype: 'int8' }).kv.bytesPerToken).toBe(
      8 * 4 * (128 + 8),
    );
  });

  test('a float type follows the dtype', () => {
    expect(sizeModel(denseModel(), { dtype: 'float32' }).kv.bytesPerToken).toBe(8 * 2 * 4 * 64 * 4);
  });
});

describe('requests', () => {
  test('whole blocks', () => {
    const at = (maxModelLen: number) =>
      sizeModel(denseModel(), { maxModelLen }).kv.bytesPerRequestAtMaxLen;
    expect(at(16)).toBe(at(1));
    expect(at(17)).toBe(2 * at(16));
    expect(
      sizeModel(denseModel(), { maxModelLen: 17, blockSize: 32 }).kv.bytesPerRequestAtMaxLen,
    ).toBe(at(32));
  });

  test('a window everywhere: the request stops growing, and nothing keeps full context', () => {
    const config = denseModel({
      model_type: 'mistral',
      sliding_window: 1024,
      max_position_embeddings: 131_072,
    });
    const at = (maxModelLen: number) =>
      sizeModel(config, { maxModelLen, maxNumBatchedTokens: 2048 }).kv;
    expect(at(65_536).bytesPerRequestAtMaxLen).toBe(at(131_072).bytesPerRequestAtMaxLen);
    expect(at(65_536).bytesPerToken).toBe(0);
    expect(at(65_536).bytesPerRequestFixed).toBe(at(131_072).bytesPerRequestAtMaxLen);
  });

  test('groups: from 2025-11 on the larger count decides when both are close', () => {
    const config = denseModel({
      sliding_window: 64,
      layer_types: [
        'full_attention',
        'full_attention',
        'full_attention',
        'full_attention',
        ...Array.from({ length: 4 }, () => 'sliding_attention'),
      ],
    });
    const uneven = denseModel({
      num_hidden_layers: 9,
      sliding_window: 64,
      layer_types: [
        'full_attention',
        'full_attention',
        'full_attention',
        'full_attention',
        ...Array.from({ length: 5 }, () => 'sliding_attention'),
      ],
    });
    const logged = (model: typeof config, engine: string) =>
      sizeModel(model, { engine, kvCacheMemoryBytes: GIB, maxModelLen: 4096 }).kv.blocks;
    expect(logged(config, 'vllm@0.11.0')).toBe(logged(config, 'vllm@0.19.0'));
    // 4 and 5 layers: groups of 4 (1 + 2) before, of 5 (1 + 1, one layer padded) since.
    expect(logged(uneven, 'vllm@0.11.0')).toBeGreaterThan(logged(uneven, 'vllm@0.19.0') ?? 0);
  });

  test('compressed caches are sized as slope and fixed part, and say so', () => {
    const sized = sizeModel(committed('deepseek-ai__DeepSeek-V4-Flash.json'), {
      kvCacheMemoryBytes: 40 * GIB,
      maxModelLen: 65_536,
    });
    expect(sized.approximate).toBe(true);
    expect(sized.assumptions.join()).toContain('compressed');
    expect(sized.kv.bytesPerRequestFixed).toBeGreaterThan(0);
    expect(sized.kv.maxConcurrency).toBeGreaterThan(1);
  });

  test('state layers cost a fixed page a request', () => {
    const jamba = denseModel({ model_type: 'jamba', attn_layer_period: 4, attn_layer_offset: 2 });
    expect(sizeModel(jamba, { maxModelLen: 1024 }).kv.bytesPerRequestFixed).toBeGreaterThan(0);
    const nemotron = committed('nvidia__NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.json');
    const fixed = (options: object) =>
      sizeModel(nemotron, { maxModelLen: 1024, ...options }).kv.blockSize;
    expect(fixed({ mambaSsmCacheDtype: 'float16' })).toBeLessThan(fixed({}));
    expect(fixed({ parallel: { tensor: 2 } })).toBeGreaterThan(0);
  });
});
