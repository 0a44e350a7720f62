/**
 * Makes AIM profiles for partitions: limits that the container's own profiles, written for whole cards, get wrong on a
 * 24 GB partition. Owns the choice of limits; every profile it hands out has been fitted with its own arguments.
 * The schema has no place for partition and share: they go into a sidecar.
 */
import { formatLayout, type Layout } from '@aim-gpu/core';
import { findProduct, type Product, partitionGeometry } from '@aim-gpu/core/products';
import type { AimMetric, AimPrecision, AimProfile } from './aim-profile.js';
import { unknownProduct } from './errors.js';
import { type FitReason, fitModel } from './fit-model.js';
import type { ModelConfig } from './model-config.js';
import { sizeModel } from './size-model.js';
import type { SizeOptions } from './size-options.js';

/** What to make a profile for. */
export interface GenerateAimOptions {
  /** Catalogue id under which the profile is filed. */
  readonly aimId: string;
  /** Model to load when it differs, for example a quantized sibling. */
  readonly modelId?: string;
  readonly product: string;
  readonly layout: Layout;
  readonly metric: AimMetric;
  /** Ranks, one partition each; 1 by default. */
  readonly tensor?: number;
  /** `auto` takes the checkpoint as it is, `fp8` quantizes at load time. */
  readonly quantization?: string;
  readonly kvCacheDtype?: string;
  /** Longest context wanted; 32768 by default, lowered to what fits. */
  readonly maxModelLen?: number;
}

/** What stands beside a generated profile. */
export interface AimSidecar {
  readonly apiVersion: 'aim-gpu/v1alpha1';
  readonly kind: 'ProfilePlacement';
  readonly profile: string;
  readonly product: string;
  readonly layout: string;
  readonly partitionMemoryBytes: number;
  readonly ranks: number;
  readonly shareBytes: number;
  readonly kvPoolBytes: number;
  readonly maxConcurrency: number;
  readonly kvPoolRelative: number;
  readonly assumptions: readonly string[];
}

/** A profile with its place and its proof, or why there is none. */
export type GeneratedAimProfile =
  | {
      readonly ok: true;
      readonly file: string;
      readonly profile: AimProfile;
      readonly sidecar: AimSidecar;
      readonly sizeOptions: SizeOptions;
    }
  | { readonly ok: false; readonly reasons: readonly FitReason[] };

const WANTED_LENGTH = 32_768;
/** Shorter contexts are of no use to a chat model. */
const SHORTEST_LENGTH = 2048;
/** Never handed out, as in the fleet's default policy. */
const RESERVE = 0.02;
const SEQUENCES: Readonly<Record<AimMetric, readonly number[]>> = {
  latency: [64, 32, 16, 8, 4, 1],
  throughput: [512, 256, 128, 64, 32, 16, 8, 4, 1],
};
const BATCH_TOKENS: Readonly<Record<AimMetric, number>> = { latency: 1024, throughput: 8192 };
/** Sequences are on average a quarter full; more of them than that would only preempt each other. */
const USUAL_FILL = 0.25;
const UTILIZATION_STEPS = 100;
/** No published profile goes beyond; ROCm's terms are not validated well enough to do so. */
const MOST_UTILIZATION = 0.95;

function precisionOf(config: ModelConfig, options: GenerateAimOptions): AimPrecision {
  const method =
    options.quantization === undefined || options.quantization === 'auto'
      ? config.quantization?.label
      : options.quantization;
  const label = (method ?? 'none').toLowerCase();
  if (/mxfp4|nvfp4|fp4|mixed/.test(label)) return 'fp4';
  if (/fp8/.test(label)) return 'fp8';
  if (/int8|w8a8/.test(label)) return 'int8';
  if (/int4|awq|gptq|compressed|modelslim/.test(label)) return 'int4';
  return config.dtype === 'bf16' ? 'bf16' : 'fp16';
}

function environment(product: Product): Record<string, string> {
  return {
    GPU_ARCHS: product.architecture === 'CDNA4' ? 'gfx950' : 'gfx942',
    HSA_NO_SCRATCH_RECLAIM: '1',
    VLLM_ROCM_USE_AITER: '1',
  };
}

interface Limits {
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
}

