/**
 * Bytes of the weights on one rank: every fused tensor, cut by the rank's share, stored under its scheme, charged by
 * the allocator; then rotary tables, latent attention's absorbed copies and padded expert widths.
 * Source of the rules: reference "Weights"; measured against 50 start-up logs by the sizing-accuracy bench.
 */
import { allocatedBytes } from './allocator.js';
import { tensorParameters } from './architecture/tensor-shapes.js';
import type {
  Component,
  FloatType,
  ModelConfig,
  QuantizationPlan,
  QuantizationScheme,
  Tensor,
} from './model-config.js';
import { type LayerRange, type Parallel, SINGLE } from './parallel.js';
import { floatBytes, matrixBytes, UNQUANTIZED } from './quantization-schemes.js';
import { assignScheme } from './tensor-schemes.js';

/** What decides the bytes of a rank's weights. */
export interface WeightsOptions {
  readonly dtype: FloatType;
  readonly quantization: QuantizationPlan | null;
  readonly parallel: Parallel;
  readonly platform: 'cuda' | 'rocm';
  /** See `EngineProfile.rocmPadsBlockFp8`. */
  readonly padBlockFp8: boolean;
  /** Prediction layers are loaded (speculative decoding with the model's own layers). */
  readonly prediction: boolean;
}

/** Bytes of a rank's weights, by what they are. */
export interface RankWeights {
  readonly totalBytes: number;
  readonly byComponent: Readonly<Partial<Record<Component | 'rotary' | 'latentCopies', number>>>;
}

const VOCAB_PADDING = 64;
const EXPERT_PADDING = 256;
const ROCM_ROW = 512;
const ROCM_PAD = 256;

