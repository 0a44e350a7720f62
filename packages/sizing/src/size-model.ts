/**
 * The answer: memory of every rank by component, the KV pool that is left, whether the model fits, and how sure
 * that is. Puts the pure parts together (weights, kv-cache, overhead); the budget identity stands here.
 * Source: reference "The budget identity" (vLLM V1 gpu_worker) and "SGLang".
 */
import { GIB } from '@aim-gpu/core';
import type { Corrections } from './calibration-file.js';
import type { FormulaComponent } from './formulas.js';
import { type KvGeometry, kvGeometry } from './kv-cache.js';
import type { Mixer, ModelConfig } from './model-config.js';
import { activationBytes, contextBytes, graphBytes, loraBytes, nonTorchBytes } from './overhead.js';
import { type LayerRange, pipelineStages } from './parallel.js';
import { countParameters, type ParameterCount } from './parameters.js';
import { type ResolvedOptions, resolveOptions, type SizeOptions } from './size-options.js';
import { type RankWeights, rankWeights, readBytes, type WeightsOptions } from './weights.js';

/** Memory of one rank by component, in bytes. */
export interface RankMemory {
  readonly weightsBytes: number;
  readonly activationBytes: number;
  readonly nonTorchBytes: number;
  readonly graphBytes: number;
  readonly contextBytes: number;
  /** What is left for the KV cache; `null` when the memory of the device is not known. */
  readonly kvPoolBytes: number | null;
}

/** The KV cache of the rank that limits. */
export interface KvSizing {
  readonly bytesPerToken: number;
  readonly bytesPerRequestFixed: number;
  readonly bytesPerRequestAtMaxLen: number;
  readonly blockSize: number;
  readonly blocks: number | null;
  /** Tokens that fit in requests of maxModelLen. */
  readonly tokens: number | null;
  /** What this engine release prints as its KV cache size. */
  readonly loggedTokens: number | null;
  /** Requests of maxModelLen that fit at once. */
  readonly maxConcurrency: number | null;
}

/** How many bytes a model takes. The JSON of `aim-gpu size` is this object. */
export interface Sizing {
  readonly parameters: Pick<ParameterCount, 'total' | 'loaded' | 'byComponent'>;
  /** The rank with the least KV pool, or the most memory when no pool is known. */
  readonly perRank: RankMemory;
  readonly ranks: readonly (RankMemory & { readonly rank: number })[];
  readonly kv: KvSizing;
  /** Whether the engine starts: room for one request of maxModelLen. `null` without a memory size. */
  readonly fits: boolean | null;
  /** Relative half-width of the band around the KV pool. */
  readonly confidence: { readonly kvPoolRelative: number };
  readonly approximate: boolean;
  readonly assumptions: readonly string[];
  readonly warnings: readonly string[];
}

/** Everything about one pipeline stage, for `explainSizing` and `sizeWorkload`. */
export interface StageSizing {
  readonly range: LayerRange;
  readonly memory: RankMemory;
  readonly weights: RankWeights;
  readonly loraBytes: number;
  readonly geometry: KvGeometry;
}

function weightsOptions(options: ResolvedOptions): WeightsOptions {
  const { dtype, quantization, parallel, platform, speculative } = options;
  return { dtype, quantization, parallel, platform, prediction: speculative === 'own' };
}

function draftWeights(options: ResolvedOptions, range: LayerRange): number {
  const draft = options.speculative;
  if (draft === null || draft === 'own' || !range.last) return 0;
  const whole = { from: 0, to: draft.layers.length, first: true, last: true };
  return rankWeights(draft, whole, {
    ...weightsOptions(options),
    quantization: draft.quantization,
    prediction: false,
  }).totalBytes;
}

function draftMixers(config: ModelConfig, options: ResolvedOptions): readonly Mixer[] {
  const draft = options.speculative;
  if (draft === null) return [];
  if (draft === 'own') return config.mtp?.mixers ?? [];
  return draft.layers.flatMap((index) => draft.blocks[index]?.mixer ?? []);
}

