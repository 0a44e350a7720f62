/**
 * What changes between engine releases, as data: defaults, budget rules and fitted constants, one row per release
 * that changed something. A new release is a new row. Owns no formula; activation.ts, overhead.ts and kv-cache.ts
 * read the rows. Constants marked FIT were regressed on start-up logs (see the sizing-accuracy bench).
 */
import { AimError, GIB } from '@aim-gpu/core';

/** Serving engines this package knows the memory rules of. */
export type EngineName = 'vllm' | 'sglang' | 'llama.cpp';

/** Memory rules of one engine from one release on. */
export interface EngineProfile {
  readonly engine: EngineName;
  /** First release the row holds for. */
  readonly from: string;
  /** The engine's generation: V0 profiles differently and is not validated here. */
  readonly generation: 'v0' | 'v1' | 'sglang' | 'llama.cpp';
  readonly defaultUtilization: number;
  /** The engine sets graph memory aside before it sizes the KV pool (never on ROCm). */
  readonly graphBudgeted: boolean;
  /** Copies of fp32 logits that the profiling run's sampler pass holds. FIT. */
  readonly samplerCopies: number;
  /** Bytes per token and hidden channel alive beside the sampler, over the 2 bytes of one activation. FIT. */
  readonly residualCopies: number;
  /** Activation that depends on nothing else. FIT. */
  readonly baseBytes: number;
  /** Memory outside the tensor allocator on one rank, by tensor ranks (1, 2, 4 and more). FIT. */
  readonly nonTorchBytes: readonly [one: number, two: number, more: number];
  /** Device context created before the engine's first measurement. */
  readonly contextBytes: readonly [one: number, more: number];
  /** Above which ratio of layer counts the smaller count decides the KV group size; `null` = always. */
  readonly groupRatio: number | null;
  /** What "GPU KV cache size: N tokens" in the log means. */
  readonly loggedTokens: 'blocks' | 'concurrency';
  /** State blocks that one request holds per state-space layer. */
  readonly stateBlocks: number;
  /** Tokens per step by default, on cards of 70 GiB and more, and on smaller ones. */
  readonly batchTokens: readonly [large: number, small: number];
  readonly sequences: readonly [large: number, small: number];
  /** ROCm logs read this much more weight memory where the release measured device memory, not allocations. */
  readonly rocmWeightsExtraBytes: number;
  /** On ROCm, rows of block-scaled FP8 weights are padded like the others; where they are not they are shuffled. */
  readonly rocmPadsBlockFp8: boolean;
  /** Where the row comes from. */
  readonly source: string;
}

const V1: EngineProfile = {
  engine: 'vllm',
  from: '0.8.0',
  generation: 'v1',
  defaultUtilization: 0.9,
  graphBudgeted: false,
  samplerCopies: 9.5,
  residualCopies: 2.4,
  baseBytes: 0.03 * GIB,
  nonTorchBytes: [0.13 * GIB, 0.55 * GIB, 0.55 * GIB],
  contextBytes: [0.51 * GIB, 1.55 * GIB],
  groupRatio: null,
  loggedTokens: 'blocks',
  stateBlocks: 1,
  batchTokens: [8192, 2048],
  sequences: [1024, 256],
  rocmWeightsExtraBytes: 0.2 * GIB,
  // MI355X logs of a vLLM of 2026-08 have no room for padding; an MI308 log of SGLang 0.4.6 shows it.
  rocmPadsBlockFp8: false,
  source: 'vLLM v1/worker, arg_utils; 7 H100 rows of v0.11',
};
const V1_12: EngineProfile = {
  ...V1,
  from: '0.12.0',
  groupRatio: 1.25,
  source: 'kv_cache_utils, 2025-11',
};
const V1_17: EngineProfile = {
  ...V1_12,
  from: '0.17.0',
  samplerCopies: 3.5,
  source: 'Qwen3-14B across releases: activation 5.64 → 2.23 GiB',
};
const V1_18: EngineProfile = {
  ...V1_17,
  from: '0.18.0',
  nonTorchBytes: [0.25 * GIB, 2.07 * GIB, 2.17 * GIB],
  groupRatio: 1.5,
  rocmWeightsExtraBytes: 0,
  source: '53 H100 rows of v0.19',
};
const V1_21: EngineProfile = {
  ...V1_18,
  from: '0.21.0',
  defaultUtilization: 0.92,
  graphBudgeted: true,
  loggedTokens: 'concurrency',
  source:
    'vLLM changes of 2026-04: graph estimate on by default, utilization 0.92, tokens from concurrency',
};
const V1_26: EngineProfile = {
  ...V1_21,
  from: '0.26.0',
  stateBlocks: 2,
  source: 'v0.27 log: align mode of state caches',
};

