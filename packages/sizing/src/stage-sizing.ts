/**
 * Memory of one pipeline stage by component, and the KV pool that its budget leaves. The budget identity stands here;
 * corrections of a calibration and formulas of the user are applied here, after the package's own terms.
 * Source: reference "The budget identity" (vLLM V1 gpu_worker) and "SGLang".
 */
import type { Corrections } from './calibration-file.js';
import type { FormulaComponent } from './formulas.js';
import { type KvGeometry, kvGeometry } from './kv-cache.js';
import type { Mixer, ModelConfig } from './model-config.js';
import { activationBytes, contextBytes, graphBytes, loraBytes, nonTorchBytes } from './overhead.js';
import { type LayerRange, pipelineStages } from './parallel.js';
import { SGLANG_WINDOW_RATIO } from './sglang-rules.js';
import type { ResolvedOptions } from './size-options.js';
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
  return {
    dtype,
    quantization,
    parallel,
    platform,
    prediction: speculative === 'own',
    padBlockFp8: options.profile.rocmPadsBlockFp8,
  };
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
    windowShare: profile.generation === 'sglang' ? SGLANG_WINDOW_RATIO : null,
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

/** Everything a process takes beside its KV cache. */
export function footprint(memory: RankMemory): number {
  return (
    memory.weightsBytes +
    memory.activationBytes +
    memory.nonTorchBytes +
    memory.graphBytes +
    memory.contextBytes
  );
}

/** KV blocks of a stage. */
export function blocksOf(stage: StageSizing): number {
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
