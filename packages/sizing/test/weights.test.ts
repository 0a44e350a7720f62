import { describe, expect, test } from 'vitest';
import { allocatedBytes } from '../src/allocator.js';
import { parseModelConfig, sizeModel } from '../src/index.js';
import { pipelineStages } from '../src/parallel.js';
import { matrixBytes, quantizationScheme } from '../src/quantization-schemes.js';
import { committed, denseFields, denseModel } from './fixtures.js';
import { configText } from './model-data.js';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const weights = (config: ReturnType<typeof committed>, options = {}): number =>
  sizeModel(config, { maxModelLen: 1024, ...options }).perRank.weightsBytes;

describe('the allocator', () => {
  test.each([
    [1, 512],
    [512, 512],
    [513, 1024],
    [MIB, MIB],
    [9 * MIB, 9 * MIB],
    // From 10 MiB on blocks come in 2 MiB segments, unless more than 1 MiB would be split off again.
    [31.5 * MIB, 32 * MIB],
    [259 * MIB, 260 * MIB],
    [129.5 * MIB, 130 * MIB],
    [128.5 * MIB, 128.5 * MIB],
  ])('%i bytes are charged as %i', (size, charged) => {
    expect(allocatedBytes(size)).toBe(charged);
  });

  test("Qwen2.5-7B's 14.2487 GiB, exactly 65 MiB above its parameters", () => {
    const config = committed('Qwen__Qwen2.5-7B-Instruct.json');
    // qkv 0.5, gate-up 1, down 0.5 MiB in each of 28 layers, and a rotary table of 8 MiB; small vectors round to 512 B.
    const above = weights(config) - 2 * 7_615_616_512;
    expect(above / MIB).toBeCloseTo(28 * 2 + 8 + 1, 0);
    expect(weights(config) / GIB).toBeCloseTo(14.2487, 3);
  });
});

describe('bytes per parameter', () => {
  // The reference table, for a matrix of 4096 × 4096.
  test.each([
    ['bf16', quantizationScheme('none'), 2],
    ['fp8 per channel', quantizationScheme('fp8'), 1 + 4 / 4096],
    ['fp8 blocks of 128', quantizationScheme('fp8-block', { groupSize: 16_384 }), 1 + 4 / 16_384],
    ['int8', quantizationScheme('int8'), 1 + 4 / 4096],
    ['int4 g128 symmetric', quantizationScheme('int4', { groupSize: 128 }), 0.5156],
    [
      'int4 g128 with zero points',
      quantizationScheme('awq', { groupSize: 128, symmetric: false }),
      0.5195,
    ],
    ['int4 g32 symmetric', quantizationScheme('int4', { groupSize: 32 }), 0.5625],
    [
      'int4 g32 with zero points',
      quantizationScheme('gptq', { groupSize: 32, symmetric: false }),
      0.5781,
    ],
    ['mxfp4', quantizationScheme('mxfp4', { groupSize: 32 }), 0.53125],
    ['nvfp4', quantizationScheme('nvfp4', { groupSize: 16 }), 0.5625],
    ['nf4', quantizationScheme('bnb-nf4', { groupSize: 64 }), 0.5625],
    ['GGUF Q4_K', quantizationScheme('gguf:Q4_K'), 4.5 / 8],
    ['GGUF Q4_K_M, a mix', quantizationScheme('gguf:Q4_K_M'), 4.85 / 8],
    ['GGUF Q8_0', quantizationScheme('gguf:Q8_0'), 8.5 / 8],
  ])('%s', (_name, scheme, each) => {
    const { weights: packed, scales } = matrixBytes(scheme, 4096, 4096, 1, 'bf16');
    expect((packed + scales) / 4096 ** 2).toBeCloseTo(each, 4);
  });

  test('act-order keeps an index for every input channel', () => {
    const plain = matrixBytes(quantizationScheme('gptq', { groupSize: 128 }), 8, 1024, 1, 'bf16');
    const ordered = matrixBytes(
      quantizationScheme('gptq', { groupSize: 128, actOrder: true }),
      8,
      1024,
      1,
      'bf16',
    );
    expect(ordered.scales - plain.scales).toBe(4096);
  });
});

