import { gib, ratio, type Workload, workloadName } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import {
  fitProduct,
  fitShared,
  sizeModel,
  sizeWorkload,
  smallestLayout,
  stepDemand,
} from '../src/index.js';
import { committed, denseModel } from './fixtures.js';

const GIB = 2 ** 30;

function workload(overrides: Partial<Workload> = {}): Workload {
  return {
    name: workloadName('assistant'),
    aliases: [],
    source: 'meta-llama/Llama-3.1-8B-Instruct',
    kind: 'inference',
    dtype: 'bf16',
    quantization: 'none',
    kvCacheDtype: 'auto',
    maxModelLen: 32_768,
    concurrency: 32,
    expectedFill: ratio(0.25),
    load: null,
    replicas: { min: 1, max: 1, idleMs: null },
    band: 'interactive',
    slo: { ttftMs: null, tpotMs: null, e2eMs: null, objective: ratio(0.99) },
    engine: { name: 'auto', version: null, args: {} },
    parallel: { tensor: 1, pipeline: 1 },
    fallback: null,
    adapters: [],
    placement: {
      exclusive: false,
      products: [],
      nodes: [],
      near: [],
      apart: [],
      pin: null,
      minShareBytes: null,
    },
    ...overrides,
  };
}

const llama = committed('meta-llama__Llama-3.1-8B-Instruct.json');

describe('demand of a workload', () => {
  test('memory by component for the expected sequences, and the least to start', () => {
    const { memory, kv, ranks } = sizeWorkload(workload(), llama);
    expect(ranks).toBe(1);
    expect(kv).toEqual({ bytesPerToken: 131_072, bytesPerRequestFixed: 0, blockSize: 16 });
    const block = 16 * 131_072;
    expect(memory.kvBytes).toBe(32 * 8192 * 131_072 + block);
    expect(memory.kvMinimumBytes).toBe(32_768 * 131_072 + block);
    const fixed =
      memory.weightsBytes +
      memory.activationBytes +
      memory.nonTorchBytes +
      memory.graphBytes +
      memory.contextBytes;
    expect(memory.totalBytes).toBe(fixed + memory.kvBytes);
    expect(memory.minimumBytes).toBe(fixed + memory.kvMinimumBytes);
  });

  test('it never asks for less than one full sequence', () => {
    const { memory } = sizeWorkload(workload({ concurrency: 1, expectedFill: ratio(0.1) }), llama);
    expect(memory.kvBytes).toBe(memory.kvMinimumBytes);
  });

  test('a share of that size starts the engine and holds the sequences', () => {
    const demand = sizeWorkload(workload(), llama);
    const { memory } = demand;
    const utilization =
      (memory.totalBytes - memory.contextBytes - memory.graphBytes) / memory.totalBytes;
    const sized = sizeModel(llama, {
      platform: 'rocm',
      totalMemoryBytes: memory.totalBytes,
      gpuMemoryUtilization: utilization,
      maxModelLen: demand.maxModelLen,
      maxNumSeqs: demand.maxNumSeqs,
      maxNumBatchedTokens: demand.maxNumBatchedTokens,
    });
    expect(sized.fits).toBe(true);
    expect((sized.kv.tokens ?? 0) / (32 * 8192)).toBeGreaterThanOrEqual(0.999);
  });

  test('limits: the workload, then engine arguments, then the model and 32768', () => {
    const limits = (overrides: Partial<Workload>, config = llama) => {
      const { maxModelLen, maxNumSeqs, maxNumBatchedTokens } = sizeWorkload(
        workload(overrides),
        config,
      );
      return [maxModelLen, maxNumSeqs, maxNumBatchedTokens];
    };
    expect(limits({})).toEqual([32_768, 32, 2048]);
    expect(limits({ maxModelLen: null })).toEqual([32_768, 32, 2048]);
    expect(limits({ maxModelLen: null }, denseModel())).toEqual([8192, 32, 2048]);
    const args = { 'max-model-len': 4096, max_num_seqs: 7, 'max-num-batched-tokens': '512' };
    expect(
      limits({ maxModelLen: null, engine: { name: 'vllm', version: '0.19.0', args } }),
    ).toEqual([4096, 7, 512]);
  });

  test('engine arguments change the memory: eager has no graphs, another block size rounds otherwise', () => {
    const memory = (args: Record<string, unknown>) =>
      sizeWorkload(workload({ engine: { name: 'vllm', version: null, args } }), llama);
    expect(memory({ 'enforce-eager': null }).memory.graphBytes).toBe(0);
    expect(memory({ 'enforce-eager': false }).memory.graphBytes).toBeGreaterThan(0);
    expect(memory({ 'block-size': 64 }).kv.blockSize).toBe(64);
    expect(() => memory({ 'max-num-seqs': 'many' })).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }),
    );
  });

  test('ranks: the largest stage counts, adapters take slots', () => {
    const config = committed('meta-llama__Meta-Llama-3.1-70B.json');
    const two = sizeWorkload(workload({ parallel: { tensor: 2, pipeline: 2 } }), config);
    expect(two.ranks).toBe(4);
    expect(two.memory.weightsBytes / GIB).toBeLessThan(36);
    const adapters = [{ name: 'legal', path: '/lora/legal' }];
    expect(sizeWorkload(workload({ adapters }), llama).memory.weightsBytes).toBeGreaterThan(
      sizeWorkload(workload(), llama).memory.weightsBytes,
    );
  });

  test('what was assumed is said, and the band is wide on ROCm', () => {
    const rocm = sizeWorkload(workload(), llama);
    const cuda = sizeWorkload(workload(), llama, { platform: 'cuda' });
    expect(rocm.assumptions.join()).toContain('2048 tokens a step');
    expect(rocm.assumptions.join()).toContain('not validated');
    expect(rocm.kvPoolRelative).toBeGreaterThan(cuda.kvPoolRelative);
    expect(cuda.assumptions.join()).not.toContain('ROCm');
    expect(rocm.approximate).toBe(false);
  });
});

