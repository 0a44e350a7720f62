/**
 * The edge: which fields of a published config.json this package reads, and their types. Foreign files carry hundreds
 * of fields nobody needs here, hence loose objects; every field named is checked. Names are the files' own.
 */
import { z } from 'zod';
import {
  counts,
  factor,
  fields,
  flag,
  fraction,
  type Nullish,
  size,
  small,
  word,
  words,
} from './schema-fields.js';

const TEXT_WORD = [
  'model_type',
  'torch_dtype',
  'dtype',
  'hidden_act',
  'mlp_hidden_act',
  'qk_norm_type',
  'topk_method',
  'expert_dtype',
  'mamba_ssm_dtype',
  'mamba_ssm_cache_dtype',
] as const;
const TEXT_WORDS = [
  'architectures',
  'layer_types',
  'layers_block_type',
  'mtp_layers_block_type',
  'mlp_layer_types',
  'indexer_types',
] as const;
const TEXT_SIZE = [
  'hidden_size',
  'head_dim',
  'v_head_dim',
  'global_head_dim',
  'intermediate_size_mlp',
  'vocab_size',
  'max_position_embeddings',
  'vocab_size_per_layer_input',
  'sliding_window',
  'attention_chunk_size',
  'moe_intermediate_size',
  'expert_intermediate',
  'moe_latent_size',
  'swa_head_dim',
  'swa_v_head_dim',
] as const;
const TEXT_COUNT = [
  'num_hidden_layers',
  'num_attention_heads',
  'num_key_value_heads',
  'num_global_key_value_heads',
  'num_kv_shared_layers',
  'hidden_size_per_layer_input',
  'max_window_layers',
  'full_attention_interval',
  'attn_layer_period',
  'attn_layer_offset',
  'rotary_dim',
  'num_experts',
  'num_local_experts',
  'n_routed_experts',
  'num_experts_per_tok',
  'experts_per_token',
  'top_k_experts',
  'shared_expert_intermediate_size',
  'shared_intermediate_size',
  'moe_shared_expert_intermediate_size',
  'share_expert_dim',
  'n_shared_experts',
  'num_shared_experts',
  'first_k_dense_replace',
  'decoder_sparse_step',
  'interleave_moe_layer_step',
  'expert_layer_period',
  'expert_layer_offset',
  'q_lora_rank',
  'kv_lora_rank',
  'qk_nope_head_dim',
  'qk_rope_head_dim',
  'index_n_heads',
  'index_head_dim',
  'index_topk',
  'o_lora_rank',
  'o_groups',
  'hc_mult',
  'num_hash_layers',
  'swa_num_attention_heads',
  'swa_num_key_value_heads',
  'linear_num_key_heads',
  'linear_num_value_heads',
  'linear_key_head_dim',
  'linear_value_head_dim',
  'linear_conv_kernel_dim',
  'mamba_num_heads',
  'mamba_head_dim',
  'mamba_d_state',
  'ssm_state_size',
  'mamba_n_groups',
  'n_groups',
  'mamba_d_conv',
  'conv_kernel',
  'attention_layers',
  'num_nextn_predict_layers',
  'mtp_num_hidden_layers',
  'mtp_layers',
] as const;
const TEXT_FLAG = [
  'tie_word_embeddings',
  'mlp_bias',
  'lm_head_bias',
  'attention_out_bias',
  'use_bias',
  'use_qk_norm',
  'attn_output_gate',
  'attention_k_eq_v',
  'use_double_wide_mlp',
  'enable_moe_block',
  'use_sliding_window',
  'use_routing_bias',
  'use_moe_router_bias',
  'add_swa_attention_sink_bias',
  'add_full_attention_sink_bias',
  'use_conv_bias',
  'mamba_conv_bias',
  'mamba_proj_bias',
] as const;
const TEXT_FACTOR = ['final_logit_softcapping', 'mamba_expand', 'expand'] as const;
const TEXT_COUNTS = [
  'no_rope_layers',
  'hybrid_layer_pattern',
  'attn_layer_indices',
  'mlp_only_layers',
  'moe_layers',
  'compress_ratios',
] as const;