describe('what stays in the float type', () => {
  const own = (section: Record<string, unknown>, extra: Record<string, unknown> = {}): number =>
    weights(denseModel({ quantization_config: section, ...extra }));
  const plain = weights(denseModel());
  const linear = 8 * (1024 * (1024 + 512) + 1024 * 1024 + 3 * 1024 * 4096);
  const outer = 2 * 32_000 * 1024;

  test('embedding and output projection under every scheme', () => {
    const fp8 = own({ quant_method: 'fp8' });
    expect(plain - fp8).toBeGreaterThan(0.99 * linear);
    expect(plain - fp8).toBeLessThan(linear);
    expect(fp8).toBeGreaterThan(linear + 2 * outer);
  });

  test.each([
    [
      'plain names with layer numbers',
      {
        quant_method: 'fp8',
        modules_to_not_convert: Array.from(
          { length: 8 },
          (_, layer) => `model.layers.${layer}.mlp.gate_proj`,
        ).concat(Array.from({ length: 8 }, (_, layer) => `model.layers.${layer}.mlp.down_proj`)),
      },
    ],
    [
      'globs over layers',
      { quant_method: 'modelopt', quant_algo: 'FP8', ignore: ['model.layers.*.mlp*'] },
    ],
    [
      'a regular expression',
      {
        quant_method: 'compressed-tensors',
        config_groups: {
          group_0: { weights: { num_bits: 8, type: 'float', strategy: 'channel' } },
        },
        ignore: ['re:.*mlp\\..*'],
      },
    ],
    ['modelopt names', { quant_method: 'modelopt', quant_algo: 'FP8', exclude_modules: ['mlp'] }],
  ])('%s: the feed-forward network stays', (_name, section) => {
    const saved = plain - own(section);
    const attention = 8 * (1024 * (1024 + 512) + 1024 * 1024);
    expect(saved).toBeGreaterThan(0.95 * attention);
    expect(saved).toBeLessThan(attention + MIB);
  });

  test('an exclusion of half of the layers leaves half', () => {
    const all = plain - own({ quant_method: 'fp8' });
    const half =
      plain -
      own({
        quant_method: 'fp8',
        modules_to_not_convert: [0, 1, 2, 3].map((layer) => `model.layers.${layer}`),
      });
    expect(half / all).toBeCloseTo(0.5, 2);
  });

  test('mixed precision names its modules', () => {
    const section = {
      quant_method: 'modelopt',
      quant_algo: 'MIXED_PRECISION',
      quantized_layers: Object.fromEntries(
        Array.from({ length: 8 }, (_, layer) => [
          [`model.layers.${layer}.mlp.gate_proj`, { quant_algo: 'NVFP4' }],
          [`model.layers.${layer}.mlp.down_proj`, { quant_algo: 'FP8' }],
        ]).flat(),
      ),
    };
    const saved = plain - own(section);
    const gateUp = 8 * 2 * 1024 * 4096;
    const down = 8 * 1024 * 4096;
    expect(saved / (gateUp * (2 - 0.5625) + down)).toBeCloseTo(1, 2);
  });

  test.each([
    ['a method nobody knows', { quant_method: 'quark9000' }],
    [
      'an algorithm nobody knows',
      {
        quant_method: 'modelopt',
        quantized_layers: { 'model.layers.0.mlp.gate_proj': { quant_algo: 'FP3' } },
      },
    ],
  ])('%s is sized unquantized and said to be assumed', (_name, section) => {
    const config = denseModel({ quantization_config: section });
    expect(config.approximate).toBe(true);
    expect(config.assumptions.join()).toContain('unknown');
    expect(weights(config)).toBe(plain);
  });

  test.each([
    ['gptq', { quant_method: 'gptq', bits: 4, group_size: 128, desc_act: true, sym: false }, 0.52],
    ['gptq in 8 bits', { quant_method: 'gptq', bits: 8, group_size: 128 }, 1.02],
    ['awq', { quant_method: 'awq', w_bit: 4, q_group_size: 128, zero_point: true }, 0.52],
    ['bitsandbytes nf4', { quant_method: 'bitsandbytes', load_in_4bit: true }, 0.57],
    ['bitsandbytes int8', { quant_method: 'bitsandbytes', load_in_8bit: true }, 1.01],
    [
      'compressed int4',
      {
        quant_method: 'compressed-tensors',
        config_groups: {
          a: { weights: { num_bits: 4, type: 'int', group_size: 32, actorder: 'group' } },
        },
      },
      0.57,
    ],
    [
      'compressed int8',
      {
        quant_method: 'compressed-tensors',
        config_groups: { a: { weights: { num_bits: 8, type: 'int', strategy: 'channel' } } },
      },
      1.01,
    ],
    [
      'compressed mxfp4',
      {
        quant_method: 'compressed-tensors',
        config_groups: { a: { weights: { num_bits: 4, type: 'float', group_size: 32 } } },
      },
      0.54,
    ],
    [
      'compressed nvfp4',
      {
        quant_method: 'compressed-tensors',
        config_groups: { a: { weights: { num_bits: 4, type: 'float', group_size: 16 } } },
      },
      0.57,
    ],
    [
      'compressed fp8 blocks',
      {
        quant_method: 'compressed-tensors',
        config_groups: {
          a: {
            weights: { num_bits: 8, type: 'float', strategy: 'block', block_structure: [128, 128] },
          },
        },
      },
      1.01,
    ],
    ['modelopt awq', { quant_method: 'modelopt', quant_algo: 'W4A16_AWQ' }, 0.53],
    ['an unnamed method with bits', { quant_method: 'autoround', bits: 4, group_size: 128 }, 0.53],
  ])('%s', (_name, section, each) => {
    const rest = plain - 2 * linear;
    expect((own(section) - rest) / linear).toBeCloseTo(each, 1);
    expect(own(section) - rest).toBeLessThan(each * 1.02 * linear);
  });

  test('hf_quant_config.json beside the config is read', () => {
    const config = parseModelConfig(denseFields(), {
      quantization: {
        quantization: {
          quant_algo: 'FP8',
          kv_cache_quant_algo: 'FP8',
          exclude_modules: ['lm_head'],
        },
      },
    });
    expect(config.quantization?.base.method).toBe('fp8');
    expect(sizeModel(config).warnings.join()).toContain('fp8');
    const both = parseModelConfig(denseFields({ quantization_config: { quant_method: 'fp8' } }), {
      quantization: { quant_algo: 'FP8', kv_cache_quant_algo: 'NVFP4' },
    });
    expect(both.quantization?.kvCache).toBe('nvfp4');
  });
});

