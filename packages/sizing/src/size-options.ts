/**
 * The question: everything that changes how many bytes a model takes, and how it is filled in when not said.
 * Owns defaults and their refusal; computes no memory.
 */
import { AimError, GIB } from '@aim-gpu/core';
import { type Calibration, type Corrections, modelShape } from './calibration-file.js';
import {
  type EngineProfile,
  type EngineVersion,
  engineProfile,
  parseEngineVersion,
} from './engine-profiles.js';
import type { Formulas } from './formulas.js';
import type { KvCacheType } from './kv-cache.js';
import type { FloatType, ModelConfig, QuantizationPlan } from './model-config.js';
import { checkParallel, type Parallel, SINGLE } from './parallel.js';
import { sglangMemoryFraction } from './sglang-rules.js';
import { parseDtype, parseKvCacheType, parseQuantization, parseStateType } from './spellings.js';

/** Options of `sizeModel`; all but the model are optional, and words may be spelled as vLLM spells them. */
export interface SizeOptions {
  readonly dtype?: string;
  readonly quantization?: string;
  readonly kvCacheDtype?: string;
  readonly mambaSsmCacheDtype?: string;
  readonly parallel?: Partial<Parallel>;
  /** Decode context parallelism. */
  readonly contextRanks?: number;
  /** Tokens of one sequence; by default the model's own limit. */
  readonly maxModelLen?: number | null;
  readonly maxNumSeqs?: number | null;
  readonly maxNumBatchedTokens?: number | null;
  readonly blockSize?: number | null;
  readonly gpuMemoryUtilization?: number | null;
  /** Fixes the pool; utilization then counts for nothing. */
  readonly kvCacheMemoryBytes?: number | null;
  /** Memory of the partition or card as the engine sees it. Without it nothing is said about fitting. */
  readonly totalMemoryBytes?: number | null;
  /** `vllm@0.19.0`, `sglang@0.5`, `llama.cpp`, `simulated`. */
  readonly engine?: string;
  readonly platform?: 'cuda' | 'rocm';
  readonly enforceEager?: boolean;
  /** Draft model of speculative decoding, or `own` for the model's stored prediction layers. */
  readonly speculative?: ModelConfig | 'own' | null;
  readonly numSpeculativeTokens?: number;
  readonly maxLoras?: number;
  readonly maxLoraRank?: number;
  /** Formulas of the user's own for single components, from `loadFormulas`. */
  readonly formulas?: Formulas | null;
  /** Corrections of this host, from a calibration of its own log. */
  readonly calibration?: Calibration | null;
  /** Replaces fitted constants; for calibration and for the accuracy bench's own fits. */
  readonly constants?: Partial<
    Pick<
      EngineProfile,
      'samplerCopies' | 'residualCopies' | 'baseBytes' | 'nonTorchBytes' | 'contextBytes'
    >
  >;
}

/** The question with every answer filled in. */
export interface ResolvedOptions {
  readonly dtype: FloatType;
  readonly quantization: QuantizationPlan | null;
  readonly kvCacheType: KvCacheType;
  readonly stateType: FloatType | null;
  readonly parallel: Parallel;
  readonly contextRanks: number;
  readonly maxModelLen: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly blockSize: number;
  readonly gpuMemoryUtilization: number;
  readonly kvCacheMemoryBytes: number | null;
  readonly totalMemoryBytes: number | null;
  readonly engine: EngineVersion;
  readonly profile: EngineProfile;
  readonly platform: 'cuda' | 'rocm';
  readonly enforceEager: boolean;
  readonly speculative: ModelConfig | 'own' | null;
  readonly speculativeTokens: number;
  readonly maxLoras: number;
  readonly maxLoraRank: number;
  readonly corrections: Corrections | null;
  readonly formulas: Formulas | null;
  readonly assumptions: readonly string[];
  readonly warnings: readonly string[];
}

const LARGE_CARD = 70 * GIB;
const MOST_TOKENS = 2 ** 40;
const USUAL_LENGTH = 4096;

function outOfRange(name: string, value: number, want: string): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `${name} is ${value}`,
    hint: `give ${want}`,
    details: { option: name, value },
  });
}

function whole(name: string, value: number, least = 1): number {
  if (!Number.isSafeInteger(value) || value < least || value > MOST_TOKENS)
    throw outOfRange(name, value, `a whole number of at least ${least}`);
  return value;
}

function memory(name: string, value: number | null | undefined): number | null {
  if (value === null || value === undefined) return null;
  if (!Number.isFinite(value) || value < 0 || value > Number.MAX_SAFE_INTEGER)
    throw outOfRange(name, value, 'a size of at least 0 bytes');
  return Math.floor(value);
}

function blockSizeOf(config: ModelConfig, options: SizeOptions): number {
  if (options.blockSize) return whole('block-size', options.blockSize);
  const indexed = config.blocks.some(({ mixer }) => mixer.kind === 'mla' && mixer.indexer !== null);
  const compressed = config.blocks.some(({ mixer }) => mixer.kind === 'compressed');
  return compressed ? 256 : indexed ? 64 : 16;
}