/** Rows and columns of a tensor on one rank. */
function shardShape(
  tensor: Tensor,
  parallel: Parallel,
): { rows: number; columns: number; stack: number } {
  const { tensor: tp } = parallel;
  const { rows, columns, stack } = tensor;
  switch (tensor.split) {
    case 'replicated':
      return { rows, columns, stack };
    case 'vocabulary': {
      const padded = Math.ceil(rows / VOCAB_PADDING) * VOCAB_PADDING;
      return { rows: Math.ceil(padded / tp), columns, stack };
    }
    case 'rows': {
      if (tensor.kvRows === null) return { rows: Math.ceil(rows / tp), columns, stack };
      const { heads, perHead } = tensor.kvRows;
      const query = rows - heads * perHead;
      return {
        rows: Math.ceil(query / tp) + Math.max(1, Math.ceil(heads / tp)) * perHead,
        columns,
        stack,
      };
    }
    case 'columns':
      return { rows, columns: Math.ceil(columns / tp), stack };
    case 'expertRows':
      if (parallel.expert) return { rows, columns, stack: Math.ceil(stack / (tp * parallel.data)) };
      return { rows: Math.ceil(rows / tp), columns, stack };
    case 'expertColumns':
      if (parallel.expert) return { rows, columns, stack: Math.ceil(stack / (tp * parallel.data)) };
      return { rows, columns: Math.ceil(columns / tp), stack };
  }
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

function tensorBytes(
  tensor: Tensor,
  scheme: QuantizationScheme,
  options: WeightsOptions,
  padExperts: boolean,
): number {
  const shape = shardShape(tensor, options.parallel);
  if (padExperts && scheme.method === 'mxfp4') {
    if (tensor.split === 'expertRows') shape.rows = 2 * roundUp(shape.rows / 2, EXPERT_PADDING);
    if (tensor.split === 'expertColumns') shape.columns = roundUp(shape.columns, EXPERT_PADDING);
  }
  const float = tensor.wide ? 'fp32' : options.dtype;
  if (options.platform === 'rocm' && shape.columns > 1) {
    const bytes = scheme.method === 'none' ? floatBytes(float) : 1;
    const padded =
      scheme.method === 'none'
        ? tensor.stack > 1
        : scheme.method === 'fp8' || (scheme.method === 'fp8-block' && options.padBlockFp8);
    if (padded && (shape.columns * bytes) % ROCM_ROW === 0) shape.columns += ROCM_PAD / bytes;
  }
  const { weights, scales } = matrixBytes(scheme, shape.rows, shape.columns, shape.stack, float);
  return allocatedBytes(weights) + (scales > 0 ? allocatedBytes(scales) : 0);
}

/** Bytes of the weights of the rank that holds these layers. */
export function rankWeights(
  config: ModelConfig,
  range: LayerRange,
  options: WeightsOptions,
): RankWeights {
  const by: Partial<Record<Component | 'rotary' | 'latentCopies', number>> = {};
  const add = (key: Component | 'rotary' | 'latentCopies', bytes: number): void => {
    by[key] = (by[key] ?? 0) + bytes;
  };
  const inBlock = new Map<number, number[]>();
  for (let layer = range.from; layer < range.to; layer += 1) {
    const block = config.layers[layer] ?? 0;
    const list = inBlock.get(block);
    if (list === undefined) inBlock.set(block, [layer]);
    else list.push(layer);
  }
  for (const [index, layers] of inBlock) {
    const block = config.blocks[index];
    if (block === undefined) continue;
    for (const tensor of block.tensors) {
      const { scheme, except } = assignScheme(tensor, options.quantization);
      const plain =
        except === null
          ? 0
          : except === 'all'
            ? layers.length
            : layers.filter((layer) => except.has(layer)).length;
      const quantized = layers.length - plain;
      if (quantized > 0)
        add(
          tensor.component,
          quantized * tensorBytes(tensor, scheme, options, config.paddedExperts),
        );
      if (plain > 0)
        add(tensor.component, plain * tensorBytes(tensor, UNQUANTIZED, options, false));
    }
    if (block.mixer.kind === 'mla') {
      const { heads, kvRank, nopeDim, valueDim } = block.mixer;
      const share = heads / options.parallel.tensor;
      // Absorbed projections are kept beside the original, in the float type.
      const copies =
        allocatedBytes(kvRank * share * nopeDim * 2) +
        allocatedBytes(kvRank * share * valueDim * 2);
      add('latentCopies', layers.length * copies);
    }
  }
  for (const tensor of config.outerTensors) {
    const embedding = tensor.component === 'embedding';
    const here = embedding ? range.first || (range.last && config.tied) : range.last;
    if (here)
      add(
        tensor.component,
        tensorBytes(tensor, assignScheme(tensor, options.quantization).scheme, options, false),
      );
  }
  if (range.first && config.vision !== null) {
    const { vision } = config;
    const single = { ...options, parallel: SINGLE };
    const split = (tensors: readonly Tensor[]): number =>
      tensors.reduce((sum, tensor) => sum + tensorBytes(tensor, UNQUANTIZED, single, false), 0);
    // Encoder layers are tensor-parallel in engines; embeddings and projector are not.
    const layer = split(vision.layerTensors) / options.parallel.tensor;
    add('vision', Math.ceil(vision.layers * layer) + split(vision.otherTensors));
  }
  if (range.last && options.prediction && config.mtp !== null) {
    for (const tensor of config.mtp.tensors) {
      const shared = tensor.module === 'mtp.embed_tokens' || tensor.module === 'mtp.head';
      if (shared) continue;
      add(
        'prediction',
        config.mtp.layers *
          tensorBytes(
            tensor,
            assignScheme({ ...tensor, module: tensor.module.slice(4) }, options.quantization)
              .scheme,
            options,
            false,
          ),
      );
    }
  }
  for (const table of config.rotary)
    add(
      'rotary',
      allocatedBytes(Math.ceil(table.positions * table.dim * floatBytes(options.dtype))),
    );
  const totalBytes = Object.values(by).reduce((sum, value) => sum + value, 0);
  return { totalBytes, byComponent: by };
}

/** Bytes of a whole model's weights without rounding. */
export interface ReadBytes {
  /** What every step reads. */
  readonly always: number;
  /** The routed experts, of which a step reads a part. */
  readonly routed: number;
  /** What no step reads whole: an embedding table of its own, the vision tower. */
  readonly other: number;
}

/** Splits the bytes of the whole model's weights by how steps read them. */
export function readBytes(config: ModelConfig, options: WeightsOptions): ReadBytes {
  let always = 0;
  let routed = 0;
  const bytesOf = (tensor: Tensor, plain: boolean): number => {
    const { scheme } = assignScheme(tensor, options.quantization);
    const { weights, scales } = matrixBytes(
      plain ? UNQUANTIZED : scheme,
      tensor.rows,
      tensor.columns,
      tensor.stack,
      tensor.wide ? 'fp32' : options.dtype,
    );
    return tensorParameters(tensor) === 0 ? 0 : weights + scales;
  };
  for (const [layer, index] of config.layers.entries()) {
    for (const tensor of config.blocks[index]?.tensors ?? []) {
      const { except } = assignScheme(tensor, options.quantization);
      const plain = except === 'all' || except?.has(layer) === true;
      if (tensor.component === 'experts' && tensor.stack > 1) routed += bytesOf(tensor, plain);
      else always += bytesOf(tensor, plain);
    }
  }
  // The output projection is read whole in every step; an embedding table is only looked up.
  let other = (config.vision?.parameters ?? 0) * floatBytes(options.dtype);
  for (const tensor of config.outerTensors) {
    if (tensor.component === 'embedding' && !config.tied) other += bytesOf(tensor, false);
    else always += bytesOf(tensor, false);
  }
  return { always, routed, other };
}