describe('how ranks divide a model', () => {
  test.each([
    [80, 4, [20, 20, 20, 20]],
    [62, 4, [15, 16, 16, 15]],
    [7, 2, [4, 3]],
    [5, 5, [1, 1, 1, 1, 1]],
  ])('%i layers over %i stages', (layers, stages, sizes) => {
    const ranges = pipelineStages(layers, stages);
    expect(ranges.map((range) => range.to - range.from)).toEqual(sizes);
    expect(ranges[0]?.first).toBe(true);
    expect(ranges.at(-1)).toMatchObject({ to: layers, last: true });
  });

  test('the first stage has the embedding, the last the head, a tied one both', () => {
    const config = denseModel();
    const { ranks } = sizeModel(config, { parallel: { pipeline: 4 }, maxModelLen: 1024 });
    const table = 32_000 * 1024 * 2;
    const [first = 0, second = 0, third = 0, last = 0] = ranks.map((rank) => rank.weightsBytes);
    expect(second).toBe(third);
    expect(first - second).toBeGreaterThanOrEqual(table);
    expect(last - second).toBeGreaterThanOrEqual(table);
    const tied = sizeModel(denseModel({ tie_word_embeddings: true }), {
      parallel: { pipeline: 4 },
      maxModelLen: 1024,
    }).ranks;
    expect((tied.at(-1)?.weightsBytes ?? 0) - (tied[1]?.weightsBytes ?? 0)).toBeGreaterThanOrEqual(
      table,
    );
  });

  test('ranks are listed stage by stage, and only the last stage has a sampler', () => {
    const { ranks } = sizeModel(denseModel(), { parallel: { pipeline: 2, tensor: 2 } });
    expect(ranks.map((rank) => rank.rank)).toEqual([0, 1, 2, 3]);
    expect(ranks[0]?.activationBytes).toBeLessThan(ranks[3]?.activationBytes ?? 0);
  });

  test('a rank keeps one KV head even when there are more ranks than KV heads', () => {
    const at = (tensor: number) =>
      sizeModel(denseModel(), { parallel: { tensor }, maxModelLen: 1024 }).kv.bytesPerToken;
    expect([1, 2, 4, 8, 16].map(at)).toEqual([8192, 4096, 2048, 2048, 2048]);
  });

  test('expert parallelism keeps whole experts', () => {
    const config = committed('Qwen__Qwen3-30B-A3B.json');
    const sliced = weights(config, { parallel: { tensor: 4 } });
    const whole = weights(config, { parallel: { tensor: 4, expert: true } });
    expect(Math.abs(whole / sliced - 1)).toBeLessThan(0.02);
    expect(weights(config, { parallel: { tensor: 4, data: 2, expert: true } })).toBeLessThan(
      0.6 * whole,
    );
  });

  test.each([
    ['heads that do not divide', { tensor: 3 }],
    ['no ranks', { tensor: 0 }],
    ['half a rank', { tensor: 1.5 }],
    ['too many ranks', { tensor: 8192 }],
    ['more stages than layers', { pipeline: 9 }],
    ['no data ranks', { data: 0 }],
  ])('%s is refused', (_name, parallel) => {
    expect(() => sizeModel(denseModel(), { parallel })).toThrow(
      expect.objectContaining({ code: 'ERR_CONFIG_INVALID' }),
    );
  });

  test('state-space heads count as well', () => {
    expect(() =>
      sizeModel(committed('Qwen__Qwen3.5-35B-A3B.json'), { parallel: { tensor: 3 } }),
    ).toThrow(/heads/);
  });
});