const PROFILES: readonly EngineProfile[] = [
  {
    ...V1,
    from: '0.0.0',
    generation: 'v0',
    nonTorchBytes: [0.4 * GIB, 3.58 * GIB, 3.58 * GIB],
    batchTokens: [8192, 2048],
    sequences: [256, 256],
    source: 'V0 engine: profiled at max_model_len, few logs',
  },
  V1,
  V1_12,
  V1_17,
  V1_18,
  V1_21,
  V1_26,
  {
    ...V1_18,
    engine: 'sglang',
    from: '0.0.0',
    generation: 'sglang',
    rocmPadsBlockFp8: true,
    defaultUtilization: 0.88,
    loggedTokens: 'blocks',
    batchTokens: [8192, 4096],
    sequences: [256, 160],
    source: 'SGLang server_args and memory pool rules, 2026-07',
  },
  {
    ...V1_18,
    engine: 'llama.cpp',
    from: '0.0.0',
    generation: 'llama.cpp',
    defaultUtilization: 1,
    samplerCopies: 1,
    batchTokens: [512, 512],
    sequences: [4, 4],
    source:
      'llama.cpp buffer layout: ubatch of 512, one logits row per sequence; not measured here',
  },
];

/** Release taken when none is named: the one most constants were measured on. */
const DEFAULT_VERSIONS: Readonly<Record<EngineName, string>> = {
  vllm: '0.19.0',
  sglang: '0.5.0',
  'llama.cpp': '0.0.0',
};

function numbersOf(version: string): readonly number[] {
  return version
    .replace(/^v/, '')
    .split('.')
    .slice(0, 3)
    .map((part) => Number.parseInt(part, 10) || 0);
}

function order(left: readonly number[], right: readonly number[]): number {
  for (let at = 0; at < 3; at += 1) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Orders two release numbers; suffixes after the third number are ignored. */
export function compareVersions(one: string, other: string): number {
  return order(numbersOf(one), numbersOf(other));
}

/** The rows with their first release parsed, since every sizing looks one up. */
const ORDERED: readonly { readonly from: readonly number[]; readonly row: EngineProfile }[] =
  PROFILES.map((row) => ({ from: numbersOf(row.from), row }));

/** An engine and release, as `vllm@0.19.0`. */
export interface EngineVersion {
  readonly name: EngineName;
  readonly version: string;
}

/**
 * Reads `vllm`, `vllm@0.19.0`, `sglang@0.5`. `simulated` and `auto` are sized as vLLM.
 * Throws `ERR_CONFIG_INVALID` for an engine without memory rules here.
 */
export function parseEngineVersion(text: string): EngineVersion {
  const [name = '', stated] = text.split('@');
  // These two have no releases of their own with memory rules.
  const standIn = name === 'simulated' || name === 'auto' || name === '';
  const wanted = standIn ? 'vllm' : name;
  const version = standIn ? undefined : stated;
  if (wanted !== 'vllm' && wanted !== 'sglang' && wanted !== 'llama.cpp')
    throw new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: `engine "${text}" has no memory rules here`,
      hint: 'use vllm, sglang or llama.cpp, with a version as in vllm@0.19.0',
      details: { engine: text },
    });
  return { name: wanted, version: version && version !== '' ? version : DEFAULT_VERSIONS[wanted] };
}

/**
 * The rules of an engine release: the newest row that is not newer than it. A version ending in `-v0` is vLLM run
 * with its old engine (`VLLM_USE_V1=0`).
 */
export function engineProfile(engine: EngineVersion): EngineProfile {
  const wanted = engine.version.endsWith('-v0') ? [0, 0, 0] : numbersOf(engine.version);
  let best: EngineProfile | undefined;
  for (const { from, row } of ORDERED)
    if (row.engine === engine.name && order(from, wanted) <= 0) best = row;
  return best ?? V1;
}

/** Every row, for documentation and for the accuracy bench. */
export function engineProfiles(): readonly EngineProfile[] {
  return PROFILES;
}
