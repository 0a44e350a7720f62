/**
 * Builds the token mixer of a layer from the fields that announce it.
 * Owns the choice between attention, latent attention, compressed attention, delta nets and Mamba, and the refusal of
 * heads that contradict each other. Counting is `tensors.ts`'s business.
 */
import type { AttentionMixer, FloatType, Mixer } from '../model-config.js';
import type { LayerPlan } from './layer-plan.js';
import { assume, need, type Reading, refuse } from './reading.js';

const NONE: Mixer = { kind: 'none' };

function stateType(reading: Reading): FloatType {
  const { text } = reading;
  const name = text.mamba_ssm_cache_dtype ?? text.mamba_ssm_dtype;
  return name === 'float32' || name === 'fp32' ? 'fp32' : 'bf16';
}

function yes(value: boolean | string | null | undefined, otherwise: boolean): boolean {
  return typeof value === 'boolean' ? value : otherwise;
}

function rotaryDim(reading: Reading, headDim: number): number {
  const { text } = reading;
  if (text.rotary_dim) return Math.min(headDim, text.rotary_dim);
  const nested = text.rope_parameters;
  const fraction =
    text.partial_rotary_factor ??
    (typeof nested?.partial_rotary_factor === 'number' ? nested.partial_rotary_factor : 1);
  return Math.max(2, Math.floor(headDim * fraction));
}

/** Query, key and head widths of ordinary attention; windowed layers may have their own. */
function headShape(
  reading: Reading,
  windowed: boolean,
): { heads: number; kvHeads: number; headDim: number; valueDim: number } {
  const { text, hidden } = reading;
  const ownHeads = need(reading, 'num_attention_heads', text.num_attention_heads);
  const heads = (windowed ? text.swa_num_attention_heads : null) ?? ownHeads;
  const global = !windowed && text.global_head_dim ? text : null;
  const headDim =
    (windowed ? text.swa_head_dim : null) ??
    global?.global_head_dim ??
    text.head_dim ??
    Math.floor(hidden / ownHeads);
  if (headDim < 1)
    refuse(
      reading,
      'num_attention_heads',
      `${ownHeads} heads over a hidden size of ${hidden}`,
      'head_dim would be 0',
    );
  if (!text.head_dim && hidden % ownHeads !== 0)
    refuse(
      reading,
      'num_attention_heads',
      `${ownHeads} does not divide hidden_size ${hidden}`,
      'add head_dim or correct one of them',
    );
  const kvHeads =
    (windowed ? text.swa_num_key_value_heads : null) ??
    global?.num_global_key_value_heads ??
    (text.num_key_value_heads || null) ??
    heads;
  if (kvHeads > heads || heads % kvHeads !== 0)
    refuse(
      reading,
      'num_key_value_heads',
      `${kvHeads} key-value heads cannot serve ${heads} query heads`,
      'num_attention_heads must be a multiple of num_key_value_heads',
    );
  const valueDim =
    (windowed ? text.swa_v_head_dim : null) ??
    (text.kv_lora_rank ? null : text.v_head_dim) ??
    headDim;
  return { heads, kvHeads, headDim, valueDim };
}

function qkNormOf(reading: Reading): 'none' | 'head' | 'width' {
  const { text, traits } = reading;
  if (text.use_qk_norm === false) return 'none';
  if (traits.qkNormStated) return text.use_qk_norm === true ? traits.qkNorm : 'none';
  if (traits.qkNorm === 'none' && text.use_qk_norm === true) {
    assume(reading, 'query and key norms are counted per head channel');
    return 'head';
  }
  return traits.qkNorm;
}

function attention(reading: Reading, plan: LayerPlan): AttentionMixer {
  const { text, traits } = reading;
  const windowed = plan.mixer === 'window';
  const shape = headShape(reading, windowed);
  const attentionBias = text.attention_bias ?? text.use_bias;
  const bias = yes(text.qkv_bias, yes(attentionBias, traits.qkvBias));
  const usualOutput =
    traits.qkvBias && !traits.outputBias ? false : yes(attentionBias, traits.outputBias);
  const outputBias = yes(text.attention_out_bias, usualOutput);
  const qkNorm = qkNormOf(reading);
  const widths = qkNorm === 'width' ? shape.heads + shape.kvHeads : qkNorm === 'head' ? 2 : 0;
  const shared = text.num_kv_shared_layers ?? 0;
  return {
    kind: 'attention',
    ...shape,
    window: windowed ? (text.sliding_window ?? null) : null,
    chunk: plan.mixer === 'chunk' ? (text.attention_chunk_size ?? null) : null,
    qkvBias: bias,
    outputBias,
    qkNormParameters: widths * shape.headDim,
    outputGate: text.attn_output_gate ?? Boolean(text.linear_num_value_heads),
    keyIsValue: !windowed && text.attention_k_eq_v === true,
    sinks:
      traits.sinks ||
      yes(windowed ? text.add_swa_attention_sink_bias : text.add_full_attention_sink_bias, false),
    sharesKv: shared > 0 && plan.index >= reading.layerCount - shared,
    rotaryDim: rotaryDim(reading, shape.headDim),
  };
}