/** How much larger a checkpoint's own headers say the weights are than its config does; 1 without headers. */
function checkpointRatio(config: ModelConfig, options: ResolvedOptions): number {
  const { checkpoint } = config;
  if (
    checkpoint === null ||
    options.quantization !== config.quantization ||
    options.dtype !== config.dtype
  )
    return 1;
  const { always, routed, other } = readBytes(config, weightsOptions(options));
  return checkpoint.loadedBytes / (always + routed + other);
}

function poolOf(options: ResolvedOptions, memory: Omit<RankMemory, 'kvPoolBytes'>): number | null {
  if (options.kvCacheMemoryBytes !== null) return options.kvCacheMemoryBytes;
  const total = options.totalMemoryBytes;
  if (total === null) return null;
  const { profile, platform } = options;
  const used = memory.weightsBytes + memory.activationBytes + memory.nonTorchBytes;
  if (profile.generation === 'sglang') {
    const free = total - memory.contextBytes - memory.nonTorchBytes;
    return Math.max(
      0,
      Math.floor(free - memory.weightsBytes - free * (1 - options.gpuMemoryUtilization)),
    );
  }
  if (profile.generation === 'llama.cpp') return Math.max(0, total - used - memory.contextBytes);
  const graphs = profile.graphBudgeted && platform === 'cuda' ? memory.graphBytes : 0;
  return Math.max(0, Math.ceil(total * options.gpuMemoryUtilization) - used - graphs);
}

type Components = Omit<RankMemory, 'kvPoolBytes'>;

function corrected(memory: Components, corrections: Corrections | null): Components {
  const {
    weightsFactor = 1,
    activationFactor = 1,
    graphFactor = 1,
    nonTorchBytes: nonTorch = null,
  } = corrections ?? {};
  return {
    weightsBytes: Math.ceil(memory.weightsBytes * weightsFactor),
    activationBytes: Math.ceil(memory.activationBytes * activationFactor),
    nonTorchBytes: Math.ceil(nonTorch ?? memory.nonTorchBytes),
    graphBytes: Math.ceil(memory.graphBytes * graphFactor),
    contextBytes: Math.ceil(memory.contextBytes),
  };
}

/** Replaces components that the user has a formula for; the others may speak of the replaced weights. */
function byFormulas(
  config: ModelConfig,
  memory: Components,
  geometry: KvGeometry,
  options: ResolvedOptions,
): Components {
  const { formulas } = options;
  if (formulas === null) return memory;
  const inputs = {
    totalMemory: options.totalMemoryBytes ?? 0,
    kvPerToken: geometry.bytesPerToken,
    layers: config.layers.length,
    hidden: config.hidden,
    vocab: config.vocab,
    maxModelLen: options.maxModelLen,
    maxNumSeqs: options.maxNumSeqs,
    maxNumBatchedTokens: options.maxNumBatchedTokens,
    tensor: options.parallel.tensor,
    pipeline: options.parallel.pipeline,
  };
  const of = (component: FormulaComponent, predicted: number, weights: number): number =>
    formulas.bytesOf(component, { ...inputs, weights, predicted }) ?? predicted;
  const weightsBytes = of('weights', memory.weightsBytes, memory.weightsBytes);
  return {
    weightsBytes,
    activationBytes: of('activation', memory.activationBytes, weightsBytes),
    nonTorchBytes: of('nonTorch', memory.nonTorchBytes, weightsBytes),
    graphBytes: of('graphs', memory.graphBytes, weightsBytes),
    contextBytes: of('context', memory.contextBytes, weightsBytes),
  };
}

