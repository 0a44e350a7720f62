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
  /** Share of the 16-bit peak reached by attention over the KV cache in a decode step. */
  readonly attentionEfficiency: number;
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
  /** Latency of a layer with routed experts against a dense one. */
  readonly expertLayerFactor: number;
  /** Share of bandwidth reached when reading 8-bit weights against 16-bit ones. */
  readonly fp8ReadEfficiency: number;
  /** Share of bandwidth reached when reading 4-bit weights against 16-bit ones. */
  readonly fp4ReadEfficiency: number;
  /** CDNA3 against CDNA4 for this family: latencies are multiplied by it. */
  readonly cdna3LatencyFactor: number;
  /** CDNA3 against CDNA4 for this family: FLOP/s are multiplied by it. */
  readonly cdna3ComputeFactor: number;
}

/** A row of constants with where it comes from. */
export interface EngineProfile {
  readonly family: EngineFamily;
  readonly constants: EngineConstants;
  /** Whether models with routed experts were among the measured ones. */
  readonly measuredExperts: boolean;
  /** Products whose measurements the row was fitted to. */
  readonly measuredOn: readonly string[];
  readonly source: string;
}

/** The constants of every engine family, as scripts/fit-constants.ts finds them. */
export const ENGINE_PROFILES: Readonly<Record<EngineFamily, EngineProfile>> = {
  vllm: {
    family: 'vllm',
    constants: {
      weightEfficiency: 0.6575,
      kvEfficiency: 0.3089,
      attentionEfficiency: 0.1627,
      prefillEfficiency: 0.2554,
      decodeEfficiency: 0.1526,
      layerMs: 0.05459,
      sequenceMs: 0.008388,
      stepMs: 0.133,
      allReduceMs: 0.01823,
      allReduceBytesPerSecond: 202.1e9,
      frontEndMs: 39.38,
      expertReadEfficiency: 1.2,
      expertSpread: 0.8,
      expertComputeEfficiency: 0.35,
      fp4ComputeEfficiency: 0.8,
      sparseLayerFactor: 2,
      expertLayerFactor: 5,
      fp8ReadEfficiency: 0.904,
      fp4ReadEfficiency: 1,
      cdna3LatencyFactor: 1,
      cdna3ComputeFactor: 1,
    },
    measuredExperts: false,
    measuredOn: ['MI300X'],
    source:
      'vLLM 0.6 to 0.18 on MI300X: dstackai/benchmarks, ROCm/vllm, vllm-project/recipes, cmontemuino, blogs.oracle.com; layer latency held near 60 us, because a partition needs the right split between fixed and bandwidth time; a layer with experts 5 times as long by two later observations (200 to 300 us, Millstone-AI-Solutions; gpt-oss-20b)',
  },
  sglang: {
    family: 'sglang',
    constants: {
      weightEfficiency: 0.5262,
      kvEfficiency: 0.6457,
      attentionEfficiency: 0.2346,
      prefillEfficiency: 0.314,
      decodeEfficiency: 0.1998,
      layerMs: 0.06293,
      sequenceMs: 0.007953,
      stepMs: 0.133,
      allReduceMs: 0.03139,
      allReduceBytesPerSecond: 244.3e9,
      frontEndMs: 53.92,
      expertReadEfficiency: 1.2,
      expertSpread: 0.8541,
      expertComputeEfficiency: 0.3659,
      fp4ComputeEfficiency: 0.7702,
      sparseLayerFactor: 2,
      expertLayerFactor: 1.049,
      fp8ReadEfficiency: 0.9279,
      fp4ReadEfficiency: 0.9451,
      cdna3LatencyFactor: 2.17,
      cdna3ComputeFactor: 0.5422,
    },
    measuredExperts: true,
    measuredOn: ['MI300X', 'MI355X'],
    source:
      'SGLang and SGLang with ATOM: SemiAnalysisAI/InferenceX and ROCm/ATOM, 2025-12 to 2026-08',
  },
  atom: {
    family: 'atom',
    constants: {
      weightEfficiency: 0.6009,
      kvEfficiency: 0.8121,
      attentionEfficiency: 0.3567,
      prefillEfficiency: 0.4454,
      decodeEfficiency: 0.221,
      layerMs: 0.08697,
      sequenceMs: 0.007194,
      stepMs: 0.133,
      allReduceMs: 0.02712,
      allReduceBytesPerSecond: 206.9e9,
      frontEndMs: 48.61,
      expertReadEfficiency: 1.2,
      expertSpread: 0.826,
      expertComputeEfficiency: 0.3129,
      fp4ComputeEfficiency: 0.7945,
      sparseLayerFactor: 2.01,
      expertLayerFactor: 0.7567,
      fp8ReadEfficiency: 0.8157,
      fp4ReadEfficiency: 1.124,
      cdna3LatencyFactor: 1.338,
      cdna3ComputeFactor: 0.7764,
    },
    measuredExperts: true,
    measuredOn: ['MI355X', 'MI300X'],
    source:
      'ROCm/ATOM dashboard history and SemiAnalysisAI/InferenceX, mostly MI355X, 2026; vLLM with the ATOM plugin is in it',
  },
  'vllm-2024': {
    family: 'vllm-2024',
    constants: {
      weightEfficiency: 0.6918,
      kvEfficiency: 0.4268,
      attentionEfficiency: 0.1828,
      prefillEfficiency: 0.08282,
      decodeEfficiency: 0.03235,
      layerMs: 0.1575,
      sequenceMs: 0.07517,
      stepMs: 0.133,
      allReduceMs: 0.04353,
      allReduceBytesPerSecond: 170.3e9,
      frontEndMs: 40,
      expertReadEfficiency: 1.2,
      expertSpread: 0.8,
      expertComputeEfficiency: 0.35,
      fp4ComputeEfficiency: 0.8,
      sparseLayerFactor: 2,
      expertLayerFactor: 1,
      fp8ReadEfficiency: 1,
      fp4ReadEfficiency: 1,
      cdna3LatencyFactor: 1,
      cdna3ComputeFactor: 1,
    },
    measuredExperts: false,
    measuredOn: ['MI300X'],
    source:
      'argonne-lcf/LLM-Inference-Bench, untuned vLLM of 2024 on MI300X; TTFT was not measured',
  },
};
