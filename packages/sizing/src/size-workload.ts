/**
 * From a workload (what the user wants) and its model to a `Demand` (what an instance needs): bytes by component for
 * the expected sequences, the least with which the engine starts, and the traffic of its steps.
 * Does not know any partition: a demand is the same wherever the instance will run.
 */
import {
  AimError,
  bytes,
  type Demand,
  type MemoryDemand,
  type StepDemand,
  type Workload,
} from '@aim-gpu/core';
import type { Calibration } from './calibration-file.js';
import { kvBytesFor } from './kv-cache.js';
import type {
  AttentionMixer,
  LatentMixer,
  Mixer,
  ModelConfig,
  QuantizationPlan,
} from './model-config.js';
import { countParameters } from './parameters.js';
import { poolBand } from './size-model.js';
import { type ResolvedOptions, resolveOptions, type SizeOptions } from './size-options.js';
import { type StageSizing, sizeStages } from './stage-sizing.js';
import { readBytes } from './weights.js';

/** Longest context taken when a workload leaves it open (the fleet file's rule). */
export const DEFAULT_MAX_MODEL_LEN = 32_768;
/** Tokens of one engine step when neither workload nor engine arguments say; the same on every partition. */
const DEFAULT_BATCH_TOKENS = 2048;
/** Blocks that an engine keeps beside those of requests: the null block. */
const SPARE_BLOCKS = 1;

/** Options of {@link sizeWorkload}. */
export interface SizeWorkloadOptions {
  /** Whose margins count; `rocm` by default. */
  readonly platform?: 'cuda' | 'rocm';
  /** Corrections of the host the instance will run on. */
  readonly calibration?: Calibration | null;
}

function argument(workload: Workload, name: string): unknown {
  const { args } = workload.engine;
  // A bare flag is null, so presence counts.
  return name in args ? args[name] : args[name.replaceAll('-', '_')];
}

function numberArgument(workload: Workload, name: string): number | null {
  const value = argument(workload, name);
  if (value === undefined || value === null) return null;
  const number = typeof value === 'number' ? value : Number(value);
  if (!Number.isFinite(number) || number <= 0)
    throw new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: `model ${workload.name}: engine argument ${name} is ${JSON.stringify(value)}`,
      hint: 'give a number above 0, or leave it out',
      details: { workload: workload.name, argument: name },
    });
  return number;
}

/** Context, sequences and step size an instance of the workload is started with. */
function limitsOf(
  workload: Workload,
  config: ModelConfig,
): { maxModelLen: number; maxNumSeqs: number; maxNumBatchedTokens: number } {
  const own = config.maxPositionEmbeddings ?? DEFAULT_MAX_MODEL_LEN;
  return {
    maxModelLen:
      workload.maxModelLen ??
      numberArgument(workload, 'max-model-len') ??
      Math.min(own, DEFAULT_MAX_MODEL_LEN),
    maxNumSeqs: numberArgument(workload, 'max-num-seqs') ?? workload.concurrency,
    maxNumBatchedTokens: numberArgument(workload, 'max-num-batched-tokens') ?? DEFAULT_BATCH_TOKENS,
  };
}

function optionsOf(
  workload: Workload,
  config: ModelConfig,
  options: SizeWorkloadOptions,
): SizeOptions {
  const { engine, parallel, adapters } = workload;
  const blockSize = numberArgument(workload, 'block-size');
  return {
    ...limitsOf(workload, config),
    dtype: workload.dtype,
    quantization: workload.quantization,
    kvCacheDtype: workload.kvCacheDtype,
    parallel: { tensor: parallel.tensor, pipeline: parallel.pipeline },
    engine: engine.version === null ? engine.name : `${engine.name}@${engine.version}`,
    platform: options.platform ?? 'rocm',
    enforceEager:
      argument(workload, 'enforce-eager') !== undefined &&
      argument(workload, 'enforce-eager') !== false,
    maxLoras: adapters.length,
    maxLoraRank: numberArgument(workload, 'max-lora-rank') ?? 16,
    ...(blockSize === null ? {} : { blockSize }),
    calibration: options.calibration ?? null,
  };
}

function memoryOf(stage: StageSizing, workload: Workload, options: ResolvedOptions): MemoryDemand {
  const { geometry, memory } = stage;
  const filled = Math.max(1, Math.ceil(options.maxModelLen * workload.expectedFill));
  const spare = SPARE_BLOCKS * geometry.blockBytes;
  const least = kvBytesFor(geometry, 1, options.maxModelLen) + spare;
  const wanted = kvBytesFor(geometry, workload.concurrency, filled) + spare;
  const kv = Math.ceil(Math.max(least, wanted));
  const fixed =
    memory.weightsBytes +
    memory.activationBytes +
    memory.nonTorchBytes +
    memory.graphBytes +
    memory.contextBytes;
  return {
    weightsBytes: bytes(memory.weightsBytes),
    activationBytes: bytes(memory.activationBytes),
    nonTorchBytes: bytes(memory.nonTorchBytes),
    graphBytes: bytes(memory.graphBytes),
    contextBytes: bytes(memory.contextBytes),
    kvBytes: bytes(kv),
    kvMinimumBytes: bytes(Math.ceil(least)),
    totalBytes: bytes(fixed + kv),
    minimumBytes: bytes(fixed + Math.ceil(least)),
  };
}