function sizeStage(config: ModelConfig, range: LayerRange, options: ResolvedOptions): StageSizing {
  const { profile, parallel, platform, maxNumSeqs, maxNumBatchedTokens, speculativeTokens } =
    options;
  const weights = rankWeights(config, range, weightsOptions(options));
  const rotary = weights.byComponent.rotary ?? 0;
  const lora = loraBytes(config, range, options);
  const shared = { maxNumSeqs, maxNumBatchedTokens, speculativeTokens };
  const predicted = {
    weightsBytes:
      rotary +
      (weights.totalBytes - rotary) * checkpointRatio(config, options) +
      draftWeights(options, range) +
      lora +
      (platform === 'rocm' ? profile.rocmWeightsExtraBytes : 0),
    activationBytes: activationBytes(config, range, {
      dtype: options.dtype,
      parallel,
      constants: profile,
      ...shared,
    }),
    nonTorchBytes: nonTorchBytes(profile, parallel, platform),
    graphBytes: graphBytes(range, { eager: options.enforceEager, ...shared }),
    contextBytes: contextBytes(profile, parallel, platform),
  };
  const geometry = kvGeometry(config, range, {
    dtype: options.dtype,
    kvCacheType: options.kvCacheType,
    parallel,
    blockSize: options.blockSize,
    maxNumBatchedTokens,
    groupRatio: profile.groupRatio,
    stateBlocks: profile.stateBlocks + speculativeTokens,
    contextRanks: options.contextRanks,
    stateType: options.stateType,
    extraLayers: draftMixers(config, options),
  });
  const memory = byFormulas(config, corrected(predicted, options.corrections), geometry, options);
  return {
    range,
    weights,
    loraBytes: lora,
    geometry,
    memory: { ...memory, kvPoolBytes: poolOf(options, memory) },
  };
}

/** Sizes every pipeline stage of a model. */
export function sizeStages(config: ModelConfig, options: ResolvedOptions): readonly StageSizing[] {
  return pipelineStages(config.layers.length, options.parallel.pipeline).map((range) =>
    sizeStage(config, range, options),
  );
}

function footprint(memory: RankMemory): number {
  return (
    memory.weightsBytes +
    memory.activationBytes +
    memory.nonTorchBytes +
    memory.graphBytes +
    memory.contextBytes
  );
}

function blocksOf(stage: StageSizing): number {
  const pool = stage.memory.kvPoolBytes ?? 0;
  return stage.geometry.blockBytes > 0
    ? Math.floor(pool / stage.geometry.blockBytes)
    : Number.MAX_SAFE_INTEGER;
}

/** The stage that limits: least blocks where pools are known, else the largest footprint. */
export function limitingStage(stages: readonly StageSizing[]): StageSizing | undefined {
  let worst: StageSizing | undefined;
  for (const stage of stages) {
    if (worst === undefined) worst = stage;
    else if (stage.memory.kvPoolBytes !== null) {
      if (blocksOf(stage) < blocksOf(worst)) worst = stage;
    } else if (footprint(stage.memory) > footprint(worst.memory)) worst = stage;
  }
  return worst;
}

/**
 * Half-width of the band around the pool. CUDA V1: from the bench's out-of-sample errors; ROCm, V0, SGLang and
 * approximated models are not validated by data and get wider bands.
 */
export function poolBand(
  config: ModelConfig,
  options: ResolvedOptions,
  memory: RankMemory,
): number {
  const { generation } = options.profile;
  const validated = options.platform === 'cuda' && generation === 'v1';
  const weights = (config.approximate ? 0.04 : 0.002) + (validated ? 0 : 0.02);
  const activation = validated ? 0.1 : 0.5;
  const nonTorch = validated ? 0.1 * GIB : 0.75 * GIB;
  const bytes = weights * memory.weightsBytes + activation * memory.activationBytes + nonTorch;
  const pool = memory.kvPoolBytes;
  const against = pool === null ? footprint(memory) : pool;
  return against > 0 ? Math.min(1, Math.max(0.002, bytes / against)) : 1;
}

