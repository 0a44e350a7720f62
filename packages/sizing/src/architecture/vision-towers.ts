/**
 * Counts the image encoder and its projector. Encoders differ more between families than language models do, so each
 * kind has its own short formula; an unknown one is taken as a plain vision transformer and said to be assumed.
 */
import type { Tensor, VisionTower } from '../model-config.js';
import type { RawVision } from '../schema.js';
import { assume, need, type Reading } from './reading.js';
import { plainMatrix, tensorParameters, vector } from './tensor-shapes.js';

interface Encoder {
  readonly hidden: number;
  readonly width: number;
  readonly layers: number;
  readonly patchInputs: number;
}

const component = 'vision' as const;

function part(module: string, rows: number, columns: number): Tensor {
  return plainMatrix({ component, module, rows, columns, split: 'replicated' });
}

function tower(
  encoder: Encoder,
  layerTensors: readonly Tensor[],
  otherTensors: readonly Tensor[],
): VisionTower {
  const sum = (tensors: readonly Tensor[]): number =>
    tensors.reduce((total, one) => total + tensorParameters(one), 0);
  return {
    parameters: encoder.layers * sum(layerTensors) + sum(otherTensors),
    layers: encoder.layers,
    hidden: encoder.hidden,
    layerTensors,
    otherTensors,
  };
}

/** One layer of a plain vision transformer: attention and a two-matrix network, with biases and two norms. */
function plainLayer(hidden: number, width: number, bias: boolean): readonly Tensor[] {
  const tensors = [
    part('attn.qkv', 3 * hidden, hidden),
    part('attn.proj', hidden, hidden),
    part('mlp.fc1', width, hidden),
    part('mlp.fc2', hidden, width),
    vector(component, 'norms', bias ? 4 * hidden : 2 * hidden),
  ];
  if (bias) tensors.push(vector(component, 'biases', 5 * hidden + width));
  return tensors;
}

function encoderOf(reading: Reading, raw: RawVision): Encoder {
  const hidden = need(reading, 'vision_config.hidden_size', raw.hidden_size);
  const patch = raw.patch_size ?? 14;
  return {
    hidden,
    width: raw.intermediate_size ?? Math.round((raw.mlp_ratio ?? 4) * hidden),
    layers: need(reading, 'vision_config.num_hidden_layers', raw.depth ?? raw.num_hidden_layers),
    patchInputs:
      (raw.in_channels ?? raw.in_chans ?? raw.num_channels ?? 3) *
      patch *
      patch *
      (raw.temporal_patch_size ?? 1),
  };
}

/** Qwen3-VL and Qwen3.5: learned positions, a merger of 2 × 2 patches, optional deep-stack mergers. */
function qwenTower(reading: Reading, raw: RawVision): VisionTower {
  const encoder = encoderOf(reading, raw);
  const { hidden } = encoder;
  const merged = hidden * (raw.spatial_merge_size ?? 2) ** 2;
  const output = raw.out_hidden_size ?? reading.hidden;
  const merger = (norm: number): readonly Tensor[] => [
    part('merger.fc1', merged, merged),
    part('merger.fc2', output, merged),
    vector(component, 'merger.vectors', merged + output + 2 * norm),
  ];
  return tower(encoder, plainLayer(hidden, encoder.width, true), [
    part('patch_embed', hidden, encoder.patchInputs),
    vector(component, 'patch_embed.bias', hidden),
    part('pos_embed', raw.num_position_embeddings ?? 0, hidden),
    ...merger(hidden),
    ...(raw.deepstack_visual_indexes ?? []).flatMap(() => merger(merged)),
  ]);
}

/** Qwen2-VL: plain layers, a merger of 2 × 2 patches; `hidden_size` is the width it gives out. */
function qwen2Tower(reading: Reading, raw: RawVision): VisionTower {
  const hidden = need(reading, 'vision_config.embed_dim', raw.embed_dim);
  const encoder = encoderOf(reading, { ...raw, hidden_size: hidden });
  const output = raw.hidden_size ?? reading.hidden;
  return tower(encoder, plainLayer(hidden, encoder.width, true), [
    part('patch_embed', hidden, encoder.patchInputs),
    ...patchMerger(raw, hidden, output, 2 * hidden),
  ]);
}

