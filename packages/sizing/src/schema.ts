/**
 * The edge: which fields of a published config.json this package reads, and their types.
 * Foreign files carry hundreds of fields we do not need, hence loose objects; every field named here is checked.
 * Bounds are physical: a number no real model can have is refused instead of being multiplied.
 */
import { z } from 'zod';

const size = z.number().int().min(1).max(1e8).nullish();
const small = z.number().int().min(0).max(100_000).nullish();
const factor = z.number().min(0).max(1e6).nullish();
const flag = z.boolean().nullish();
const word = z.string().max(200).nullish();
const words = z.array(z.string().max(200)).max(10_000).nullish();
const counts = z.array(z.number().int().min(0).max(1e7)).max(10_000).nullish();

const rope = z
  .looseObject({
    factor,
    rope_type: word,
    type: word,
    original_max_position_embeddings: size,
    partial_rotary_factor: z.number().min(0).max(1).nullish(),
  })
  .nullish();

/** The fields of a language model's config that decide its size. */
const textShape = {
  model_type: word,
  architectures: words,
  hidden_size: size,
  num_hidden_layers: small,
  num_attention_heads: small,
  num_key_value_heads: small,
  num_global_key_value_heads: small,
  head_dim: size,
  v_head_dim: size,
  global_head_dim: size,
  intermediate_size: z.union([size, z.array(z.number().int().min(1).max(1e8)).max(10_000)]),
  intermediate_size_mlp: size,
  vocab_size: size,
  tie_word_embeddings: flag,
  max_position_embeddings: size,
  torch_dtype: word,
  dtype: word,
  hidden_act: word,
  mlp_hidden_act: word,
  attention_bias: z.union([flag, word]),
  qkv_bias: z.union([flag, word]),
  mlp_bias: flag,
  lm_head_bias: flag,
  use_bias: flag,
  use_qk_norm: flag,
  qk_norm_type: word,
  attn_output_gate: flag,
  attention_k_eq_v: flag,
  num_kv_shared_layers: small,
  hidden_size_per_layer_input: small,
  vocab_size_per_layer_input: size,
  use_double_wide_mlp: flag,
  enable_moe_block: flag,
  final_logit_softcapping: factor,
  sliding_window: size,
  use_sliding_window: flag,
  max_window_layers: small,
  sliding_window_pattern: z.union([small, word]),
  attention_chunk_size: size,
  no_rope_layers: counts,
  layer_types: words,
  layers_block_type: words,
  hybrid_override_pattern: z.string().max(10_000).nullish(),
  mtp_hybrid_override_pattern: z.string().max(1000).nullish(),
  mtp_layers_block_type: words,
  hybrid_layer_pattern: counts,
  full_attention_interval: small,
  attn_layer_indices: counts,
  attn_layer_period: small,
  attn_layer_offset: small,
  rope_scaling: rope,
  rope_parameters: z.union([rope, z.record(z.string(), rope)]),
  partial_rotary_factor: z.number().min(0).max(1).nullish(),
  rotary_dim: small,
  // mixture of experts
  num_experts: small,
  num_local_experts: small,
  n_routed_experts: small,
  num_experts_per_tok: small,
  experts_per_token: small,
  top_k_experts: small,
  moe_intermediate_size: size,
  expert_intermediate: size,
  shared_expert_intermediate_size: small,
  shared_intermediate_size: small,
  moe_shared_expert_intermediate_size: small,
  share_expert_dim: small,
  n_shared_experts: small,
  num_shared_experts: small,
  moe_latent_size: size,
  first_k_dense_replace: small,
  moe_layer_freq: z.union([small, counts]),
  mlp_layer_types: words,
  decoder_sparse_step: small,
  mlp_only_layers: counts,
  interleave_moe_layer_step: small,
  moe_layers: counts,
  expert_layer_period: small,
  expert_layer_offset: small,
  use_routing_bias: flag,
  use_moe_router_bias: flag,
  topk_method: word,
  // latent attention
  q_lora_rank: small,
  kv_lora_rank: small,
  qk_nope_head_dim: small,
  qk_rope_head_dim: small,
  index_n_heads: small,
  index_head_dim: small,
  index_topk: small,
  indexer_types: words,
  o_lora_rank: small,
  o_groups: small,
  compress_ratios: counts,
  hc_mult: small,
  num_hash_layers: small,
  // sliding-window attention of other dimensions
  swa_num_attention_heads: small,
  swa_num_key_value_heads: small,
  swa_head_dim: size,
  swa_v_head_dim: size,
  add_swa_attention_sink_bias: flag,
  add_full_attention_sink_bias: flag,
  // state-space and delta layers
  linear_num_key_heads: small,
  linear_num_value_heads: small,
  linear_key_head_dim: small,
  linear_value_head_dim: small,
  linear_conv_kernel_dim: small,
  mamba_num_heads: small,
  mamba_n_heads: z.union([small, word]),
  mamba_head_dim: small,
  mamba_d_head: z.union([small, word]),
  mamba_d_state: small,
  ssm_state_size: small,
  mamba_n_groups: small,
  n_groups: small,
  mamba_d_conv: small,
  conv_kernel: small,
  mamba_expand: factor,
  expand: factor,
  mamba_dt_rank: z.union([small, word]),
  use_conv_bias: flag,
  mamba_conv_bias: flag,
  mamba_proj_bias: flag,
  mamba_ssm_dtype: word,
  mamba_ssm_cache_dtype: word,
  attention_layers: small,
  // multi-token prediction
  num_nextn_predict_layers: small,
  mtp_num_hidden_layers: small,
  mtp_layers: small,
} as const;

