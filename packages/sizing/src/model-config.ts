/**
 * What a model is, once its config.json has been understood: the shapes every formula of this package reads.
 * Owns the vocabulary (blocks, mixers, feed-forward parts, towers, quantization rules). Holds no formula and
 * reads no raw field: parse-config.ts is the only maker, everything else only reads.
 */
import type { CheckpointFacts } from './checkpoint.js';

/** Floating point type in which unquantized weights (and, unless told otherwise, the KV cache) are held. */
export type FloatType = 'bf16' | 'fp16' | 'fp32';

/**
 * How one linear layer's weights are stored.
 * `none` keeps the model's float type; the rest are named after the schemes of reference table "bytes per parameter".
 * `gguf:<type>` names a GGUF tensor type, for example `gguf:Q4_K`.
 */
export type QuantizationMethod =
  | 'none'
  | 'fp8'
  | 'fp8-block'
  | 'int8'
  | 'int4'
  | 'gptq'
  | 'awq'
  | 'mxfp4'
  | 'nvfp4'
  | 'bnb-nf4'
  | `gguf:${string}`;

/** One storage scheme with the parameters that change its size. */
export interface QuantizationScheme {
  readonly method: QuantizationMethod;
  /** Weights that share one scale; `null` where the method has a fixed or per-channel layout. */
  readonly groupSize: number | null;
  /** False when a packed zero point is stored per group beside the scale. */
  readonly symmetric: boolean;
  /** True when GPTQ act-order keeps a 4-byte group index for every input channel. */
  readonly actOrder: boolean;
  /** Bits of one weight for int8/int4/gptq/awq. */
  readonly bits: number;
}

/** Which modules a rule of a quantization plan names. */
export interface ModuleRule {
  /** Tested against a module path without its layer number, for example `self_attn.q_proj`. */
  readonly pattern: RegExp;
  /** Layers the rule holds for; `null` for all. */
  readonly layers: ReadonlySet<number> | null;
}

/** Which modules are quantized and how. */
export interface QuantizationPlan {
  /** The scheme of every linear layer that no rule names. */
  readonly base: QuantizationScheme;
  /** Modules that stay in the float type. */
  readonly excluded: readonly ModuleRule[];
  /** Modules with a scheme of their own (mixed precision checkpoints). */
  readonly overrides: readonly (ModuleRule & { readonly scheme: QuantizationScheme })[];
  /** KV cache type that the checkpoint asks for. */
  readonly kvCache: 'fp8' | 'nvfp4' | null;
  /** What the config calls the method, for messages. */
  readonly label: string;
}

/** Softmax attention with one key and one value vector per KV head and token. */
export interface AttentionMixer {
  readonly kind: 'attention';
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of a value head; differs from `headDim` in a few families. */
  readonly valueDim: number;
  /** Tokens a query may look back to; `null` for the whole context. */
  readonly window: number | null;
  /** Tokens of one local chunk (Llama 4); `null` for none. */
  readonly chunk: number | null;
  readonly qkvBias: boolean;
  readonly outputBias: boolean;
  /** Parameters of the query and key norms together. */
  readonly qkNormParameters: number;
  /** Query projection carries an output gate of the same width. */
  readonly outputGate: boolean;
  /** Keys double as values, one projection (Gemma 4 global layers). */
  readonly keyIsValue: boolean;
  /** One learned sink logit per query head. */
  readonly sinks: boolean;
  /** Layers whose KV cache is that of an earlier layer hold none of their own. */
  readonly sharesKv: boolean;
  /** Channels of a head that the rotary embedding turns. */
  readonly rotaryDim: number;
}

/** Multi-head latent attention (DeepSeek V2 and its descendants): one compressed vector per token. */
export interface LatentMixer {
  readonly kind: 'mla';
  readonly heads: number;
  readonly queryRank: number | null;
  readonly kvRank: number;
  readonly nopeDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
  readonly bias: boolean;
  /** Sparse-attention indexer; `owns` is false for layers that reuse the selection of an earlier layer. */
  readonly indexer: {
    readonly heads: number;
    readonly dim: number;
    readonly topK: number;
    readonly owns: boolean;
  } | null;
}

/** DeepSeek V4's compressed attention: one shared key-value head, grouped low-rank output. */
export interface CompressedMixer {
  readonly kind: 'compressed';
  readonly heads: number;
  readonly headDim: number;
  readonly ropeDim: number;
  readonly queryRank: number;
  readonly outputRank: number;
  readonly outputGroups: number;
  /** Tokens folded into one cache slot; 0 keeps only the sliding window. */
  readonly ratio: number;
  readonly window: number;
  readonly indexer: { readonly heads: number; readonly dim: number; readonly topK: number } | null;
}

/** Gated delta net (Qwen3-Next, Qwen3.5): a state per request instead of a cache per token. */
export interface DeltaMixer {
  readonly kind: 'gdn';
  readonly keyHeads: number;
  readonly keyDim: number;
  readonly valueHeads: number;
  readonly valueDim: number;
  readonly convKernel: number;
  readonly stateType: FloatType;
}

/** Mamba 2 state-space layer. */
export interface Mamba2Mixer {
  readonly kind: 'mamba2';
  readonly heads: number;
  readonly headDim: number;
  readonly groups: number;
  readonly stateSize: number;
  readonly convKernel: number;
  readonly convBias: boolean;
  readonly projectionBias: boolean;
  readonly stateType: FloatType;
}