/** The largest limits that fit, most sequences first, shorter context only when even one sequence does not fit. */
function chooseLimits(
  config: ModelConfig,
  base: SizeOptions,
  total: number,
  options: GenerateAimOptions,
): Limits | readonly FitReason[] {
  const own = config.maxPositionEmbeddings ?? WANTED_LENGTH;
  const wanted = Math.min(own, options.maxModelLen ?? WANTED_LENGTH);
  const tokens = BATCH_TOKENS[options.metric];
  let reasons: readonly FitReason[] = [];
  for (const maxNumSeqs of SEQUENCES[options.metric]) {
    const limits = { maxModelLen: wanted, maxNumSeqs, maxNumBatchedTokens: tokens };
    const needed = Math.max(1, Math.floor(maxNumSeqs * USUAL_FILL));
    const fit = fitModel(config, {
      ...base,
      ...limits,
      totalMemoryBytes: total,
      reserve: RESERVE,
      concurrency: needed,
    });
    if (fit.fits) return limits;
    reasons = fit.reasons;
    if (maxNumSeqs > 1) continue;
    const shorter = Math.floor(fit.maxModelLen / 1024) * 1024;
    if (shorter >= Math.min(SHORTEST_LENGTH, wanted)) return { ...limits, maxModelLen: shorter };
  }
  return reasons;
}

/**
 * Makes a profile whose limits fit one partition of a layout, with a sidecar saying where and how sure.
 *
 * A combination that cannot fit is a value with reasons. The file's name follows the published ones, below a folder
 * named after the layout. Throws `ERR_CONFIG_INVALID` for an unknown product.
 */
export function generateAimProfile(
  config: ModelConfig,
  options: GenerateAimOptions,
): GeneratedAimProfile {
  const product = findProduct(options.product);
  if (product === null) throw unknownProduct(options.product);
  const partitions = partitionGeometry(product, options.layout);
  const total = Math.min(...partitions.map((partition) => partition.memoryBytes));
  const tensor = options.tensor ?? 1;
  const base: SizeOptions = {
    platform: 'rocm',
    parallel: { tensor },
    engine: 'vllm@0.19.0',
    quantization: options.quantization ?? 'auto',
    kvCacheDtype: options.kvCacheDtype ?? 'auto',
  };
  const limits = chooseLimits(config, base, total, options);
  if (!('maxModelLen' in limits)) return { ok: false, reasons: limits };
  const plain = { ...base, ...limits, totalMemoryBytes: total };
  const { perRank } = sizeModel(config, plain);
  const outside = perRank.contextBytes + perRank.graphBytes;
  const usable = (total * (1 - RESERVE) - outside) / total;
  const utilization = Math.min(
    MOST_UTILIZATION,
    Math.floor(usable * UTILIZATION_STEPS) / UTILIZATION_STEPS,
  );
  const sizeOptions = { ...plain, gpuMemoryUtilization: utilization };
  const sized = sizeModel(config, sizeOptions);
  if (sized.fits !== true || sized.perRank.kvPoolBytes === null)
    return {
      ok: false,
      reasons: [
        {
          code: 'NO_ROOM_FOR_KV',
          message: 'rounding the utilization down leaves too little',
          fix: 'choose larger partitions',
        },
      ],
    };
  const precision = precisionOf(config, options);
  const layout = formatLayout(options.layout);
  const folder = layout.toLowerCase().replace('/', '-');
  const name = `vllm-${product.name.toLowerCase()}-${precision}-tp${tensor}-${options.metric}.yaml`;
  const file = `${folder}/${options.aimId}/${name}`;
  const profile: AimProfile = {
    aimId: options.aimId,
    modelId: options.modelId ?? options.aimId,
    metadata: {
      engine: 'vllm',
      gpu: product.name,
      precision,
      gpuCount: tensor,
      metric: options.metric,
      manualSelectionOnly: true,
      type: 'preview',
    },
    engineArgs: {
      'gpu-memory-utilization': utilization,
      ...(options.kvCacheDtype === undefined || options.kvCacheDtype === 'auto'
        ? {}
        : { 'kv-cache-dtype': options.kvCacheDtype }),
      'max-model-len': limits.maxModelLen,
      'max-num-batched-tokens': limits.maxNumBatchedTokens,
      'max-num-seqs': limits.maxNumSeqs,
      ...(options.quantization === undefined ||
      options.quantization === 'auto' ||
      options.quantization === 'none'
        ? {}
        : { quantization: options.quantization }),
      'tensor-parallel-size': tensor,
    },
    envVars: environment(product),
  };
  const sidecar: AimSidecar = {
    apiVersion: 'aim-gpu/v1alpha1',
    kind: 'ProfilePlacement',
    profile: file,
    product: product.name,
    layout,
    partitionMemoryBytes: total,
    ranks: tensor,
    shareBytes: Math.ceil(total * utilization) + outside,
    kvPoolBytes: sized.perRank.kvPoolBytes,
    maxConcurrency: sized.kv.maxConcurrency ?? 0,
    kvPoolRelative: sized.confidence.kvPoolRelative,
    assumptions: sized.assumptions,
  };
  return { ok: true, file, profile, sidecar, sizeOptions };
}
