// Small model configs that tests vary.
import type { ModelConfig } from '../src/index.js';
import { parseModelConfig } from '../src/index.js';
import { configText } from './model-data.js';

/** Raw fields of a small dense model, with some of them replaced. */
export function denseFields(
  overrides: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: 1024,
    intermediate_size: 4096,
    num_hidden_layers: 8,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    vocab_size: 32_000,
    max_position_embeddings: 8192,
    torch_dtype: 'bfloat16',
    ...overrides,
  };
}

/** A small dense model. */
export function denseModel(overrides: Readonly<Record<string, unknown>> = {}): ModelConfig {
  return parseModelConfig(denseFields(overrides), { source: 'dense' });
}

/** A committed config, parsed. */
export function committed(file: string): ModelConfig {
  return parseModelConfig(configText(file), { source: file });
}