function mathPrecision(plan: QuantizationPlan | null): StepDemand['mathPrecision'] {
  const method =
    plan?.base.method === 'none'
      ? (plan.overrides[0]?.scheme.method ?? 'none')
      : (plan?.base.method ?? 'none');
  switch (method) {
    case 'fp8':
    case 'fp8-block':
    case 'int8':
      return 'fp8';
    case 'mxfp4':
    case 'nvfp4':
      return 'fp4';
    default:
      // Integer and GGUF weights are unpacked to 16 bits before the product.
      return 'fp16';
  }
}

function fullContext(mixer: Mixer): boolean {
  if (mixer.kind === 'attention') return mixer.window === null && mixer.chunk === null;
  return mixer.kind === 'mla' || (mixer.kind === 'compressed' && mixer.ratio > 0);
}

function queryWidth(mixer: Mixer | undefined): number {
  if (mixer === undefined) return 0;
  if (mixer.kind === 'attention') return mixer.heads * mixer.headDim;
  if (mixer.kind === 'mla') return mixer.heads * (mixer.nopeDim + mixer.ropeDim);
  return mixer.kind === 'compressed' ? mixer.heads * mixer.headDim : 0;
}

/**
 * The arithmetic of one step, over the whole model before tensor parallelism: what `performance` reads.
 * Throws like `sizeModel`.
 */
export function stepDemand(config: ModelConfig, options: SizeOptions = {}): StepDemand {
  const resolved = resolveOptions(config, { ...options, parallel: {} });
  return stepOf(config, resolved);
}

function stepOf(config: ModelConfig, options: ResolvedOptions): StepDemand {
  const { dtype, quantization, platform } = options;
  const single = { tensor: 1, pipeline: 1, data: 1, expert: false };
  const read = readBytes(config, {
    dtype,
    quantization,
    parallel: single,
    platform,
    prediction: false,
    padBlockFp8: false,
  });
  const counts = countParameters(config);
  const mixers = config.layers.flatMap((index) => config.blocks[index]?.mixer ?? []);
  const full = mixers.filter(fullContext);
  const first = full[0] ?? mixers.find((mixer) => queryWidth(mixer) > 0);
  const experts =
    config.blocks.find((block) => block.feedForward.experts !== null)?.feedForward.experts ?? null;
  const whole = sizeStages(config, { ...options, parallel: single })[0];
  const latent = mixers.some(
    (mixer): mixer is LatentMixer => mixer.kind === 'mla' || mixer.kind === 'compressed',
  );
  const attention = mixers.find((mixer): mixer is AttentionMixer => mixer.kind === 'attention');
  return {
    parameters: counts.loaded,
    activeParameters: Math.round(counts.active),
    alwaysReadBytes: Math.round(read.always),
    routedExpertBytes: Math.round(read.routed),
    experts: experts?.experts ?? 0,
    expertsPerToken: experts?.topK ?? 0,
    layers: config.layers.length,
    hiddenSize: config.hidden,
    kvBytesPerToken: whole?.geometry.bytesPerToken ?? 0,
    kvHeads: latent ? 1 : (attention?.kvHeads ?? 1),
    fullAttentionLayers: full.length,
    queryWidth: queryWidth(first),
    latentAttention: latent,
    sparseAttention: mixers.some((mixer) => mixer.kind === 'mla' && mixer.indexer !== null),
    mathPrecision: mathPrecision(quantization),
  };
}

/**
 * Says what one instance of a workload needs: memory per rank by component for `concurrency` sequences filled to
 * `expectedFill` of `maxModelLen`, the least to start (one full sequence), and the arithmetic of its steps.
 *
 * ROCm margins unless told otherwise. Throws `ERR_CONFIG_INVALID` for words, engine arguments or parallelism that
 * cannot be.
 */
export function sizeWorkload(
  workload: Workload,
  config: ModelConfig,
  options: SizeWorkloadOptions = {},
): Demand {
  const resolved = resolveOptions(config, optionsOf(workload, config, options));
  const stages = sizeStages(config, resolved);
  const memories = stages.map((stage) => ({ stage, memory: memoryOf(stage, workload, resolved) }));
  const largest = memories.reduce((most, one) =>
    one.memory.totalBytes > most.memory.totalBytes ? one : most,
  );
  const { geometry, memory } = largest.stage;
  const assumptions = [...config.assumptions, ...resolved.assumptions];
  if (numberArgument(workload, 'max-num-batched-tokens') === null)
    assumptions.push(
      `${DEFAULT_BATCH_TOKENS} tokens a step on every partition, as no engine argument says otherwise`,
    );
  if (resolved.platform === 'rocm')
    assumptions.push(
      'ROCm activation, non-torch and context terms are not validated by logs; the band is wider',
    );
  return {
    workload: workload.name,
    ranks: resolved.parallel.tensor * resolved.parallel.pipeline,
    memory: largest.memory,
    kv: {
      bytesPerToken: geometry.bytesPerToken,
      bytesPerRequestFixed: geometry.bytesPerRequestFixed,
      blockSize: geometry.blockSize,
    },
    step: stepOf(config, resolved),
    maxModelLen: resolved.maxModelLen,
    maxNumSeqs: resolved.maxNumSeqs,
    maxNumBatchedTokens: resolved.maxNumBatchedTokens,
    kvPoolRelative: poolBand(config, resolved, { ...memory, kvPoolBytes: largest.memory.kvBytes }),
    approximate: config.approximate || geometry.approximate,
    assumptions,
  };
}