describe('the arithmetic of a step', () => {
  test('a dense model reads everything but its embedding table', () => {
    const step = stepDemand(llama);
    expect(step).toMatchObject({
      parameters: 8_030_261_248,
      activeParameters: 8_030_261_248 - 128_256 * 4096,
      routedExpertBytes: 0,
      experts: 0,
      layers: 32,
      hiddenSize: 4096,
      kvBytesPerToken: 131_072,
      kvHeads: 8,
      fullAttentionLayers: 32,
      queryWidth: 4096,
      latentAttention: false,
      mathPrecision: 'fp16',
    });
    expect(step.alwaysReadBytes).toBe(2 * step.activeParameters);
  });

  test('DeepSeek R1: 37 billion active, 654 billion routed, latent cache', () => {
    const step = stepDemand(committed('deepseek-ai__DeepSeek-R1.json'));
    expect(step.activeParameters / 1e9).toBeCloseTo(36.6, 0);
    expect(step.routedExpertBytes / 1e9).toBeCloseTo(654, 0);
    expect(step).toMatchObject({
      experts: 256,
      expertsPerToken: 8,
      latentAttention: true,
      kvHeads: 1,
      queryWidth: 24_576,
      kvBytesPerToken: 70_272,
      mathPrecision: 'fp8',
    });
  });

  test.each([
    [
      'openai__gpt-oss-20b.json',
      { mathPrecision: 'fp4', fullAttentionLayers: 12, experts: 32, expertsPerToken: 4 },
    ],
    [
      'zai-org__GLM-5-FP8.json',
      { sparseAttention: true, latentAttention: true, mathPrecision: 'fp8' },
    ],
    ['Qwen__Qwen3.5-35B-A3B.json', { fullAttentionLayers: 10, kvHeads: 2, queryWidth: 4096 }],
    ['nvidia__Qwen3-235B-A22B-NVFP4.json', { experts: 128 }],
    ['deepseek-ai__DeepSeek-V4-Flash.json', { latentAttention: true, kvHeads: 1 }],
    ['nvidia__Qwen3.6-27B-NVFP4.json', { mathPrecision: 'fp8' }],
  ])('%s', (file, expected) => {
    expect(stepDemand(committed(file))).toMatchObject(expected);
  });

  test('tensor parallelism does not change it', () => {
    const one = sizeWorkload(workload(), llama).step;
    expect(sizeWorkload(workload({ parallel: { tensor: 4, pipeline: 1 } }), llama).step).toEqual(
      one,
    );
  });
});

