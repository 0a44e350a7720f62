/**
 * The spellings users and engines have for the same type: vLLM's `bfloat16` and `half`, the fleet file's `bf16`.
 * Owns the translation and its refusals; means nothing by itself.
 */
import { AimError } from '@aim-gpu/core';
import type { KvCacheType } from './kv-cache.js';
import type { FloatType, ModelConfig, QuantizationPlan } from './model-config.js';
import { planNamedQuantization, quantizationNames } from './quantization-config.js';

const FLOATS: ReadonlyMap<string, FloatType> = new Map<string, FloatType>([
  ['bf16', 'bf16'],
  ['bfloat16', 'bf16'],
  ['fp16', 'fp16'],
  ['float16', 'fp16'],
  ['half', 'fp16'],
  ['fp32', 'fp32'],
  ['float32', 'fp32'],
  ['float', 'fp32'],
]);

const CACHES: ReadonlyMap<string, KvCacheType> = new Map<string, KvCacheType>([
  ['auto', 'auto'],
  ['fp8', 'fp8'],
  ['fp8_e4m3', 'fp8'],
  ['fp8_e5m2', 'fp8'],
  ['fp8_inc', 'fp8'],
  ['fp8_ds_mla', 'fp8'],
  ['int8', 'int8'],
  ['nvfp4', 'nvfp4'],
  ...([...FLOATS] as readonly (readonly [string, KvCacheType])[]),
]);

function unknownValue(option: string, value: string, allowed: readonly string[]): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `${option}: "${value}" is not known`,
    hint: `use one of ${allowed.join(', ')}`,
    details: { option, value },
  });
}

/** Reads a dtype; `auto` is what the config says. Throws `ERR_CONFIG_INVALID` for an unknown word. */
export function parseDtype(value: string, config: ModelConfig): FloatType {
  if (value === 'auto') return config.dtype;
  const type = FLOATS.get(value.toLowerCase());
  if (type === undefined) throw unknownValue('dtype', value, ['auto', ...FLOATS.keys()]);
  return type;
}

/** Reads a KV cache type. Throws `ERR_CONFIG_INVALID` for an unknown word. */
export function parseKvCacheType(value: string): KvCacheType {
  const type = CACHES.get(value.toLowerCase());
  if (type === undefined) throw unknownValue('kv-cache-dtype', value, [...CACHES.keys()]);
  return type;
}

/** Reads a state cache type; `auto` is the config's own. Throws `ERR_CONFIG_INVALID` for an unknown word. */
export function parseStateType(value: string): FloatType | null {
  if (value === 'auto') return null;
  const type = FLOATS.get(value.toLowerCase());
  if (type === undefined)
    throw unknownValue('mamba-ssm-cache-dtype', value, ['auto', ...FLOATS.keys()]);
  return type;
}

/** Reads a quantization name; `auto` is what the checkpoint is. Throws `ERR_CONFIG_INVALID` for an unknown word. */
export function parseQuantization(value: string, config: ModelConfig): QuantizationPlan | null {
  const plan = planNamedQuantization(value, config.quantization);
  if (plan === undefined)
    throw unknownValue('quantization', value, ['auto', ...quantizationNames(), 'gguf:<type>']);
  return plan;
}