const visionShape = {
  model_type: word,
  hidden_size: size,
  depth: small,
  num_hidden_layers: small,
  intermediate_size: size,
  patch_size: size,
  image_size: size,
  num_channels: small,
  in_channels: small,
  temporal_patch_size: small,
  num_position_embeddings: small,
  position_embedding_size: small,
  num_attention_heads: small,
  num_key_value_heads: small,
  head_dim: size,
  out_hidden_size: size,
  spatial_merge_size: small,
  deepstack_visual_indexes: counts,
  projector_input_dim: size,
  projector_output_dim: size,
  vision_output_dim: size,
  standardize: flag,
} as const;

const quantizationWeights = z
  .looseObject({
    num_bits: z.number().int().min(1).max(32).nullish(),
    group_size: z.number().int().min(-1).max(1e6).nullish(),
    block_structure: z.union([z.array(z.number()), z.string()]).nullish(),
    strategy: word,
    symmetric: flag,
    type: word,
    actorder: z.union([flag, word]),
  })
  .nullish();

const quantizationShape = {
  quant_method: word,
  quant_algo: word,
  moe_quant_algo: word,
  format: word,
  fmt: word,
  bits: z.number().int().min(1).max(32).nullish(),
  w_bit: z.number().int().min(1).max(32).nullish(),
  group_size: z.number().int().min(-1).max(1e6).nullish(),
  q_group_size: z.number().int().min(-1).max(1e6).nullish(),
  sym: flag,
  zero_point: flag,
  desc_act: flag,
  load_in_4bit: flag,
  load_in_8bit: flag,
  bnb_4bit_quant_type: word,
  bnb_4bit_use_double_quant: flag,
  scale_fmt: word,
  weight_block_size: counts,
  modules_to_not_convert: words,
  ignored_layers: words,
  ignore: words,
  exclude_modules: words,
  kv_cache_quant_algo: word,
  kv_cache_scheme: z.looseObject({ num_bits: z.number().nullish(), type: word }).nullish(),
  config_groups: z
    .record(
      z.string(),
      z.looseObject({ weights: quantizationWeights, targets: z.array(z.string().max(300)).max(100_000).nullish() }),
    )
    .nullish(),
  quantized_layers: z
    .record(
      z.string(),
      z.looseObject({ quant_algo: word, group_size: z.number().int().min(-1).max(1e6).nullish() }),
    )
    .nullish(),
} as const;

/** Text part of a published config. */
export type RawText = z.infer<z.ZodObject<typeof textShape>>;
/** Vision part of a published config. */
export type RawVision = z.infer<z.ZodObject<typeof visionShape>>;
/** Quantization part of a published config, or the body of hf_quant_config.json. */
export type RawQuantization = z.infer<z.ZodObject<typeof quantizationShape>>;

/** Checks the text part. */
export const textSchema: z.ZodType<RawText> = z.looseObject(textShape);
/** Checks the vision part. */
export const visionSchema: z.ZodType<RawVision> = z.looseObject(visionShape);
/** Checks the quantization part. */
export const quantizationSchema: z.ZodType<RawQuantization> = z.looseObject(quantizationShape);