const VISION_WORD = ['model_type'] as const;
const VISION_SIZE = [
  'hidden_size',
  'intermediate_size',
  'patch_size',
  'image_size',
  'head_dim',
  'out_hidden_size',
  'projector_input_dim',
  'projector_output_dim',
  'vision_output_dim',
  'vt_hidden_size',
  'vt_intermediate_size',
  'embed_dim',
] as const;
const VISION_FACTOR = ['mlp_ratio'] as const;
const VISION_COUNT = [
  'depth',
  'num_hidden_layers',
  'num_channels',
  'in_channels',
  'in_chans',
  'temporal_patch_size',
  'num_position_embeddings',
  'position_embedding_size',
  'num_attention_heads',
  'num_key_value_heads',
  'spatial_merge_size',
  'vt_num_hidden_layers',
  'init_pos_emb_height',
  'init_pos_emb_width',
] as const;
const VISION_COUNTS = ['deepstack_visual_indexes'] as const;

/** Rope scaling; per-layer-type nesting is looked through by the reader. */
type RawRope = Nullish<
  'factor' | 'partial_rotary_factor' | 'original_max_position_embeddings',
  number
> &
  Nullish<'rope_type' | 'type', string>;

/** Fields of the text part whose type depends on who wrote the file. */
interface RawTextChoices {
  readonly intermediate_size?: number | readonly number[] | null | undefined;
  readonly attention_bias?: boolean | string | null | undefined;
  readonly qkv_bias?: boolean | string | null | undefined;
  readonly sliding_window_pattern?: number | string | null | undefined;
  readonly hybrid_override_pattern?: string | null | undefined;
  readonly mtp_hybrid_override_pattern?: string | null | undefined;
  readonly rope_scaling?: RawRope | null | undefined;
  readonly rope_parameters?: RawRope | null | undefined;
  readonly partial_rotary_factor?: number | null | undefined;
  readonly moe_layer_freq?: number | readonly number[] | null | undefined;
  readonly mamba_n_heads?: number | string | null | undefined;
  readonly mamba_d_head?: number | string | null | undefined;
  readonly mamba_dt_rank?: number | string | null | undefined;
}

/** Text part of a published config. */
export type RawText = RawTextChoices &
  Nullish<(typeof TEXT_WORD)[number], string> &
  Nullish<(typeof TEXT_WORDS)[number], readonly string[]> &
  Nullish<(typeof TEXT_SIZE)[number], number> &
  Nullish<(typeof TEXT_COUNT)[number], number> &
  Nullish<(typeof TEXT_FLAG)[number], boolean> &
  Nullish<(typeof TEXT_FACTOR)[number], number> &
  Nullish<(typeof TEXT_COUNTS)[number], readonly number[]>;

/** Vision part of a published config. */
export type RawVision = Nullish<(typeof VISION_WORD)[number], string> &
  Nullish<(typeof VISION_SIZE)[number], number> &
  Nullish<(typeof VISION_COUNT)[number], number> &
  Nullish<(typeof VISION_FACTOR)[number], number> &
  Nullish<(typeof VISION_COUNTS)[number], readonly number[]>;

const rope = z
  .looseObject({
    factor,
    rope_type: word,
    type: word,
    original_max_position_embeddings: size,
    partial_rotary_factor: fraction,
  })
  .nullish();

/** Checks the text part. */
export const textSchema: z.ZodType<RawText> = z.looseObject({
  ...fields(TEXT_WORD, word),
  ...fields(TEXT_WORDS, words),
  ...fields(TEXT_SIZE, size),
  ...fields(TEXT_COUNT, small),
  ...fields(TEXT_FLAG, flag),
  ...fields(TEXT_FACTOR, factor),
  ...fields(TEXT_COUNTS, counts),
  intermediate_size: z.union([size, counts]),
  attention_bias: z.union([flag, word]),
  qkv_bias: z.union([flag, word]),
  sliding_window_pattern: z.union([small, word]),
  hybrid_override_pattern: z.string().max(10_000).nullish(),
  mtp_hybrid_override_pattern: z.string().max(1000).nullish(),
  rope_scaling: rope,
  rope_parameters: rope,
  partial_rotary_factor: fraction,
  moe_layer_freq: z.union([small, counts]),
  mamba_n_heads: z.union([small, word]),
  mamba_d_head: z.union([small, word]),
  mamba_dt_rank: z.union([small, word]),
});

/** Checks the vision part. */
export const visionSchema: z.ZodType<RawVision> = z.looseObject({
  ...fields(VISION_WORD, word),
  ...fields(VISION_SIZE, size),
  ...fields(VISION_COUNT, small),
  ...fields(VISION_FACTOR, factor),
  ...fields(VISION_COUNTS, counts),
});
