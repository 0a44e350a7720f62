/**
 * The cost of one engine step on one partition: a decode step for a batch, a prompt, a chunk of a prompt, and a step
 * that mixes them. Pure roofline with fixed latencies; every other part of the package is built on these four costs,
 * and nothing else in the repository may model speed. Owns no queueing and no clock.
 */
import type { StepDemand } from '@aim-gpu/core';
import { ENGINE_PROFILES, type EngineConstants, type EngineFamily } from './engine-constants.js';
import type { PartitionSpeed } from './partition-speed.js';
import { requireNumber, requireWhole } from './validation.js';

/** Input of {@link createStepModel}. */
export interface StepModelOptions {
  readonly step: StepDemand;
  /** One partition; a tensor-parallel instance has `tensorParallel` of them. */
  readonly speed: PartitionSpeed;
  /** By default `vllm`. */
  readonly engine?: EngineFamily;
  /** By default 1. */
  readonly tensorParallel?: number;
  /** Constants to use instead of the engine family's, such as calibrated ones. */
  readonly constants?: EngineConstants;
}

/** Parts of a decode step in milliseconds, for explanations. `memory` and `compute` overlap, the rest adds up. */
export interface DecodeParts {
  readonly weightReadMs: number;
  readonly kvReadMs: number;
  readonly computeMs: number;
  /** The overlap of the three above: cbrt((weights + kv)³ + compute³). */
  readonly overlappedMs: number;
  readonly layerMs: number;
  readonly allReduceMs: number;
  readonly sequenceMs: number;
  readonly stepMs: number;
  readonly totalMs: number;
}

/** Step costs of one model on one partition, in milliseconds. */
export interface StepModel {
  readonly step: StepDemand;
  readonly speed: PartitionSpeed;
  readonly engine: EngineFamily;
  readonly tensorParallel: number;
  readonly constants: EngineConstants;
  /** Time a request spends before it reaches the engine core. */
  readonly frontEndMs: number;
  /** One decode step of `batch` sequences with a mean context of `meanContextTokens`. */
  decodeMs(batch: number, meanContextTokens: number): number;
  /** The parts of {@link StepModel.decodeMs}. */
  decodeParts(batch: number, meanContextTokens: number): DecodeParts;
  /** One prompt alone, of which the first `cachedTokens` are in the prefix cache. */
  prefillMs(promptTokens: number, cachedTokens?: number): number;
  /** The part of a prompt's time that grows with its tokens. */
  prefillMarginalMs(promptTokens: number, cachedTokens?: number): number;
  /**
   * Tokens `from` to `to` of a prompt whose computation started at `cachedTokens` and ends at `promptTokens`. The
   * chunks of a prompt add up to {@link StepModel.prefillMs}.
   */
  chunkMs(from: number, to: number, cachedTokens: number, promptTokens: number): number;
}

/** Longest context the model accepts; beyond it a number is a mistake. */
export const MAX_CONTEXT_TOKENS = 16_777_216;

const SPARSE_TOP_K = 2048;
const SPARSE_INDEX_SHARE = 0.11;
const SPARSE_PREFILL_WINDOW = 4096;
/** Bytes moved in an all-reduce per hidden element: 16-bit there and back. */
const ALL_REDUCE_BYTES = 4;

function validateStep(step: StepDemand): void {
  requireNumber('step.parameters', step.parameters, 1, 1e14);
  requireNumber('step.activeParameters', step.activeParameters, 1, step.parameters * 1.5);
  requireNumber('step.alwaysReadBytes', step.alwaysReadBytes, 0, 1e15);
  requireNumber('step.routedExpertBytes', step.routedExpertBytes, 0, 1e15);
  requireNumber('step.layers', step.layers, 1, 10_000);
  requireNumber('step.hiddenSize', step.hiddenSize, 1, 1e7);
  requireNumber('step.kvBytesPerToken', step.kvBytesPerToken, 0, 1e10);
  requireNumber('step.fullAttentionLayers', step.fullAttentionLayers, 0, 10_000);
  requireNumber('step.queryWidth', step.queryWidth, 0, 1e7);
}

/**
 * Makes the step costs of a model on a partition, by the formulas of the package's README (roofline with a cubic
 * overlap of memory and compute, fixed latency per layer, all-reduce per layer when tensor-parallel). Constants are
 * those of the engine family unless given. Throws `ERR_PREDICT_INVALID` for impossible demands or partitions.
 */