/** Qwen2.5-VL: gated network with biases, norms without. */
function qwen25Tower(reading: Reading, raw: RawVision): VisionTower {
  const encoder = encoderOf(reading, raw);
  const { hidden, width } = encoder;
  const layer = [
    part('attn.qkv', 3 * hidden, hidden),
    part('attn.proj', hidden, hidden),
    part('mlp.gate_up', 2 * width, hidden),
    part('mlp.down', hidden, width),
    vector(component, 'norms', 2 * hidden),
    vector(component, 'biases', 5 * hidden + 2 * width),
  ];
  return tower(encoder, layer, [
    part('patch_embed', hidden, encoder.patchInputs),
    ...patchMerger(raw, hidden, raw.out_hidden_size ?? reading.hidden, hidden),
  ]);
}

function patchMerger(
  raw: RawVision,
  hidden: number,
  output: number,
  norm: number,
): readonly Tensor[] {
  const merged = hidden * (raw.spatial_merge_size ?? 2) ** 2;
  return [
    part('merger.fc1', merged, merged),
    part('merger.fc2', output, merged),
    vector(component, 'merger.vectors', merged + output + norm),
  ];
}

/** SigLIP with Gemma 3's projector. */
function siglipTower(reading: Reading, raw: RawVision): VisionTower {
  const encoder = encoderOf(reading, raw);
  const { hidden } = encoder;
  const positions = ((raw.image_size ?? 896) / (raw.patch_size ?? 14)) ** 2;
  return tower(encoder, plainLayer(hidden, encoder.width, true), [
    part('patch_embedding', hidden, encoder.patchInputs),
    vector(component, 'patch_embedding.bias', hidden),
    part('position_embedding', Math.floor(positions), hidden),
    vector(component, 'post_layernorm', 2 * hidden),
    part('projector', reading.hidden, hidden),
    vector(component, 'projector.norm', hidden),
  ]);
}

/** Gemma 4: gated network, four norms and two head norms per layer, factorised positions, projector. */
function gemma4Tower(reading: Reading, raw: RawVision): VisionTower {
  const encoder = encoderOf(reading, raw);
  const { hidden, width } = encoder;
  const headDim = raw.head_dim ?? Math.floor(hidden / (raw.num_attention_heads ?? 16));
  const heads = (raw.num_attention_heads ?? 16) * headDim;
  const kv = (raw.num_key_value_heads ?? raw.num_attention_heads ?? 16) * headDim;
  const layer = [
    part('attn.qkv', heads + 2 * kv, hidden),
    part('attn.proj', hidden, heads),
    part('mlp.gate_up', 2 * width, hidden),
    part('mlp.down', hidden, width),
    vector(component, 'norms', 4 * hidden + 2 * headDim),
  ];
  return tower(encoder, layer, [
    part('patch_embedder', hidden, encoder.patchInputs),
    part('position_embedding_table', 2 * (raw.position_embedding_size ?? 0), hidden),
    part('embedding_projection', reading.hidden, hidden),
  ]);
}

/** Llama 4: plain layers with a class token, pixel-shuffle adapter and projector. */
function llama4Tower(reading: Reading, raw: RawVision): VisionTower {
  const encoder = encoderOf(reading, raw);
  const { hidden } = encoder;
  const patches = ((raw.image_size ?? 336) / (raw.patch_size ?? 14)) ** 2 + 1;
  const middle = raw.projector_input_dim ?? raw.vision_output_dim ?? 4096;
  const output = raw.vision_output_dim ?? raw.projector_output_dim ?? middle;
  return tower(encoder, plainLayer(hidden, encoder.width, true), [
    part('patch_embedding', hidden, encoder.patchInputs),
    vector(component, 'class_embedding', hidden),
    part('positional_embedding', Math.floor(patches), hidden),
    vector(component, 'layernorms', 4 * hidden),
    part('vision_adapter.fc1', middle, encoder.width),
    part('vision_adapter.fc2', output, middle),
    part('projector', reading.hidden, output),
  ]);
}

