/**
 * Demand: what sizing says an instance needs, as bytes by component and as the traffic of its steps.
 * Made by `sizing`, read by `performance`, `scheduler`, `isolation` and `backends`; carries no placement.
 */
import type { WorkloadName } from './ids.js';
import type { Bytes } from './units.js';

/** Memory of one rank (one process on one partition), by component. */
export interface MemoryDemand {
  readonly weightsBytes: Bytes;
  readonly activationBytes: Bytes;
  readonly nonTorchBytes: Bytes;
  readonly graphBytes: Bytes;
  readonly contextBytes: Bytes;
  /** KV cache for `concurrency × expectedFill × maxModelLen` tokens. */
  readonly kvBytes: Bytes;
  /** KV cache for one sequence at maxModelLen: below it the engine refuses to start. */
  readonly kvMinimumBytes: Bytes;
  /** Everything above with `kvBytes`: what a share should have. */
  readonly totalBytes: Bytes;
  /** Everything above with `kvMinimumBytes`: less than this cannot start. */
  readonly minimumBytes: Bytes;
}

/** KV cache geometry of one rank. */
export interface KvDemand {
  readonly bytesPerToken: number;
  /** Per-request state that does not grow with tokens (Mamba, GDN). */
  readonly bytesPerRequestFixed: number;
  readonly blockSize: number;
}

/** The arithmetic of one engine step, for the speed model. Whole model, before tensor parallelism divides it. */
export interface StepDemand {
  readonly parameters: number;
  readonly activeParameters: number;
  /** Bytes read in every step whatever the batch: attention, dense FFN, shared experts, head. */
  readonly alwaysReadBytes: number;
  /** Bytes of all routed experts; a batch touches part of them. 0 for dense models. */
  readonly routedExpertBytes: number;
  readonly experts: number;
  readonly expertsPerToken: number;
  readonly layers: number;
  readonly hiddenSize: number;
  /** KV bytes a token, over the layers that keep full context. */
  readonly kvBytesPerToken: number;
  readonly kvHeads: number;
  readonly fullAttentionLayers: number;
  /** Query heads × head dimension. */
  readonly queryWidth: number;
  /** Multi-head latent attention: its cache is replicated on each rank. */
  readonly latentAttention: boolean;
  /** Sparse attention with an indexer (DeepSeek V3.2, GLM-5). */
  readonly sparseAttention: boolean;
  /** Which peak of a product the matrix products run at. */
  readonly mathPrecision: 'fp16' | 'fp8' | 'fp4';
}

/** What one instance of a workload needs. Per rank: an instance of tensor × pipeline ranks needs that many shares. */
export interface Demand {
  readonly workload: WorkloadName;
  readonly ranks: number;
  /** The rank that needs most. */
  readonly memory: MemoryDemand;
  readonly kv: KvDemand;
  readonly step: StepDemand;
  /** Tokens of one sequence the engine is started with. */
  readonly maxModelLen: number;
  /** Sequences the engine is started with. */
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  /** Relative half-width of the KV pool's confidence band. */
  readonly kvPoolRelative: number;
  /** True when the architecture was not recognised and a structural fallback was used. */
  readonly approximate: boolean;
  readonly assumptions: readonly string[];
}
