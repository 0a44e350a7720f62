/**
 * What each model family leaves unsaid in its config.json, as data: biases, norms, tying, prediction layers.
 * One row per `model_type`. Structure that the config does state (latent attention, experts, state-space layers)
 * is read from the fields, never from this table, and no row names a particular model.
 */

/** The unsaid facts of one family. */
export interface FamilyTraits {
  /** Query, key and value projections have a bias when the config is silent. */
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  /** Norm on queries and keys: per head channel, or over the whole projected width. */
  readonly qkNorm: 'none' | 'head' | 'width';
  /** Queries and keys are normalised only where the config says `use_qk_norm`. */
  readonly qkNormStated: boolean;
  /** Norms of hidden width in one block. */
  readonly norms: number;
  /** Norms have a bias beside the weight (layer norm). */
  readonly normBias: boolean;
  /** Feed-forward networks have a gate projection. */
  readonly gated: boolean;
  readonly mlpBias: boolean;
  /** Embedding and output projection are one matrix when the config is silent. */
  readonly tied: boolean;
  readonly sinks: boolean;
  /** Biases on router and experts (GPT-OSS). */
  readonly expertBias: boolean;
  /** A correction bias per expert in the router although no field says so. */
  readonly correctionBias: boolean;
  /** Output projection has a bias although no field says so. */
  readonly headBias: boolean;
  /** The shared expert has a gate of one output. */
  readonly sharedGate: boolean;
  /** Layout of stored prediction layers: with embeddings of their own, sharing them, or not stored. */
  readonly prediction: 'own-embeddings' | 'shared-embeddings' | 'absent';
  /** Layers look back over a window except every n-th; 0 = decided by the fields. */
  readonly fullEvery: number;
  /** Rope layers use chunked local attention, every fourth layer is global (Llama 4). */
  readonly chunked: boolean;
  /** Experts are as wide as `intermediate_size`, dense layers as wide as `intermediate_size_mlp`. */
  readonly wideDense: boolean;
  /** Shared expert of the experts' own width although no field says so. */
  readonly impliedShared: boolean;
  /** A second rotary table for windowed layers. */
  readonly localRotary: boolean;
  readonly logitSoftcap: boolean;
  /**
   * Prediction layers that the checkpoint holds although no field counts them; they are windowed and dense.
   */
  readonly silentPrediction: number;
}

const BASE: FamilyTraits = {
  qkvBias: false,
  outputBias: false,
  qkNorm: 'none',
  qkNormStated: false,
  norms: 2,
  normBias: false,
  gated: true,
  mlpBias: false,
  tied: false,
  sinks: false,
  expertBias: false,
  correctionBias: false,
  headBias: false,
  sharedGate: false,
  prediction: 'shared-embeddings',
  fullEvery: 0,
  chunked: false,
  wideDense: false,
  impliedShared: false,
  localRotary: false,
  logitSoftcap: false,
  silentPrediction: 0,
};

const QWEN2: FamilyTraits = { ...BASE, qkvBias: true };
const QWEN3: FamilyTraits = { ...BASE, qkNorm: 'head' };
const QWEN_SHARED: FamilyTraits = { ...QWEN3, sharedGate: true };
const GEMMA2: FamilyTraits = { ...BASE, norms: 4, tied: true, fullEvery: 2, logitSoftcap: true };
const GEMMA3: FamilyTraits = {
  ...BASE,
  norms: 4,
  qkNorm: 'head',
  tied: true,
  fullEvery: 6,
  localRotary: true,
};
const GEMMA4: FamilyTraits = { ...GEMMA3, logitSoftcap: true };
const DEEPSEEK: FamilyTraits = { ...BASE, prediction: 'own-embeddings' };
// Its query and key norms have no weights, so `use_qk_norm` adds no parameter.
const LLAMA4: FamilyTraits = {
  ...BASE,
  qkNormStated: true,
  chunked: true,
  wideDense: true,
  impliedShared: true,
};
const NEMOTRON_H: FamilyTraits = { ...BASE, norms: 1, gated: false };
const LAYER_NORM: FamilyTraits = { ...BASE, normBias: true };
const ALL_BIAS = { qkvBias: true, outputBias: true, mlpBias: true } as const;
const GLM4: FamilyTraits = { ...BASE, norms: 4, qkvBias: true };
const GLM4_MOE: FamilyTraits = {
  ...BASE,
  qkvBias: true,
  qkNorm: 'head',
  qkNormStated: true,
  correctionBias: true,
  prediction: 'own-embeddings',
};
/** One norm before attention and network together, no bias on it, embedding and output one matrix. */
const COHERE: FamilyTraits = { ...BASE, norms: 1, tied: true, qkNorm: 'width', qkNormStated: true };
const OLMO2: FamilyTraits = { ...BASE, qkNorm: 'width' };
const HUNYUAN: FamilyTraits = { ...BASE, qkNorm: 'head', qkNormStated: true, tied: true };
const EXAONE4: FamilyTraits = { ...BASE, qkNorm: 'head' };