/** Pixtral: gated network, no biases; Mistral 3's merger and projector. */
function pixtralTower(reading: Reading, raw: RawVision): VisionTower {
  const encoder = encoderOf(reading, raw);
  const { hidden, width } = encoder;
  const layer = [
    part('attn.qkv', 3 * hidden, hidden),
    part('attn.proj', hidden, hidden),
    part('mlp.gate_up', 2 * width, hidden),
    part('mlp.down', hidden, width),
    vector(component, 'norms', 2 * hidden),
  ];
  const merge = (raw.spatial_merge_size ?? 2) ** 2;
  return tower(encoder, layer, [
    part('patch_conv', hidden, encoder.patchInputs),
    vector(component, 'ln_pre', 2 * hidden),
    part('patch_merger', hidden, merge * hidden),
    part('projector.linear_1', reading.hidden, hidden),
    part('projector.linear_2', reading.hidden, reading.hidden),
  ]);
}

/** MoonViT with a patch-merging projector (Kimi); in Kimi K2.5 its fields have names of their own. */
function moonTower(reading: Reading, raw: RawVision): VisionTower {
  const hidden = need(
    reading,
    'vision_config.vt_hidden_size',
    raw.vt_hidden_size ?? raw.hidden_size,
  );
  const encoder: Encoder = {
    hidden,
    width: raw.vt_intermediate_size ?? raw.intermediate_size ?? 4 * hidden,
    layers: need(
      reading,
      'vision_config.vt_num_hidden_layers',
      raw.vt_num_hidden_layers ?? raw.num_hidden_layers,
    ),
    patchInputs: 3 * (raw.patch_size ?? 14) ** 2,
  };
  const merged = 4 * hidden;
  const positions = (raw.init_pos_emb_height ?? 64) * (raw.init_pos_emb_width ?? 64);
  return tower(encoder, plainLayer(hidden, encoder.width, true), [
    part('patch_embed', hidden, encoder.patchInputs),
    part('pos_emb', positions, hidden),
    vector(component, 'vectors', 5 * hidden),
    part('projector.linear_1', merged, merged),
    part('projector.linear_2', reading.hidden, merged),
    vector(component, 'projector.biases', merged + reading.hidden),
  ]);
}

/** The tower a family uses when the config was published without its vision part. */
const DEFAULTS: ReadonlyMap<string, RawVision> = new Map<string, RawVision>([
  [
    'llama4',
    {
      model_type: 'llama4_vision_model',
      hidden_size: 1408,
      num_hidden_layers: 34,
      intermediate_size: 5632,
      image_size: 336,
      patch_size: 14,
      projector_input_dim: 4096,
      projector_output_dim: 4096,
      vision_output_dim: 4096,
    },
  ],
  [
    'pixtral',
    {
      model_type: 'pixtral',
      hidden_size: 1024,
      num_hidden_layers: 24,
      intermediate_size: 4096,
      patch_size: 14,
    },
  ],
]);

/** A family's usual tower, for a config that announces images but leaves the vision part out. */
export function defaultVision(family: string): RawVision | null {
  return DEFAULTS.get(family) ?? null;
}

/** Counts the vision tower described by `raw`; `family` is the whole model's, for towers that do not name themselves. */
export function buildVisionTower(reading: Reading, raw: RawVision, family: string): VisionTower {
  const kind = raw.model_type || family;
  if (kind.startsWith('qwen2_5_vl')) return qwen25Tower(reading, raw);
  if (kind.startsWith('qwen2_vl')) return qwen2Tower(reading, raw);
  if (kind.startsWith('qwen3')) return qwenTower(reading, raw);
  if (kind.startsWith('siglip')) return siglipTower(reading, raw);
  if (kind.startsWith('gemma4')) return gemma4Tower(reading, raw);
  if (kind.startsWith('llama4')) return llama4Tower(reading, raw);
  if (kind.startsWith('pixtral')) return pixtralTower(reading, raw);
  if (raw.vt_hidden_size || kind === 'moonvit') return moonTower(reading, raw);
  assume(
    reading,
    `vision tower of type "${kind || 'unknown'}" is counted as a plain vision transformer`,
  );
  const encoder = encoderOf(reading, raw);
  return tower(encoder, plainLayer(encoder.hidden, encoder.width, true), [
    part('patch_embedding', encoder.hidden, encoder.patchInputs),
    part('projector', raw.out_hidden_size ?? reading.hidden, encoder.hidden),
  ]);
}