describe('fits on products', () => {
  test('an 8B model in bf16 on a 24 GB partition: some context, not all of it', () => {
    const { layouts, product } = fitProduct(llama, {
      product: 'MI300X',
      maxModelLen: 8192,
      maxNumSeqs: 16,
      maxNumBatchedTokens: 1024,
    });
    expect(product).toBe('MI300X');
    const cpx = layouts.find((layout) => layout.layout === 'CPX/NPS4');
    expect(cpx).toMatchObject({ fits: true, partitions: 8 });
    expect(cpx?.maxConcurrency).toBeGreaterThan(1);
    const long = fitProduct(llama, {
      product: 'MI300X',
      layout: { compute: 'CPX', memory: 'NPS4' },
      maxModelLen: 131_072,
      maxNumSeqs: 16,
      maxNumBatchedTokens: 1024,
    }).layouts[0];
    expect(long?.fits).toBe(false);
    expect(long?.reasons[0]).toMatchObject({ code: 'CONTEXT_TOO_LONG' });
    expect(long?.reasons[0]?.fix).toContain(`max-model-len to ${long?.maxModelLen}`);
    expect(smallestLayout({ product, layouts })?.layout).toMatch(/^CPX/);
  });

  test.each([
    ['WEIGHTS_TOO_LARGE', 'meta-llama__Meta-Llama-3.1-70B.json', { maxModelLen: 1024 }],
    [
      'NO_ROOM_FOR_KV',
      'meta-llama__Llama-3.1-8B-Instruct.json',
      { maxModelLen: 1024, maxNumSeqs: 4096, maxNumBatchedTokens: 16_384 },
    ],
    [
      'TOO_MANY_SEQUENCES',
      'meta-llama__Llama-3.1-8B-Instruct.json',
      { maxModelLen: 4096, concurrency: 60, maxNumSeqs: 16, maxNumBatchedTokens: 1024 },
    ],
  ])('%s on 24 GB', (code, file, options) => {
    const fit = fitProduct(committed(file), {
      product: 'MI300X',
      layout: { compute: 'CPX', memory: 'NPS4' },
      ...options,
    }).layouts[0];
    expect(fit?.fits).toBe(false);
    expect(fit?.reasons[0]?.code).toBe(code);
    expect(fit?.gpuMemoryUtilization).toBeNull();
  });

  test('what fits nowhere has no smallest layout; unknown products and counts are refused', () => {
    const all = fitProduct(committed('deepseek-ai__DeepSeek-R1.json'), {
      product: 'MI300X',
      maxModelLen: 4096,
    });
    expect(smallestLayout(all)).toBeNull();
    expect(() => fitProduct(llama, { product: 'H900' })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('MI300X') }),
    );
    expect(() => fitProduct(llama, { product: 'MI300X', concurrency: 0 })).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }),
    );
  });
});

describe('several engines on one device', () => {
  const small = committed('meta-llama__Llama-3.2-1B-Instruct.json');
  const options = {
    platform: 'rocm',
    maxModelLen: 8192,
    maxNumSeqs: 32,
    maxNumBatchedTokens: 2048,
  } as const;

  test('fractions, largest first, with headroom', () => {
    const shared = fitShared({
      totalMemoryBytes: gib(192),
      tenants: [
        { name: 'guard', config: small, options, concurrency: 16 },
        { name: 'assistant', config: llama, options, concurrency: 32 },
      ],
    });
    if (!shared.ok) throw new Error(shared.reasons[0]?.message);
    expect(shared.starts.map((start) => start.name)).toEqual(['assistant', 'guard']);
    const used = shared.starts.reduce((sum, start) => sum + start.processBytes, 0);
    expect(used + shared.headroomBytes).toBe(Math.floor(gib(192) * 0.98));
    for (const start of shared.starts)
      expect(start.freeBeforeBytes).toBeGreaterThanOrEqual(gib(192) * start.gpuMemoryUtilization);
  });

  test('what fits alone but not together, and what fits not even alone', () => {
    const tenants = Array.from({ length: 12 }, (_, index) => ({
      name: `m${index}`,
      config: llama,
      options,
      concurrency: 16,
    }));
    const together = fitShared({ totalMemoryBytes: gib(192), tenants });
    expect(together).toMatchObject({ ok: false, reasons: [{ code: 'NOT_TOGETHER' }] });
    const alone = fitShared({ totalMemoryBytes: gib(12), tenants: tenants.slice(0, 1) });
    expect(alone).toMatchObject({ ok: false, reasons: [{ code: 'WEIGHTS_TOO_LARGE' }] });
  });
});