const FAMILIES: ReadonlyMap<string, FamilyTraits> = new Map<string, FamilyTraits>([
  ['llama', BASE],
  ['mistral', BASE],
  ['mistral3', BASE],
  ['pixtral', BASE],
  ['mixtral', BASE],
  ['yi', BASE],
  ['phi3', BASE],
  ['phi4', BASE],
  ['phi', { ...LAYER_NORM, ...ALL_BIAS, norms: 1, gated: false, headBias: true }],
  ['phimoe', { ...LAYER_NORM, prediction: 'absent' }],
  ['granite', { ...BASE, tied: true }],
  ['granitemoe', { ...BASE, tied: true }],
  ['granitemoehybrid', { ...BASE, tied: true }],
  ['qwen2', QWEN2],
  ['qwen2_moe', { ...QWEN2, sharedGate: true }],
  ['qwen2_vl_text', QWEN2],
  ['qwen2_5_vl_text', QWEN2],
  ['qwen2_vl', QWEN2],
  ['qwen2_5_vl', QWEN2],
  ['qwen3', QWEN3],
  ['qwen3_moe', QWEN3],
  ['qwen3_vl', QWEN3],
  ['qwen3_vl_text', QWEN3],
  ['qwen3_vl_moe', QWEN3],
  ['qwen3_vl_moe_text', QWEN3],
  ['qwen3_next', QWEN_SHARED],
  ['qwen3_omni_moe', QWEN3],
  ['qwen3_omni_moe_text', QWEN3],
  ['qwen3_5', QWEN_SHARED],
  ['qwen3_5_text', QWEN_SHARED],
  ['qwen3_5_moe', QWEN_SHARED],
  ['qwen3_5_moe_text', QWEN_SHARED],
  ['mimo', QWEN2],
  ['mimo_v2_flash', { ...BASE, silentPrediction: 3 }],
  ['gemma', { ...BASE, tied: true }],
  ['gemma2', GEMMA2],
  ['gemma3', GEMMA3],
  ['gemma3_text', GEMMA3],
  ['gemma4', GEMMA4],
  ['gemma4_text', GEMMA4],
  ['gpt_oss', { ...BASE, qkvBias: true, outputBias: true, sinks: true, expertBias: true }],
  ['llama4', LLAMA4],
  ['llama4_text', LLAMA4],
  ['deepseek_v2', DEEPSEEK],
  ['deepseek_v3', DEEPSEEK],
  ['deepseek_v32', DEEPSEEK],
  ['kimi_k2', DEEPSEEK],
  ['kimi_k25', DEEPSEEK],
  ['kimi_vl', DEEPSEEK],
  ['deepseek_v4', BASE],
  ['glm_moe_dsa', BASE],
  ['glm4', GLM4],
  ['glm4_moe', GLM4_MOE],
  ['chatglm', QWEN2],
  ['cohere', COHERE],
  ['cohere2', COHERE],
  ['olmo', BASE],
  ['olmo2', OLMO2],
  ['olmo3', OLMO2],
  ['exaone4', EXAONE4],
  ['hunyuan_v1_dense', HUNYUAN],
  ['hunyuan_v1_moe', HUNYUAN],
  ['internlm2', BASE],
  ['internlm3', BASE],
  ['smollm3', BASE],
  ['seed_oss', QWEN2],
  ['ernie4_5', { ...BASE, tied: true }],
  ['ernie4_5_moe', { ...BASE, tied: true, correctionBias: true }],
  ['starcoder2', { ...LAYER_NORM, ...ALL_BIAS, gated: false, tied: true }],
  ['minimax_m2', { ...BASE, qkNorm: 'width', prediction: 'absent' }],
  ['nemotron_h', NEMOTRON_H],
  ['jamba', BASE],
]);

/** `DeepseekV4ForCausalLM` → `deepseek_v4`, for configs whose `model_type` is a private word. */
function familyOfArchitecture(architecture: string): string {
  return architecture
    .replace(/For(?:CausalLM|ConditionalGeneration)$/, '')
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_')
    .toLowerCase();
}

/**
 * Traits of a `model_type`, or else of the architecture's name, and whether the family is known; unknown ones get
 * those of a plain Llama.
 */
export function familyTraits(
  modelType: string,
  architecture: string,
): { readonly traits: FamilyTraits; readonly known: boolean } {
  const traits = FAMILIES.get(modelType) ?? FAMILIES.get(familyOfArchitecture(architecture));
  return { traits: traits ?? BASE, known: traits !== undefined };
}

/** Families this package knows by name, sorted. */
export function knownFamilies(): readonly string[] {
  return [...FAMILIES.keys()].sort();
}
