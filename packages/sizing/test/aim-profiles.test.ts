import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { AimError } from '@aim-gpu/core';
import { PRODUCTS } from '@aim-gpu/core/products';
import { describe, expect, test } from 'vitest';
import {
  aimProfileToWorkload,
  createModelLibrary,
  fitModel,
  generateAimProfile,
  parseAimProfile,
  sizeModel,
  sizeWorkload,
  toAimProfileYaml,
  validateAimProfile,
} from '../src/index.js';
import { committed } from './fixtures.js';

const published = path.resolve(import.meta.dirname, 'fixtures/aim-profiles');
const files = readdirSync(published, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.yaml'))
  .sort();

const MODELS = [
  'meta-llama/Llama-3.2-1B-Instruct',
  'meta-llama/Llama-3.1-8B-Instruct',
  'Qwen/Qwen3-8B',
  'Qwen/Qwen3-32B',
  'Qwen/Qwen3-30B-A3B',
  'openai/gpt-oss-20b',
  'openai/gpt-oss-120b',
  'deepseek-ai/DeepSeek-R1',
] as const;

describe('generated profiles', () => {
  test('at least 114 validate under AMD schemas and each fits with its own arguments; the rest is refused with reasons', async () => {
    const library = createModelLibrary();
    let made = 0;
    const refused: string[] = [];
    for (const aimId of MODELS) {
      const config = await library.load(aimId);
      for (const quantization of config.quantization === null ? ['none', 'fp8'] : ['auto'])
        for (const product of PRODUCTS)
          for (const layout of product.layouts) {
            const metric = layout.compute === 'CPX' ? 'throughput' : 'latency';
            const generated = generateAimProfile(config, {
              aimId,
              product: product.name,
              layout,
              metric,
              quantization,
            });
            if (!generated.ok) {
              refused.push(
                `${aimId} ${quantization} ${product.name} ${layout.compute}/${layout.memory}`,
              );
              expect(generated.reasons.length).toBeGreaterThan(0);
              for (const reason of generated.reasons) expect(reason.fix).not.toBe('');
              continue;
            }
            const text = toAimProfileYaml(generated.profile);
            expect(await validateAimProfile(text)).toEqual({ valid: true, errors: [] });
            const read = parseAimProfile(text);
            expect(read).toEqual(generated.profile);
            // Proved by its own arguments, read back from the file.
            const args = read.engineArgs;
            const limits = {
              ...generated.sizeOptions,
              maxModelLen: Number(args['max-model-len']),
              maxNumSeqs: Number(args['max-num-seqs']),
              maxNumBatchedTokens: Number(args['max-num-batched-tokens']),
              gpuMemoryUtilization: Number(args['gpu-memory-utilization']),
              totalMemoryBytes: generated.sidecar.partitionMemoryBytes,
            };
            expect(fitModel(config, limits).fits).toBe(true);
            const sized = sizeModel(config, limits);
            expect(sized.fits).toBe(true);
            expect(generated.sidecar.shareBytes).toBeLessThanOrEqual(
              generated.sidecar.partitionMemoryBytes,
            );
            expect(sized.perRank.kvPoolBytes).toBe(generated.sidecar.kvPoolBytes);
            expect(generated.file).toContain(`tp1-${metric}.yaml`);
            made += 1;
          }
    }
    expect(made).toBeGreaterThanOrEqual(114);
    // 671 B parameters fit no single card, 120 B in four bits no partition of 24 GB.
    expect(refused.filter((name) => name.startsWith('deepseek-ai/DeepSeek-R1')).length).toBe(
      PRODUCTS.reduce((sum, product) => sum + product.layouts.length, 0),
    );
    expect(refused).toContain('openai/gpt-oss-120b auto MI300X CPX/NPS4');
    expect(refused).not.toContain('meta-llama/Llama-3.1-8B-Instruct none MI300X CPX/NPS4');
  });

  test('an unknown product is refused', () => {
    const run = () =>
      generateAimProfile(committed('Qwen__Qwen3-8B.json'), {
        aimId: 'x',
        product: 'MI999',
        layout: { compute: 'SPX', memory: 'NPS1' },
        metric: 'latency',
      });
    expect(run).toThrow(/MI999/);
  });

  test('a whole card takes the whole context and many sequences, a small partition fewer', () => {
    const config = committed('meta-llama__Llama-3.1-8B-Instruct.json');
    const at = (compute: 'SPX' | 'CPX', memory: 'NPS1' | 'NPS4') => {
      const made = generateAimProfile(config, {
        aimId: 'meta-llama/Llama-3.1-8B-Instruct',
        product: 'MI300X',
        layout: { compute, memory },
        metric: 'throughput',
        quantization: 'none',
      });
      if (!made.ok) throw new Error(made.reasons[0]?.message);
      return made;
    };
    const whole = at('SPX', 'NPS1');
    const small = at('CPX', 'NPS4');
    expect(whole.profile.engineArgs['max-num-seqs']).toBe(
      512 > Number(whole.profile.engineArgs['max-num-seqs']) ? 128 : 512,
    );
    expect(Number(small.profile.engineArgs['max-num-seqs'])).toBeLessThan(
      Number(whole.profile.engineArgs['max-num-seqs']),
    );
    expect(small.file).toBe(
      'cpx-nps4/meta-llama/Llama-3.1-8B-Instruct/vllm-mi300x-bf16-tp1-throughput.yaml',
    );
  });
});

describe('published profiles', () => {
  test('all 56 are there', () => {
    expect(files.length).toBe(56);
  });

  test.each(files)('%s is valid and reads into a workload that can be sized', async (file) => {
    const text = readFileSync(path.join(published, file), 'utf8');
    expect(await validateAimProfile(text, file)).toEqual({ valid: true, errors: [] });
    const profile = parseAimProfile(text, file);
    const workload = aimProfileToWorkload(profile);
    expect(workload.maxModelLen).toBe(profile.engineArgs['max-model-len']);
    expect(workload.concurrency).toBe(profile.engineArgs['max-num-seqs']);
    expect(workload.parallel.tensor).toBe(profile.engineArgs['tensor-parallel-size']);
    const config = await createModelLibrary().load(workload.source);
    const demand = sizeWorkload(workload, config);
    expect(demand.ranks).toBe(profile.metadata.gpuCount);
    expect(demand.memory.minimumBytes).toBeGreaterThan(demand.memory.weightsBytes);
  });
});

describe('what is no profile', () => {
  test.each([
    ['no YAML', '{ a: ['],
    ['no metadata', 'aim_id: a\nmodel_id: a\nengine_args: {}\nenv_vars: {}'],
    [
      'an unknown precision',
      'aim_id: a\nmodel_id: a\nmetadata: {engine: vllm, gpu: MI300X, precision: fp5, gpu_count: 1, metric: latency, manual_selection_only: false, type: general}\nengine_args: {}\nenv_vars: {}',
    ],
  ])('%s is invalid, and refused with ERR_CONFIG_INVALID', async (_name, text) => {
    const { valid, errors } = await validateAimProfile(text);
    expect(valid).toBe(false);
    expect(errors.length).toBeGreaterThan(0);
    try {
      parseAimProfile(text);
    } catch (error) {
      expect(AimError.is(error, 'ERR_CONFIG_INVALID')).toBe(true);
      return;
    }
    throw new Error('was not refused');
  });

  test('a general profile names no model until told which', () => {
    const profile = parseAimProfile(
      'metadata: {engine: vllm, gpu: NONE, precision: fp16, gpu_count: 1, metric: latency, manual_selection_only: false, type: general}\nengine_args: {}\nenv_vars: {}',
    );
    expect(() => aimProfileToWorkload(profile)).toThrow(/names no model/);
    const workload = aimProfileToWorkload(profile, { source: 'Qwen/Qwen3-8B', name: 'small' });
    expect(workload).toMatchObject({
      name: 'small',
      maxModelLen: null,
      concurrency: 16,
      placement: { products: [] },
    });
  });
});