function kvOf(stage: StageSizing, options: ResolvedOptions): KvSizing {
  const { geometry } = stage;
  const needed = geometry.blocksPerRequest(options.maxModelLen);
  const common = {
    bytesPerToken: geometry.bytesPerToken,
    bytesPerRequestFixed: geometry.bytesPerRequestFixed,
    bytesPerRequestAtMaxLen: needed * geometry.blockBytes,
    blockSize: geometry.blockSize,
  };
  if (stage.memory.kvPoolBytes === null || geometry.blockBytes === 0 || needed === 0)
    return { ...common, blocks: null, tokens: null, loggedTokens: null, maxConcurrency: null };
  const blocks = blocksOf(stage);
  const maxConcurrency = blocks / needed;
  const tokens = Math.floor(maxConcurrency * options.maxModelLen);
  const perBlocks =
    Math.floor(blocks / geometry.groups) * geometry.blockSize * options.contextRanks;
  return {
    ...common,
    blocks,
    tokens,
    loggedTokens: options.profile.loggedTokens === 'concurrency' ? tokens : perBlocks,
    maxConcurrency,
  };
}

const ROCM_NOTE =
  'ROCm: activation, non-torch and context terms are not validated by V1 logs; the band is wider';

function notes(
  config: ModelConfig,
  options: ResolvedOptions,
  stage: StageSizing,
): { assumptions: string[]; warnings: string[] } {
  const assumptions = [...config.assumptions, ...options.assumptions];
  const warnings = [...config.warnings, ...options.warnings];
  if (options.platform === 'rocm') assumptions.push(ROCM_NOTE);
  if (options.profile.generation === 'v0')
    assumptions.push('V0 engine: profiled at max-model-len, few logs, wide band');
  if (stage.geometry.approximate)
    assumptions.push('compressed KV cache: sized as a slope and a fixed part per request');
  const { totalMemoryBytes: total } = options;
  if (
    total !== null &&
    options.kvCacheMemoryBytes === null &&
    options.profile.generation === 'v1'
  ) {
    const requested = Math.ceil(total * options.gpuMemoryUtilization);
    if (requested + stage.memory.contextBytes > total)
      warnings.push(
        'utilization and device context together exceed the memory: the engine may refuse to start',
      );
  }
  return { assumptions, warnings };
}

function fitsOf(stage: StageSizing, kv: KvSizing, options: ResolvedOptions): boolean | null {
  const { memory } = stage;
  if (memory.kvPoolBytes === null) return null;
  if (options.totalMemoryBytes !== null && options.kvCacheMemoryBytes !== null) {
    if (footprint(memory) + options.kvCacheMemoryBytes > options.totalMemoryBytes) return false;
  }
  return kv.bytesPerRequestAtMaxLen === 0
    ? memory.kvPoolBytes > 0
    : memory.kvPoolBytes >= kv.bytesPerRequestAtMaxLen;
}

/**
 * Says how many bytes a model takes on each rank, what is left for its KV cache, and whether it starts.
 *
 * All sizes are bytes. Without `totalMemoryBytes` pool, blocks, tokens and `fits` are `null`. `approximate` is true
 * when the architecture was not fully recognised. Throws `ERR_CONFIG_INVALID` for options out of range, unknown
 * words, and tensor parallelism that does not divide the heads.
 */
export function sizeModel(config: ModelConfig, options: SizeOptions = {}): Sizing {
  const resolved = resolveOptions(config, options);
  const stages = sizeStages(config, resolved);
  const limit = limitingStage(stages);
  if (limit === undefined) throw new RangeError('a model has at least one pipeline stage');
  const kv = kvOf(limit, resolved);
  const { total, loaded, byComponent } = countParameters(config);
  const { assumptions, warnings } = notes(config, resolved, limit);
  const { tensor } = resolved.parallel;
  return {
    parameters: { total, loaded, byComponent },
    perRank: limit.memory,
    ranks: stages.flatMap((stage, index) =>
      Array.from({ length: tensor }, (_, rank) => ({
        rank: index * tensor + rank,
        ...stage.memory,
      })),
    ),
    kv,
    fits: fitsOf(limit, kv, resolved),
    confidence: { kvPoolRelative: poolBand(config, resolved, limit.memory) },
    approximate: config.approximate || limit.geometry.approximate,
    assumptions,
    warnings,
  };
}
