import { AimError } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import { countParameters, knownFamilies, parseModelConfig } from '../src/index.js';
import { denseFields, denseModel } from './fixtures.js';
import { configFiles, configText } from './model-data.js';

function refusal(run: () => unknown): AimError {
  try {
    run();
  } catch (error) {
    if (AimError.is(error)) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe('what is no model config', () => {
  test.each([
    ['not JSON', '{ "hidden_size": 12,', ''],
    ['an empty file', '', ''],
    ['a list', '[1, 2]', ''],
    [
      'a tokenizer config',
      { tokenizer_class: 'LlamaTokenizer', bos_token: '<s>' },
      'tokenizer_class',
    ],
    ['a tokenizer', { model: { type: 'BPE', vocab: { a: 1 } } }, 'model.vocab'],
    ['a safetensors index', { metadata: {}, weight_map: {} }, 'weight_map'],
    ['no hidden size', denseFields({ hidden_size: null }), 'hidden_size'],
    ['no layers', denseFields({ num_hidden_layers: undefined }), 'num_hidden_layers'],
    ['a billion layers', denseFields({ num_hidden_layers: 1e9 }), 'num_hidden_layers'],
    ['five thousand layers', denseFields({ num_hidden_layers: 5000 }), 'num_hidden_layers'],
    ['a negative size', denseFields({ intermediate_size: -5 }), 'intermediate_size'],
    ['a fraction', denseFields({ hidden_size: 12.5 }), 'hidden_size'],
    ['text for a number', denseFields({ vocab_size: '32000' }), 'vocab_size'],
    ['more KV heads than heads', denseFields({ num_key_value_heads: 32 }), 'num_key_value_heads'],
    ['KV heads that do not divide', denseFields({ num_key_value_heads: 3 }), 'num_key_value_heads'],
    [
      'heads that do not divide',
      denseFields({ num_attention_heads: 7, num_key_value_heads: 7 }),
      'num_attention_heads',
    ],
    [
      'more heads than channels',
      denseFields({ num_attention_heads: 4096, num_key_value_heads: 4 }),
      'num_attention_heads',
    ],
    ['short layer types', denseFields({ layer_types: ['full_attention'] }), 'layer_types'],
    [
      'more experts chosen than there are',
      denseFields({ num_experts: 4, num_experts_per_tok: 8 }),
      'num_experts_per_tok',
    ],
    ['latent attention without ranks', denseFields({ kv_lora_rank: 512 }), 'qk_nope_head_dim'],
    [
      'a vision part without layers',
      denseFields({ vision_config: { hidden_size: 64 } }),
      'vision_config.num_hidden_layers',
    ],
    [
      'an odd vision part',
      denseFields({ vision_config: { hidden_size: 'x' } }),
      'vision_config.hidden_size',
    ],
    [
      'an odd quantization part',
      denseFields({ quantization_config: { bits: 'x' } }),
      'quantization_config.bits',
    ],
  ])('%s is refused with place and fix', (_name, input, path) => {
    const error = refusal(() => parseModelConfig(input, { source: 'some/config.json' }));
    expect(error.code).toBe('ERR_CONFIG_INVALID');
    expect(error.kind).toBe('invalid');
    expect(error.message).toContain('some/config.json');
    expect(error.details['path']).toBe(path);
    expect(error.hint).toMatch(/\S/);
  });
});

describe("the place in the user's own text", () => {
  const text = JSON.stringify(denseFields({ text_config: undefined }), null, 2);

  test('a field of the wrong type: line, column and a caret under it', () => {
    const error = refusal(() =>
      parseModelConfig(text.replace('"vocab_size": 32000', '"vocab_size": "many"'), {
        source: 'c.json',
      }),
    );
    expect(error.at).toEqual({ file: 'c.json', line: 11, column: 3 });
    const [line = '', caret = ''] = (error.excerpt ?? '').split('\n');
    expect(line).toContain('"vocab_size": "many"');
    expect(line[caret.indexOf('^')]).toBe('"');
  });

  test('a nested field is found below its parents', () => {
    const nested = JSON.stringify(
      { hidden_size: 5, text_config: denseFields({ hidden_size: -1 }) },
      null,
      1,
    );
    expect(refusal(() => parseModelConfig(nested)).at?.line).toBeGreaterThan(3);
  });

  test('broken JSON points at the break, in a file of one long line too', () => {
    expect(
      refusal(() => parseModelConfig('{\n  "a": 1,\n  "b" 2\n}', { source: 'c.json' })).at,
    ).toMatchObject({ line: 3 });
    const long = `{"x": "${'a'.repeat(500)}", "hidden_size": }`;
    const error = refusal(() => parseModelConfig(long));
    expect(error.at?.column).toBeGreaterThan(500);
    expect(error.excerpt?.length).toBeLessThan(400);
  });

  test('a field that is missing has no place', () => {
    expect(refusal(() => parseModelConfig('{"model_type": "llama"}')).at).toBeUndefined();
    expect(refusal(() => parseModelConfig({ model_type: 'llama' })).at).toBeUndefined();
  });
});

describe('what is read', () => {
  test('every committed config parses, and nothing silent is assumed', () => {
    const approximate: string[] = [];
    for (const file of configFiles.keys()) {
      const config = parseModelConfig(configText(file), { source: file });
      expect(config.approximate).toBe(config.assumptions.length > 0);
      if (config.approximate && !file.includes('.partial.')) approximate.push(file);
    }
    expect(approximate).toEqual([
      'meta-llama__Llama-4-Maverick-17B-128E-Instruct.json',
      'meta-llama__Llama-4-Scout-17B-16E-Instruct.json',
      'stepfun-ai__Step-3.7-Flash-FP8.json',
      'stepfun-ai__Step-3.7-Flash.json',
    ]);
  });

  test('Python constants and a byte order mark are taken', () => {
    const text = `\uFEFF${JSON.stringify(denseFields({ note: 'Infinity, NaN' })).replace('}', ', "time_step_limit": [0.0, Infinity], "x": NaN}')}`;
    expect(parseModelConfig(text).hidden).toBe(1024);
  });

  test('an unknown type is read by its fields and says so', () => {
    const config = denseModel({ model_type: 'brand_new', architectures: ['BrandNewForCausalLM'] });
    expect(config.approximate).toBe(true);
    expect(config.assumptions[0]).toContain('brand_new');
    expect(countParameters(config).total).toBe(countParameters(denseModel()).total);
  });

  test('a private model_type with a known architecture is known', () => {
    expect(
      denseModel({ model_type: 'llama_ref', architectures: ['LlamaForCausalLM'] }).approximate,
    ).toBe(false);
    expect(knownFamilies()).toContain('qwen3_moe');
  });

  test('text parts may be nested, also inside a thinker', () => {
    const flat = countParameters(denseModel()).total;
    for (const nested of [
      { text_config: denseFields() },
      { llm_config: denseFields() },
      { thinker_config: { text_config: denseFields() } },
    ])
      expect(countParameters(parseModelConfig(nested)).total).toBe(flat);
  });

  test('a config without dtype is taken as bf16 with a warning, fp32 checkpoints are served as bf16', () => {
    const silent = denseModel({ torch_dtype: undefined });
    expect(silent.dtype).toBe('bf16');
    expect(silent.warnings.join()).toContain('dtype');
    expect(denseModel({ torch_dtype: 'float32' }).dtype).toBe('bf16');
    expect(denseModel({ torch_dtype: 'torch.float16' }).dtype).toBe('fp16');
    expect(denseModel({ torch_dtype: 'float8' }).approximate).toBe(true);
  });

  test('biases, norms and tying follow family and fields', () => {
    const base = countParameters(denseModel()).total;
    const biased = countParameters(denseModel({ attention_bias: true })).total;
    expect(biased - base).toBe(8 * (1024 + 2 * 256 + 1024));
    const mlp = countParameters(denseModel({ mlp_bias: true })).total;
    expect(mlp - base).toBe(8 * (2 * 4096 + 1024));
    expect(base - countParameters(denseModel({ tie_word_embeddings: true })).total).toBe(
      32_000 * 1024,
    );
    const qwen = countParameters(denseModel({ model_type: 'qwen3' })).total;
    expect(qwen - base).toBe(8 * 2 * 64);
  });

  test.each([
    ['sliding window everywhere', { model_type: 'mistral', sliding_window: 1024 }, 8],
    [
      'window switched off',
      { model_type: 'qwen2', sliding_window: 1024, use_sliding_window: false },
      0,
    ],
    [
      'window from layer 6 on',
      { model_type: 'qwen2', sliding_window: 1024, use_sliding_window: true, max_window_layers: 6 },
      2,
    ],
    ['a window as long as the context', { model_type: 'mistral', sliding_window: 8192 }, 0],
    ['gemma 2 alternates', { model_type: 'gemma2', sliding_window: 1024 }, 4],
    ['gemma 3, every sixth is full', { model_type: 'gemma3_text', sliding_window: 1024 }, 7],
    [
      'a stated pattern',
      { model_type: 'gemma3_text', sliding_window: 1024, sliding_window_pattern: 4 },
      6,
    ],
    [
      'layer types',
      {
        sliding_window: 64,
        layer_types: ['full_attention', ...Array.from({ length: 7 }, () => 'sliding_attention')],
      },
      7,
    ],
    [
      'layer types without a window',
      { layer_types: Array.from({ length: 8 }, () => 'sliding_attention') },
      0,
    ],
    [
      'a pattern of numbers',
      { sliding_window: 64, hybrid_layer_pattern: [0, 1, 1, 1, 0, 1, 1, 1] },
      6,
    ],
  ])('%s', (_name, fields, windowed) => {
    const config = denseModel(fields);
    const kinds = config.layers.map((index) => config.blocks[index]?.mixer);
    expect(
      kinds.filter((mixer) => mixer?.kind === 'attention' && mixer.window !== null).length,
    ).toBe(windowed);
  });

  test.each([
    ['first layers dense', { first_k_dense_replace: 3 }, 5],
    ['every second', { decoder_sparse_step: 2 }, 4],
    ['named dense layers', { mlp_only_layers: [0, 7] }, 6],
    ['every second by frequency', { moe_layer_freq: 2 }, 4],
    ['a frequency list', { moe_layer_freq: [0, 1, 1, 1, 1, 1, 1, 0] }, 6],
    ['interleaved', { interleave_moe_layer_step: 4 }, 2],
    ['named expert layers', { moe_layers: [1, 2] }, 2],
    [
      'named types',
      { mlp_layer_types: ['dense', ...Array.from({ length: 7 }, () => 'sparse')] },
      7,
    ],
    ['jamba', { expert_layer_period: 2, expert_layer_offset: 1 }, 4],
  ])('experts: %s', (_name, fields, layers) => {
    const config = denseModel({
      num_experts: 8,
      num_experts_per_tok: 2,
      moe_intermediate_size: 256,
      ...fields,
    });
    const sparse = config.layers.filter(
      (index) => config.blocks[index]?.feedForward.experts !== null,
    );
    expect(sparse.length).toBe(layers);
  });

  test('jamba: state-space layers with one attention layer in a period', () => {
    const config = denseModel({
      model_type: 'jamba',
      attn_layer_period: 4,
      attn_layer_offset: 2,
      mamba_d_state: 16,
      mamba_expand: 2,
    });
    const kinds = config.layers.map((index) => config.blocks[index]?.mixer.kind);
    expect(kinds).toEqual([
      'mamba1',
      'mamba1',
      'attention',
      'mamba1',
      'mamba1',
      'mamba1',
      'attention',
      'mamba1',
    ]);
  });

  test('an unknown letter in a layer pattern is refused', () => {
    const error = refusal(() => denseModel({ hybrid_override_pattern: 'M*EMX*EM' }));
    expect(error.message).toContain('"X"');
  });
});
