/**
 * Reads a published AIM profile as what the user wants to run: a core `Workload` with the profile's limits.
 * Owns the mapping of engine arguments to workload fields; sizes nothing.
 */
import { ratio, type Workload, workloadName } from '@aim-gpu/core';
import type { AimPrecision, AimProfile } from './aim-profile.js';
import { invalidConfig } from './errors.js';

const DTYPES: Readonly<Record<AimPrecision, string>> = {
  fp4: 'auto',
  fp8: 'auto',
  int4: 'auto',
  int8: 'auto',
  fp16: 'fp16',
  bf16: 'bf16',
  fp32: 'fp32',
};
const QUANTIZATIONS: Readonly<Record<AimPrecision, string>> = {
  fp4: 'auto',
  fp8: 'fp8',
  int4: 'int4',
  int8: 'int8',
  fp16: 'none',
  bf16: 'none',
  fp32: 'none',
};
/** Sequences are on average a quarter full, as AMD's own profiles set far more of them than fit at full length. */
const USUAL_FILL = 0.25;

function argument(profile: AimProfile, name: string): unknown {
  return profile.engineArgs[name] ?? profile.engineArgs[name.replaceAll('-', '_')];
}

function count(profile: AimProfile, name: string, otherwise: number): number {
  const value = argument(profile, name);
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : otherwise;
}

/**
 * Turns a profile into a workload. `source` is the catalogue id to size it by, by default the profile's `aim_id`: its
 * `model_id` may be a quantized sibling that no catalogue has, and has the same dimensions.
 * Throws `ERR_CONFIG_INVALID` for a general profile without a model, unless `source` is given.
 */
export function aimProfileToWorkload(
  profile: AimProfile,
  options: { readonly name?: string; readonly source?: string } = {},
): Workload {
  const source = options.source ?? profile.aimId ?? profile.modelId;
  if (source === null)
    throw invalidConfig(
      'profile',
      'aim_id',
      'a general profile names no model',
      'say which model to run it for',
    );
  const { precision } = profile.metadata;
  const kvType = argument(profile, 'kv-cache-dtype');
  const name = options.name ?? source.slice(source.lastIndexOf('/') + 1);
  return {
    name: workloadName(name),
    aliases: [],
    source,
    kind: 'inference',
    dtype: DTYPES[precision],
    quantization: QUANTIZATIONS[precision],
    kvCacheDtype: typeof kvType === 'string' ? kvType : 'auto',
    maxModelLen: count(profile, 'max-model-len', 0) || null,
    concurrency: count(profile, 'max-num-seqs', 16),
    expectedFill: ratio(USUAL_FILL),
    load: null,
    replicas: { min: 1, max: 1, idleMs: null },
    band: profile.metadata.metric === 'latency' ? 'interactive' : 'standard',
    slo: { ttftMs: null, tpotMs: null, e2eMs: null, objective: ratio(0.99) },
    engine: { name: profile.metadata.engine, version: null, args: profile.engineArgs },
    parallel: {
      tensor: count(profile, 'tensor-parallel-size', Math.max(1, profile.metadata.gpuCount)),
      pipeline: count(profile, 'pipeline-parallel-size', 1),
    },
    fallback: null,
    adapters: [],
    placement: {
      exclusive: false,
      products: profile.metadata.gpu === 'NONE' ? [] : [profile.metadata.gpu],
      nodes: [],
      near: [],
      apart: [],
      pin: null,
      minShareBytes: null,
    },
  };
}
