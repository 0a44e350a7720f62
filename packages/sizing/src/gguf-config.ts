/**
 * From a GGUF header to the fields of a config.json, so that one reader understands both.
 * Owns the translation of metadata keys; source: GGUF specification and llama.cpp's architecture names.
 */
import { invalidConfig } from './errors.js';
import type { GgufHeader } from './gguf-header.js';

/** llama.cpp's architecture names that differ from `model_type`. */
const MODEL_TYPES: ReadonlyMap<string, string> = new Map([
  ['qwen2moe', 'qwen2_moe'],
  ['qwen3moe', 'qwen3_moe'],
  ['gpt-oss', 'gpt_oss'],
  ['deepseek2', 'deepseek_v3'],
  ['llama4', 'llama4_text'],
  ['phi2', 'phi'],
  ['minimax-m2', 'minimax_m2'],
]);

/** Fields of a config.json that say the same as a GGUF header. Throws `ERR_CONFIG_INVALID` without an architecture. */
export function ggufConfigFields(
  header: GgufHeader,
  source: string,
): Readonly<Record<string, unknown>> {
  const { metadata, tensors } = header;
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string')
    throw invalidConfig(
      source,
      'general.architecture',
      'missing',
      'give a GGUF file of a language model',
    );
  const number = (key: string): number | undefined => {
    const value = metadata.get(`${architecture}.${key}`);
    if (typeof value === 'number') return value;
    // Per-layer lists: the largest counts, which is what every layer of today's files has.
    if (typeof value === 'object' && value.numbers.length > 0) return Math.max(...value.numbers);
    return undefined;
  };
  const embedding = tensors.find((tensor) => tensor.name === 'token_embd.weight');
  const tokens = metadata.get('tokenizer.ggml.tokens');
  const heads = number('attention.head_count');
  const hidden = number('embedding_length');
  const keyLength = number('attention.key_length');
  const latent = number('attention.kv_lora_rank');
  const rope = number('rope.dimension_count');
  return {
    model_type: MODEL_TYPES.get(architecture) ?? architecture,
    hidden_size: hidden,
    num_hidden_layers: number('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: number('attention.head_count_kv'),
    head_dim: latent === undefined ? keyLength : undefined,
    v_head_dim: number('attention.value_length'),
    intermediate_size: number('feed_forward_length'),
    vocab_size: embedding?.shape[1] ?? (typeof tokens === 'object' ? tokens.length : undefined),
    max_position_embeddings: number('context_length'),
    sliding_window: number('attention.sliding_window'),
    tie_word_embeddings: !tensors.some((tensor) => tensor.name === 'output.weight'),
    num_experts: number('expert_count'),
    num_experts_per_tok: number('expert_used_count'),
    moe_intermediate_size: number('expert_feed_forward_length'),
    n_shared_experts: number('expert_shared_count'),
    first_k_dense_replace: number('leading_dense_block_count'),
    q_lora_rank: number('attention.q_lora_rank'),
    kv_lora_rank: latent,
    qk_rope_head_dim: latent === undefined ? undefined : rope,
    qk_nope_head_dim:
      latent === undefined || keyLength === undefined ? undefined : keyLength - (rope ?? 0),
    torch_dtype: 'float16',
  };
}