describe('extras', () => {
  test('latent attention keeps absorbed copies, exactly 27 layers of them', () => {
    const config = committed('deepseek-ai__DeepSeek-V2-Lite.json');
    const copies = 27 * 512 * 16 * (128 + 128) * 2;
    expect(weights(config) - 2 * 15_706_484_224).toBeGreaterThan(copies);
    expect(weights(config) / GIB).toBeCloseTo(29.42, 1);
  });

  test('padded MXFP4 experts of GPT-OSS', () => {
    const config = committed('openai__gpt-oss-20b.json');
    expect(weights(config) / GIB).toBeCloseTo(13.47, 1);
  });

  test('linear rope scaling lengthens one of the two tables of Gemma 3', () => {
    const config = committed('google__gemma-3-4b-it.partial.json');
    expect(
      [...config.rotary].map((table) => table.positions).sort((one, other) => one - other),
    ).toEqual([131_072, 8 * 131_072]);
  });

  test('LoRA slots cost rank × (inputs + outputs)', () => {
    const config = denseModel();
    const with4 = weights(config, { maxLoras: 4, maxLoraRank: 16 });
    const width = 8 * (1024 + 1536 + (1024 + 1024) + (1024 + 8192) + (4096 + 1024));
    expect(with4 - weights(config)).toBe(4 * 16 * width * 2);
  });

  test('prediction layers are loaded for speculative decoding only', () => {
    const config = committed('zai-org__GLM-5.json');
    const own = weights(config, { speculative: 'own', numSpeculativeTokens: 1 });
    expect(own - weights(config)).toBeGreaterThan(9e9);
    const kv = (speculative: 'own' | null) =>
      sizeModel(config, { speculative, maxModelLen: 1024 }).kv.bytesPerToken;
    expect(kv('own')).toBeGreaterThan(kv(null));
    expect(sizeModel(denseModel(), { speculative: 'own' }).warnings.join()).toContain(
      'no prediction layers',
    );
  });

  test('a draft model adds its weights and its KV layers', () => {
    const config = committed('Qwen__Qwen3-8B.json');
    const draft = committed('Qwen__Qwen3-1.7B.json');
    const sized = sizeModel(config, {
      speculative: draft,
      numSpeculativeTokens: 3,
      maxModelLen: 1024,
    });
    const alone = sizeModel(config, { maxModelLen: 1024 });
    expect(sized.perRank.weightsBytes - alone.perRank.weightsBytes).toBe(weights(draft));
    expect(sized.kv.bytesPerToken - alone.kv.bytesPerToken).toBe(28 * 2 * 8 * 128 * 2);
    expect(sized.perRank.activationBytes).toBeGreaterThan(alone.perRank.activationBytes);
  });

  test('ROCm pads rows whose stride is a multiple of 512 bytes, by 256', () => {
    const config = committed('Qwen__Qwen3-30B-A3B.json');
    const experts = 48 * 128 * 3 * 768 * 2048 * 2;
    const extra = weights(config, { platform: 'rocm' }) - weights(config);
    expect(extra / experts).toBeGreaterThan(0.05);
    expect(extra / experts).toBeLessThan(0.13);
    expect(weights(committed('Qwen__Qwen3-8B.json'), { platform: 'rocm' })).toBe(
      weights(committed('Qwen__Qwen3-8B.json')),
    );
  });

  test('the vision tower is counted once and split over tensor ranks', () => {
    const config = parseModelConfig(configText('Qwen__Qwen3-VL-8B-Instruct.json'));
    const text = weights({ ...config, vision: null });
    expect(weights(config) - text).toBeGreaterThan(2 * 0.99 * (config.vision?.parameters ?? 0));
    const half =
      weights(config, { parallel: { tensor: 2 } }) -
      weights({ ...config, vision: null }, { parallel: { tensor: 2 } });
    expect(half).toBeLessThan(0.75 * (weights(config) - text));
  });
});