/** The corrections that hold for these options: same platform and engine; non-torch memory only for as many ranks. */
function correctionsOf(
  config: ModelConfig,
  options: SizeOptions,
  engine: EngineVersion,
  platform: 'cuda' | 'rocm',
  parallel: Parallel,
  dtype: FloatType,
  assumptions: string[],
): Corrections | null {
  const calibration = options.calibration ?? null;
  if (calibration === null) return null;
  if (calibration.platform !== platform || !calibration.engine.startsWith(engine.name)) {
    assumptions.push(
      `calibration from ${calibration.source} not used: it is of ${calibration.engine} on ${calibration.platform}`,
    );
    return null;
  }
  assumptions.push(`corrected by ${calibration.source} (${calibration.model})`);
  const { corrections } = calibration;
  const sameRanks = calibration.tensor === parallel.tensor;
  const sameModel = calibration.shape === modelShape(config, dtype);
  // Elsewhere activation is predicted well, and what is left over is the model's own; on ROCm it is not validated.
  const activation = sameModel || platform === 'rocm';
  return {
    weightsFactor: sameModel ? corrections.weightsFactor : 1,
    activationFactor: activation ? corrections.activationFactor : 1,
    graphFactor: activation ? corrections.graphFactor : 1,
    nonTorchBytes: sameRanks ? corrections.nonTorchBytes : null,
  };
}

function defaultUtilization(
  profile: EngineProfile,
  total: number | null,
  parallel: Parallel,
): number {
  if (profile.generation === 'sglang' && total !== null && total > 0)
    return sglangMemoryFraction(total, parallel);
  return profile.defaultUtilization;
}

/** Fills in defaults by engine release and memory size. Throws `ERR_CONFIG_INVALID` for values out of range. */
export function resolveOptions(config: ModelConfig, options: SizeOptions): ResolvedOptions {
  const assumptions: string[] = [];
  const warnings: string[] = [];
  const engine = parseEngineVersion(options.engine ?? 'vllm');
  const row = engineProfile(engine);
  const profile = options.constants === undefined ? row : { ...row, ...options.constants };
  if (!options.engine?.includes('@'))
    assumptions.push(`engine taken as ${engine.name} ${engine.version}`);
  const platform = options.platform ?? 'cuda';
  const parallel = { ...SINGLE, ...options.parallel };
  checkParallel(config, parallel);
  const total = memory('total-memory', options.totalMemoryBytes);
  const size = total === null || total >= LARGE_CARD ? 0 : 1;
  const maxModelLen = whole(
    'max-model-len',
    options.maxModelLen ?? config.maxPositionEmbeddings ?? USUAL_LENGTH,
  );
  if (!options.maxModelLen && config.maxPositionEmbeddings === null)
    assumptions.push(`the config states no context limit; ${USUAL_LENGTH} tokens taken`);
  if (config.maxPositionEmbeddings !== null && maxModelLen > config.maxPositionEmbeddings)
    warnings.push(
      `max-model-len ${maxModelLen} is above the config's ${config.maxPositionEmbeddings}`,
    );
  const maxNumSeqs = whole('max-num-seqs', options.maxNumSeqs ?? profile.sequences[size]);
  // The V0 engine profiles one whole prompt.
  const usualTokens = profile.generation === 'v0' ? maxModelLen : profile.batchTokens[size];
  const maxNumBatchedTokens = whole(
    'max-num-batched-tokens',
    options.maxNumBatchedTokens ?? usualTokens,
  );
  const utilization = options.gpuMemoryUtilization ?? defaultUtilization(profile, total, parallel);
  if (!(utilization > 0 && utilization <= 1))
    throw outOfRange('gpu-memory-utilization', utilization, 'a number above 0 and at most 1');
  const speculative = options.speculative ?? null;
  if (speculative === 'own' && config.mtp === null)
    warnings.push(
      'the checkpoint has no prediction layers; speculative decoding with its own layers loads nothing',
    );
  const dtype = parseDtype(options.dtype ?? 'auto', config);
  const plan = parseQuantization(options.quantization ?? 'auto', config);
  const kvCacheType = parseKvCacheType(options.kvCacheDtype ?? 'auto');
  if (kvCacheType === 'auto' && plan?.kvCache)
    warnings.push(
      `the checkpoint is calibrated for a ${plan.kvCache} KV cache; kv-cache-dtype ${plan.kvCache} takes less memory`,
    );
  if (options.formulas)
    assumptions.push(
      `formulas of ${options.formulas.source}: ${Object.keys(options.formulas.expressions).join(', ')}`,
    );
  return {
    dtype,
    quantization: plan,
    kvCacheType,
    stateType: parseStateType(options.mambaSsmCacheDtype ?? 'auto'),
    parallel,
    contextRanks: whole('context-ranks', options.contextRanks ?? 1),
    maxModelLen,
    maxNumSeqs,
    maxNumBatchedTokens,
    blockSize: blockSizeOf(config, options),
    gpuMemoryUtilization: utilization,
    kvCacheMemoryBytes: memory('kv-cache-memory-bytes', options.kvCacheMemoryBytes),
    totalMemoryBytes: total,
    engine,
    profile,
    platform,
    enforceEager: options.enforceEager ?? false,
    speculative,
    speculativeTokens:
      speculative === null
        ? 0
        : whole('num-speculative-tokens', options.numSpeculativeTokens ?? 1, 0),
    maxLoras: whole('max-loras', options.maxLoras ?? 0, 0),
    maxLoraRank: whole('max-lora-rank', options.maxLoraRank ?? 16, 0),
    formulas: options.formulas ?? null,
    corrections: correctionsOf(config, options, engine, platform, parallel, dtype, assumptions),
    assumptions,
    warnings,
  };
}