/** Mamba 1 state-space layer (Jamba). */
export interface Mamba1Mixer {
  readonly kind: 'mamba1';
  readonly inner: number;
  readonly stateSize: number;
  readonly timeRank: number;
  readonly convKernel: number;
  readonly convBias: boolean;
  readonly projectionBias: boolean;
  /** Three small norms on time step, B and C. */
  readonly innerNorms: boolean;
  readonly stateType: FloatType;
}

/** A block without a token mixer (Nemotron-H alternates mixers and feed-forward blocks). */
export interface NoMixer {
  readonly kind: 'none';
}

/** The part of a block that mixes tokens. */
export type Mixer =
  | AttentionMixer
  | LatentMixer
  | CompressedMixer
  | DeltaMixer
  | Mamba2Mixer
  | Mamba1Mixer
  | NoMixer;

/** One feed-forward network: `gated` ones have a gate and an up projection. */
export interface DenseFeedForward {
  readonly width: number;
  readonly gated: boolean;
  readonly bias: boolean;
}

/** A router over experts. */
export interface ExpertFeedForward {
  readonly experts: number;
  readonly topK: number;
  readonly width: number;
  readonly gated: boolean;
  readonly bias: boolean;
  readonly routerBias: boolean;
  /** Correction bias per expert, kept in fp32. */
  readonly correctionBias: boolean;
  /** Experts work in this smaller width between two shared projections (latent MoE). */
  readonly latent: number | null;
  /** Scale per expert and per router input channel (Gemma 4). */
  readonly routerScales: boolean;
}

/** The feed-forward side of a block; any of the three parts may be absent. */
export interface FeedForward {
  readonly dense: DenseFeedForward | null;
  readonly experts: ExpertFeedForward | null;
  readonly shared: (DenseFeedForward & { readonly outputGate: boolean }) | null;
}

/** What a parameter belongs to; the keys of `countParameters`' split. */
export type Component =
  | 'embedding'
  | 'head'
  | 'attention'
  | 'stateMixer'
  | 'feedForward'
  | 'experts'
  | 'sharedExperts'
  | 'router'
  | 'norms'
  | 'vision'
  | 'prediction';

/**
 * How tensor parallelism divides a tensor: by output rows, by input columns, by vocabulary rows (padded), within each
 * expert of a stack (or by whole experts under expert parallelism), or not at all.
 */
export type Split =
  | 'rows'
  | 'columns'
  | 'vocabulary'
  | 'expertRows'
  | 'expertColumns'
  | 'replicated';

/** One fused tensor as an engine allocates it. */
export interface Tensor {
  readonly component: Component;
  /** Module path inside the layer (or the model), without the layer number. */
  readonly module: string;
  readonly rows: number;
  readonly columns: number;
  /** Matrices of this shape in one allocation: 1, or the number of experts. */
  readonly stack: number;
  readonly split: Split;
  /** Rows that belong to KV heads: a rank keeps at least one head of them. */
  readonly kvRows: { readonly heads: number; readonly perHead: number } | null;
  /** Linear weights may be quantized; everything else keeps the float type. */
  readonly linear: boolean;
  /** Kept in fp32 whatever the model's type is. */
  readonly wide: boolean;
}

/** One kind of layer; `ModelConfig.layers` says which layer is of which kind. */
export interface Block {
  readonly mixer: Mixer;
  readonly feedForward: FeedForward;
  /** Every tensor of the block, fused as engines fuse them. */
  readonly tensors: readonly Tensor[];
}

/** Image encoder with its projector. */
export interface VisionTower {
  readonly parameters: number;
  readonly layers: number;
  readonly hidden: number;
  /** The tensors of one encoder layer, and of everything around the layers. */
  readonly layerTensors: readonly Tensor[];
  readonly otherTensors: readonly Tensor[];
}

/** Multi-token-prediction layers stored with the checkpoint and loaded only for speculative decoding. */
export interface MultiTokenPrediction {
  readonly layers: number;
  /** Every tensor of one prediction layer. */
  readonly tensors: readonly Tensor[];
  /** The blocks of one prediction layer, for their KV cache. */
  readonly mixers: readonly Mixer[];
}

/** One rotary table that the engine keeps on the device. */
export interface RotaryTable {
  readonly positions: number;
  readonly dim: number;
}

/** A model as every formula of this package sees it. Made by `parseModelConfig`. */
export interface ModelConfig {
  /** Where it was read from, for messages. */
  readonly source: string;
  readonly modelType: string;
  readonly architecture: string;
  readonly hidden: number;
  readonly vocab: number;
  readonly tied: boolean;
  /** Output projection has a bias. */
  readonly headBias: boolean;
  readonly maxPositionEmbeddings: number | null;
  readonly dtype: FloatType;
  readonly blocks: readonly Block[];
  /** Index into `blocks` for each layer, in order. */
  readonly layers: readonly number[];
  /** Tensors outside the layers: embedding, output projection, last norm. */
  readonly outerTensors: readonly Tensor[];
  readonly vision: VisionTower | null;
  readonly mtp: MultiTokenPrediction | null;
  readonly rotary: readonly RotaryTable[];
  readonly quantization: QuantizationPlan | null;
  /** Exact sums of the checkpoint's own headers, where they were read. */
  readonly checkpoint: CheckpointFacts | null;
  /** Final logits are squashed by tanh, which costs one more copy of them (Gemma). */
  readonly logitSoftcap: boolean;
  /** Experts run in MXFP4 kernels that pad the hidden width. */
  readonly paddedExperts: boolean;
  /** True when a field was missing or the type unknown and something was assumed. */
  readonly approximate: boolean;
  readonly assumptions: readonly string[];
  readonly warnings: readonly string[];
}
