/**
 * The answer: memory of every rank by component, the KV pool that is left, whether the model fits, and how sure
 * that is. The stages come from stage-sizing.ts; this file chooses the one that limits and says what follows from it.
 */
import { GIB } from '@aim-gpu/core';
import type { ModelConfig } from './model-config.js';
import { countParameters, type ParameterCount } from './parameters.js';
import { type ResolvedOptions, resolveOptions, type SizeOptions } from './size-options.js';
import {
  blocksOf,
  footprint,
  limitingStage,
  type RankMemory,
  type StageSizing,
  sizeStages,
} from './stage-sizing.js';

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
  const perBlocks = Math.floor(blocks / geometry.groups) * geometry.blockSize;
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