export function createStepModel(options: StepModelOptions): StepModel {
  const { step, speed } = options;
  const engine = options.engine ?? 'vllm';
  const tensorParallel = requireWhole('tensorParallel', options.tensorParallel ?? 1, 1, 1024);
  const constants = options.constants ?? ENGINE_PROFILES[engine].constants;
  validateStep(step);
  const bandwidth =
    requireNumber('speed.memoryBytesPerSecond', speed.memoryBytesPerSecond, 1, 1e18) *
    tensorParallel;
  const native = step.mathPrecision === 'fp4' && !speed.nativeFp4 ? 'fp16' : step.mathPrecision;
  const peak =
    requireNumber('speed.flopsPerSecond', speed.flopsPerSecond[native], 1, 1e21) * tensorParallel;

  const expertMoe = step.experts > 0 && step.routedExpertBytes > 0;
  const cdna3 = speed.architecture === 'CDNA3';
  const latencyFactor = cdna3 ? constants.cdna3LatencyFactor : 1;
  const computeFactor =
    (step.mathPrecision === 'fp4' ? constants.fp4ComputeEfficiency : 1) *
    (expertMoe ? constants.expertComputeEfficiency : 1) *
    (cdna3 ? constants.cdna3ComputeFactor : 1);
  const untouched = expertMoe ? 1 - Math.min(1, step.expertsPerToken / step.experts) : 1;
  const readEfficiency =
    step.mathPrecision === 'fp4'
      ? constants.fp4ReadEfficiency
      : step.mathPrecision === 'fp8'
        ? constants.fp8ReadEfficiency
        : 1;
  const weightBandwidth = bandwidth * constants.weightEfficiency * readEfficiency;
  const dense = (1000 * step.alwaysReadBytes) / weightBandwidth;
  const routed =
    (1000 * step.routedExpertBytes) / (weightBandwidth * constants.expertReadEfficiency);
  const kvReplication = step.latentAttention
    ? tensorParallel
    : Math.max(1, tensorParallel / Math.max(1, step.kvHeads));
  const attentionPeak = speed.flopsPerSecond.fp16 * tensorParallel * constants.attentionEfficiency;
  const kvTokenMs =
    (1000 * step.kvBytesPerToken * kvReplication) / (bandwidth * constants.kvEfficiency) +
    (4000 * step.fullAttentionLayers * step.queryWidth) / attentionPeak;
  const decodeTokenMs =
    (2000 * step.activeParameters) / (peak * constants.decodeEfficiency * computeFactor);
  const prefillPeak = peak * constants.prefillEfficiency * computeFactor;
  const prefillTokenMs = (2000 * step.activeParameters) / prefillPeak;
  const attentionTokenMs = (2000 * step.fullAttentionLayers * step.queryWidth) / prefillPeak;
  const layerMs =
    step.layers *
    constants.layerMs *
    (step.sparseAttention ? constants.sparseLayerFactor : 1) *
    (expertMoe ? constants.expertLayerFactor : 1) *
    latencyFactor;
  const parallel = tensorParallel > 1;
  const allReduceFixedMs = parallel ? 2 * step.layers * constants.allReduceMs * latencyFactor : 0;
  const allReduceTokenMs = parallel
    ? (2000 * step.layers * step.hiddenSize * ALL_REDUCE_BYTES * (tensorParallel - 1)) /
      tensorParallel /
      constants.allReduceBytesPerSecond
    : 0;
  const fixedMs = constants.stepMs + layerMs + allReduceFixedMs;

  const weightReadMs = (tokens: number): number =>
    expertMoe ? dense + routed * (1 - untouched ** (tokens ** constants.expertSpread)) : dense;
  const attended = (context: number): number =>
    step.sparseAttention ? Math.min(context, SPARSE_TOP_K) + SPARSE_INDEX_SHARE * context : context;

  const decodeMs = (batch: number, meanContextTokens: number): number => {
    const memory = weightReadMs(batch) + batch * attended(meanContextTokens) * kvTokenMs;
    const compute = batch * decodeTokenMs;
    return (
      fixedMs +
      Math.cbrt(memory * memory * memory + compute * compute * compute) +
      batch * (allReduceTokenMs + constants.sequenceMs)
    );
  };
  /** Attention work of the first n tokens: n² full, n × window beyond a sparse window. */
  const attentionTokens = (n: number): number =>
    step.sparseAttention ? n * Math.min(n, SPARSE_PREFILL_WINDOW) : n * n;
  const prefillMarginalMs = (promptTokens: number, cachedTokens = 0): number =>
    (promptTokens - cachedTokens) * (prefillTokenMs + allReduceTokenMs) +
    (attentionTokens(promptTokens) - attentionTokens(cachedTokens)) * attentionTokenMs;
  const prefillMs = (promptTokens: number, cachedTokens = 0): number =>
    Math.max(
      prefillMarginalMs(promptTokens, cachedTokens),
      weightReadMs(promptTokens - cachedTokens),
    ) + fixedMs;

  return {
    step,
    speed,
    engine,
    tensorParallel,
    constants,
    frontEndMs: constants.frontEndMs,
    decodeMs,
    decodeParts: (batch, meanContextTokens) => {
      const weights = weightReadMs(batch);
      const kv = batch * attended(meanContextTokens) * kvTokenMs;
      const compute = batch * decodeTokenMs;
      return {
        weightReadMs: weights,
        kvReadMs: kv,
        computeMs: compute,
        overlappedMs: Math.cbrt((weights + kv) ** 3 + compute ** 3),
        layerMs,
        allReduceMs: allReduceFixedMs + batch * allReduceTokenMs,
        sequenceMs: batch * constants.sequenceMs,
        stepMs: constants.stepMs,
        totalMs: decodeMs(batch, meanContextTokens),
      };
    },
    prefillMs,
    prefillMarginalMs,
    chunkMs: (from, to, cachedTokens, promptTokens) => {
      const marginal = prefillMarginalMs(to, from);
      const whole = promptTokens - cachedTokens;
      if (whole <= 0) return marginal;
      const rest =
        prefillMs(promptTokens, cachedTokens) - prefillMarginalMs(promptTokens, cachedTokens);
      return marginal + (rest * (to - from)) / whole;
    },
  };
}
