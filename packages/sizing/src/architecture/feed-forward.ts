/**
 * Builds the feed-forward side of a layer: dense network, routed experts, shared expert, in the spellings of every
 * family. Knows widths and biases, counts nothing.
 */
import type { DenseFeedForward, ExpertFeedForward, FeedForward } from '../model-config.js';
import type { LayerPlan } from './layer-plan.js';
import { assume, need, type Reading, refuse } from './reading.js';

const USUAL_TOP_K = 8;
const NOTHING: FeedForward = { dense: null, experts: null, shared: null };

function widthOf(reading: Reading, index: number): number {
  const width = reading.text.intermediate_size;
  if (typeof width === 'number' || width === null || width === undefined)
    return need(reading, 'intermediate_size', width);
  return need(reading, `intermediate_size.${index}`, width[index]);
}

function gated(reading: Reading): boolean {
  return reading.traits.gated && reading.text.mlp_hidden_act !== 'relu2';
}

function dense(reading: Reading, index: number): DenseFeedForward {
  const { text, traits } = reading;
  const noExperts = (text.num_local_experts ?? text.num_experts ?? 0) === 0;
  const width =
    (traits.wideDense ? text.intermediate_size_mlp : null) ??
    (noExperts && text.shared_intermediate_size ? text.shared_intermediate_size : null) ??
    widthOf(reading, index);
  return { width, gated: gated(reading), bias: text.mlp_bias ?? text.use_bias ?? traits.mlpBias };
}

function experts(reading: Reading, index: number): ExpertFeedForward {
  const { text, traits } = reading;
  const count = need(
    reading,
    'num_experts',
    text.num_experts ?? text.num_local_experts ?? text.n_routed_experts,
  );
  const stated = text.num_experts_per_tok ?? text.experts_per_token ?? text.top_k_experts;
  const topK = stated || Math.min(USUAL_TOP_K, count);
  if (!stated) assume(reading, `num_experts_per_tok is not stated and taken as ${topK}`);
  if (topK > count)
    refuse(
      reading,
      'num_experts_per_tok',
      `${topK} of ${count} experts`,
      'it must not exceed the number of experts',
    );
  return {
    experts: count,
    topK,
    width: text.moe_intermediate_size ?? text.expert_intermediate ?? widthOf(reading, index),
    gated: gated(reading),
    bias: traits.expertBias,
    routerBias: traits.expertBias,
    correctionBias:
      text.topk_method === 'noaux_tc' ||
      text.use_routing_bias === true ||
      text.use_moe_router_bias === true ||
      traits.correctionBias ||
      (text.layers_block_type ?? null) !== null ||
      (text.hybrid_override_pattern ?? null) !== null,
    latent: text.moe_latent_size ?? null,
    routerScales: text.enable_moe_block === true,
  };
}

function sharedWidth(reading: Reading, expertWidth: number): number {
  const { text, traits } = reading;
  const given =
    text.shared_expert_intermediate_size ??
    text.shared_intermediate_size ??
    text.moe_shared_expert_intermediate_size ??
    text.share_expert_dim;
  const count = text.n_shared_experts ?? text.num_shared_experts;
  if (given !== null && given !== undefined)
    return given * (text.moe_shared_expert_intermediate_size ? (count ?? 1) : 1);
  if (count) return count * expertWidth;
  return traits.impliedShared ? expertWidth : 0;
}

/** The feed-forward side of one planned layer. */
export function buildFeedForward(reading: Reading, plan: LayerPlan): FeedForward {
  if (plan.feedForward === 'none') return NOTHING;
  if (plan.feedForward === 'dense')
    return { dense: dense(reading, plan.index), experts: null, shared: null };
  const routed = experts(reading, plan.index);
  const width = sharedWidth(reading, routed.width);
  return {
    dense: routed.routerScales ? dense(reading, plan.index) : null,
    experts: routed,
    shared:
      width > 0
        ? { width, gated: routed.gated, bias: false, outputGate: reading.traits.sharedGate }
        : null,
  };
}