function latent(reading: Reading, plan: LayerPlan): Mixer {
  const { text } = reading;
  const indexer = text.index_n_heads && text.index_head_dim && text.index_topk;
  const types = text.indexer_types;
  return {
    kind: 'mla',
    heads: need(reading, 'num_attention_heads', text.num_attention_heads),
    queryRank: text.q_lora_rank || null,
    kvRank: need(reading, 'kv_lora_rank', text.kv_lora_rank),
    nopeDim: need(reading, 'qk_nope_head_dim', text.qk_nope_head_dim),
    ropeDim: need(reading, 'qk_rope_head_dim', text.qk_rope_head_dim),
    valueDim: need(reading, 'v_head_dim', text.v_head_dim),
    bias: yes(text.attention_bias, false),
    indexer: indexer
      ? {
          heads: text.index_n_heads ?? 0,
          dim: text.index_head_dim ?? 0,
          topK: text.index_topk ?? 0,
          owns: types?.[plan.index] !== 'shared',
        }
      : null,
  };
}

function compressed(reading: Reading, ratio: number): Mixer {
  const { text } = reading;
  const indexed = ratio > 0 && ratio <= 4 && text.index_n_heads && text.index_head_dim;
  return {
    kind: 'compressed',
    heads: need(reading, 'num_attention_heads', text.num_attention_heads),
    headDim: need(reading, 'head_dim', text.head_dim),
    ropeDim: need(reading, 'qk_rope_head_dim', text.qk_rope_head_dim),
    queryRank: need(reading, 'q_lora_rank', text.q_lora_rank),
    outputRank: need(reading, 'o_lora_rank', text.o_lora_rank),
    outputGroups: need(reading, 'o_groups', text.o_groups),
    ratio,
    window: need(reading, 'sliding_window', text.sliding_window),
    indexer: indexed
      ? {
          heads: text.index_n_heads ?? 0,
          dim: text.index_head_dim ?? 0,
          topK: text.index_topk ?? 0,
        }
      : null,
  };
}

function delta(reading: Reading): Mixer {
  const { text } = reading;
  return {
    kind: 'gdn',
    keyHeads: need(reading, 'linear_num_key_heads', text.linear_num_key_heads),
    keyDim: need(reading, 'linear_key_head_dim', text.linear_key_head_dim),
    valueHeads: need(reading, 'linear_num_value_heads', text.linear_num_value_heads),
    valueDim: need(reading, 'linear_value_head_dim', text.linear_value_head_dim),
    convKernel: need(reading, 'linear_conv_kernel_dim', text.linear_conv_kernel_dim),
    stateType: stateType(reading),
  };
}

function mamba(reading: Reading): Mixer {
  const { text, hidden } = reading;
  const expand = text.mamba_expand ?? text.expand ?? 2;
  const heads =
    text.mamba_num_heads ?? (typeof text.mamba_n_heads === 'number' ? text.mamba_n_heads : null);
  const stateSize = text.ssm_state_size ?? text.mamba_d_state;
  const common = {
    convKernel: text.conv_kernel ?? text.mamba_d_conv ?? 4,
    convBias: text.use_conv_bias ?? text.mamba_conv_bias ?? true,
    projectionBias: text.mamba_proj_bias ?? false,
    stateType: stateType(reading),
  };
  if (!heads) {
    const inner = Math.round(expand * hidden);
    const rank =
      typeof text.mamba_dt_rank === 'number' ? text.mamba_dt_rank : Math.ceil(hidden / 16);
    return {
      kind: 'mamba1',
      inner,
      stateSize: stateSize ?? 16,
      timeRank: rank,
      innerNorms: true,
      ...common,
    };
  }
  const given =
    text.mamba_head_dim ?? (typeof text.mamba_d_head === 'number' ? text.mamba_d_head : null);
  if (!stateSize) assume(reading, 'mamba state size is not stated and taken as 128');
  return {
    kind: 'mamba2',
    heads,
    headDim: given ?? Math.floor((expand * hidden) / heads),
    groups: text.n_groups ?? text.mamba_n_groups ?? 1,
    stateSize: stateSize ?? 128,
    ...common,
  };
}

/** The mixer of one planned layer. */
export function buildMixer(reading: Reading, plan: LayerPlan): Mixer {
  const { text } = reading;
  if (plan.ratio !== null && text.o_lora_rank) return compressed(reading, plan.ratio);
  switch (plan.mixer) {
    case 'none':
      return NONE;
    case 'delta':
      return delta(reading);
    case 'mamba':
      return mamba(reading);
    case 'full':
    case 'window':
    case 'chunk':
      return text.kv_lora_rank ? latent(reading, plan) : attention(reading, plan);
  }
}
