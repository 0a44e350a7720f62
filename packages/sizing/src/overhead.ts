/**
 * Memory beside weights and KV cache: activations of the profiling run, libraries outside the tensor allocator, the
 * device context, captured graphs, LoRA slots. Source: reference "Activation peak" and "Non-torch and graphs", fitted
 * on start-up logs; constants come from engine-profiles.ts, formulas stand here.
 */
import { GIB } from '@aim-gpu/core';
import type { EngineProfile } from './engine-profiles.js';
import type { FloatType, ModelConfig } from './model-config.js';
import type { LayerRange, Parallel } from './parallel.js';
import { floatBytes } from './quantization-schemes.js';

/** Constants of the activation formula, so that a fit can vary them. */
export interface ActivationConstants {
  readonly samplerCopies: number;
  readonly residualCopies: number;
  readonly baseBytes: number;
}

/** What decides the activation peak. */
export interface ActivationOptions {
  readonly dtype: FloatType;
  readonly parallel: Parallel;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly speculativeTokens: number;
  readonly constants: ActivationConstants;
}

const FORWARD_BASE = 0.08 * GIB;

/** Peak bytes of activations on the rank that holds these layers. */
export function activationBytes(
  config: ModelConfig,
  range: LayerRange,
  options: ActivationOptions,
): number {
  const { constants, maxNumBatchedTokens: tokens } = options;
  const { tensor } = options.parallel;
  const float = floatBytes(options.dtype);
  const { hidden, vocab } = config;
  let forward = 0;
  let workspace = 0;
  for (const { feedForward } of config.blocks) {
    const { dense, experts } = feedForward;
    if (dense !== null)
      forward = Math.max(forward, tokens * ((3 * dense.width) / tensor + 3 * hidden) * float);
    if (experts !== null) {
      const inner = experts.latent ?? hidden;
      const slice = options.parallel.expert ? experts.width : experts.width / tensor;
      const routed = tokens * experts.topK;
      forward = Math.max(
        forward,
        routed * (3 * slice + inner) * float + 3 * tokens * hidden * float,
      );
      // The padded MXFP4 kernels work in place.
      if (!config.paddedExperts)
        workspace = Math.max(workspace, routed * (2 * slice + inner) * float);
    }
  }
  const forwardPeak = forward + FORWARD_BASE;
  if (!range.last) return Math.ceil(forwardPeak);
  const sequences = Math.min(options.maxNumSeqs * (1 + options.speculativeTokens), tokens);
  const sampler = constants.samplerCopies * sequences * vocab * 4;
  const residual = constants.residualCopies * tokens * hidden * float;
  return Math.ceil(Math.max(sampler + residual + constants.baseBytes + workspace, forwardPeak));
}

/** Bytes outside the tensor allocator on one rank. */
export function nonTorchBytes(
  profile: EngineProfile,
  parallel: Parallel,
  platform: 'cuda' | 'rocm',
): number {
  const [one, two, more] = profile.nonTorchBytes;
  if (parallel.tensor === 1) return platform === 'rocm' ? Math.max(one, ROCM_NON_TORCH) : one;
  return parallel.tensor === 2 ? two : more;
}

/** Measured on MI300X with the V0 engine; V1 is not measured. */
const ROCM_NON_TORCH = 0.66 * GIB;
/** HIP context of one process; with several ranks and JIT-built kernels about 5 GiB were measured on MI355X. */
const ROCM_CONTEXT: readonly [number, number] = [1 * GIB, 5 * GIB];

/** Bytes of the device context, which exists before the engine measures anything. */
export function contextBytes(
  profile: EngineProfile,
  parallel: Parallel,
  platform: 'cuda' | 'rocm',
): number {
  const [one, more] = platform === 'rocm' ? ROCM_CONTEXT : profile.contextBytes;
  return parallel.tensor > 1 ? more : one;
}

const GRAPH_BASE = 0.3 * GIB;
const GRAPH_PER_LAYER = 0.0185 * GIB;
/** Sizes captured by default up to 512: what the constants were fitted on. */
const GRAPH_SIZES = 51;
const LARGEST_GRAPH = 512;

/** Batch sizes an engine captures graphs for. */
export function capturedSizes(
  maxNumSeqs: number,
  maxNumBatchedTokens: number,
  speculativeTokens: number,
): number {
  const largest = Math.min(
    2 * maxNumSeqs * (1 + speculativeTokens),
    LARGEST_GRAPH,
    maxNumBatchedTokens,
  );
  let sizes = [1, 2, 4].filter((size) => size <= largest).length;
  for (let size = 8; size <= Math.min(256, largest); size += 8) sizes += 1;
  for (let size = 272; size <= largest; size += 16) sizes += 1;
  return sizes;
}

/** Bytes of captured graphs on the rank that holds these layers. Fewer sizes cost less, but never below half. */
export function graphBytes(
  range: LayerRange,
  options: {
    readonly maxNumSeqs: number;
    readonly maxNumBatchedTokens: number;
    readonly speculativeTokens: number;
    readonly eager: boolean;
  },
): number {
  if (options.eager) return 0;
  const sizes = capturedSizes(
    options.maxNumSeqs,
    options.maxNumBatchedTokens,
    options.speculativeTokens,
  );
  const share = Math.min(1, Math.max(0.5, sizes / GRAPH_SIZES));
  return Math.ceil(share * (GRAPH_BASE + GRAPH_PER_LAYER * (range.to - range.from)));
}

/** Bytes of preallocated LoRA slots: rank × (inputs + outputs) for every linear layer that adapters may target. */
export function loraBytes(
  config: ModelConfig,
  range: LayerRange,
  options: { readonly maxLoras: number; readonly maxLoraRank: number; readonly parallel: Parallel },
): number {
  if (options.maxLoras === 0) return 0;
  let width = 0;
  for (let layer = range.from; layer < range.to; layer += 1) {
    for (const tensor of config.blocks[config.layers[layer] ?? 0]?.tensors ?? []) {
      const targeted = tensor.linear && tensor.stack === 1 && tensor.component !== 'router';
      if (targeted) width += tensor.columns + tensor.rows / options.parallel.tensor;
    }
  }
  return Math.ceil(options.maxLoras * options.maxLoraRank * width * 2);
}
