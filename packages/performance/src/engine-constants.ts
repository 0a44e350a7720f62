/**
 * Constants of the step model by engine family: efficiencies against the data sheet and fixed latencies, each row
 * with its source and grade. Data only, no formulas. Never keyed by a model's name: what differs between models must
 * come in through their demand.
 */

/** Engine builds that run at clearly different speed. `atom` covers ROCm/ATOM and vLLM with ATOM's kernels. */
export type EngineFamily = 'vllm' | 'sglang' | 'atom' | 'vllm-2024';

/** How well a number is supported. */
export type Grade =
  /** Fitted to published measurements of this engine family on this product. */
  | 'measured'
  /** Fitted to measurements of a sister product or another engine family. */
  | 'transferred'
  /** No measurement supports it. */
  | 'assumed'
  /** Corrected by the user's own measurement on this host. */
  | 'calibrated';

/** Constants of one engine family. Efficiencies are shares of a data-sheet peak; latencies are milliseconds. */
export interface EngineConstants {
  /** Share of peak bandwidth reached when reading weights. */
  readonly weightEfficiency: number;
  /** Share of peak bandwidth reached when reading the KV cache. */
  readonly kvEfficiency: number;
  /** Share of peak FLOP/s reached by the products of a long prompt. */
  readonly prefillEfficiency: number;
  /** Share of peak FLOP/s reached by the small products of a decode step. */
  readonly decodeEfficiency: number;
  /** Fixed cost of one layer in one step: kernel launches, norms, routing. Does not shrink with a partition. */
  readonly layerMs: number;
  /** Cost of one sequence in one step: sampling, scheduling, detokenising. */
  readonly sequenceMs: number;
  /** Fixed cost of one step. */
  readonly stepMs: number;
  /** Fixed cost of one all-reduce; a layer has two. */
  readonly allReduceMs: number;
  /** Rate of the part of an all-reduce that grows with the batch. */
  readonly allReduceBytesPerSecond: number;
  /** Time before a request reaches the engine core: HTTP, tokenising, hand-over between processes. */
  readonly frontEndMs: number;
  /** Reading routed experts against reading dense weights. */
  readonly expertReadEfficiency: number;
  /** Exponent of the batch in the share of experts that a batch touches; below 1 because routing is uneven. */
  readonly expertSpread: number;
  /** FLOP/s of a mixture-of-experts model against a dense one. */
  readonly expertComputeEfficiency: number;
  /** FLOP/s of 4-bit weights against their peak. */
  readonly fp4ComputeEfficiency: number;
  /** Latency of a layer with a sparse-attention indexer against a plain one. */
  readonly sparseLayerFactor: number;
  /** CDNA3 against CDNA4 for this family: latencies are multiplied by it. */
  readonly cdna3LatencyFactor: number;
  /** CDNA3 against CDNA4 for this family: FLOP/s are multiplied by it. */
  readonly cdna3ComputeFactor: number;
}

/** A row of constants with where it comes from. */
export interface EngineProfile {
  readonly family: EngineFamily;
  readonly constants: EngineConstants;
  /** Products whose measurements the row was fitted to. */
  readonly measuredOn: readonly string[];
  readonly source: string;
}

const SHARED = {
  stepMs: 0.133,
  allReduceMs: 0.03412,
  allReduceBytesPerSecond: 203e9,
  expertReadEfficiency: 1.2,
  expertSpread: 0.7415,
  expertComputeEfficiency: 0.313,
  fp4ComputeEfficiency: 0.7711,
  sparseLayerFactor: 2.072,
} as const;

const CDNA3_SLOWER = {
  cdna3LatencyFactor: 2.097,
  cdna3ComputeFactor: 0.5358,
} as const;

const CDNA3_SAME = { cdna3LatencyFactor: 1, cdna3ComputeFactor: 1 } as const;

/** The constants of every engine family. */
export const ENGINE_PROFILES: Readonly<Record<EngineFamily, EngineProfile>> = {
  vllm: {
    family: 'vllm',
    constants: {
      ...SHARED,
      ...CDNA3_SAME,
      weightEfficiency: 0.76,
      kvEfficiency: 0.27,
      prefillEfficiency: 0.23,
      decodeEfficiency: 0.14,
      layerMs: 0.06,
      sequenceMs: 0.0057,
      frontEndMs: 30,
    },
    measuredOn: ['MI300X'],
    source:
      'vLLM 0.6 to 0.18 on MI300X (dstackai/benchmarks, ROCm/vllm, vllm-project/recipes, cmontemuino), refitted with the layer latency tied near 60 us: a partition needs the right split between fixed and bandwidth time',
  },
  sglang: {
    family: 'sglang',
    constants: {
      ...SHARED,
      ...CDNA3_SLOWER,
      weightEfficiency: 0.3133,
      kvEfficiency: 0.95,
      prefillEfficiency: 0.3597,
      decodeEfficiency: 0.2965,
      layerMs: 0.05167,
      sequenceMs: 0.007916,
      frontEndMs: 103.6,
    },
    measuredOn: ['MI300X', 'MI325X', 'MI355X'],
    source:
      'SGLang and SGLang with ATOM, SemiAnalysisAI/InferenceX and ROCm/ATOM, 2025-12 to 2026-08',
  },
  atom: {
    family: 'atom',
    constants: {
      ...SHARED,
      ...CDNA3_SLOWER,
      weightEfficiency: 0.4728,
      kvEfficiency: 0.95,
      prefillEfficiency: 0.3847,
      decodeEfficiency: 0.2205,
      layerMs: 0.05071,
      sequenceMs: 0.009715,
      frontEndMs: 63.48,
    },
    measuredOn: ['MI355X', 'MI300X'],
    source: 'ROCm/ATOM dashboard history and SemiAnalysisAI/InferenceX, mostly MI355X, 2026',
  },
  'vllm-2024': {
    family: 'vllm-2024',
    constants: {
      ...SHARED,
      ...CDNA3_SAME,
      allReduceMs: 0.05802,
      weightEfficiency: 0.6362,
      kvEfficiency: 0.381,
      prefillEfficiency: 0.07454,
      decodeEfficiency: 0.03159,
      layerMs: 0.1325,
      sequenceMs: 0.07401,
      frontEndMs: 30,
    },
    measuredOn: ['MI300X'],
    source: 'argonne-lcf/LLM-Inference-Bench, untuned vLLM of 2024 on MI300X',
  },
};
