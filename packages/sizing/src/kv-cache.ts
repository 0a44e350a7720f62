/**
 * The KV cache of one rank: bytes of a page per kind of layer, groups of layers that share a block table, padding,
 * and how many blocks a request takes. Source: reference "KV cache" (vLLM kv_cache_interface and kv_cache_utils);
 * exact on 33 independent start-up logs. Owns geometry only; how large the pool is comes from size-model.ts.
 */
import type { FloatType, Mixer, ModelConfig } from './model-config.js';
import type { LayerRange, Parallel } from './parallel.js';
import { floatBytes } from './quantization-schemes.js';

/** Type of cached keys and values. */
export type KvCacheType = 'auto' | 'bf16' | 'fp16' | 'fp32' | 'fp8' | 'int8' | 'nvfp4';

/** What decides the geometry. */
export interface KvCacheOptions {
  readonly dtype: FloatType;
  readonly kvCacheType: KvCacheType;
  readonly parallel: Parallel;
  readonly blockSize: number;
  readonly maxNumBatchedTokens: number;
  /** See `EngineProfile.groupRatio`. */
  readonly groupRatio: number | null;
  /** State blocks a request holds per state-space layer. */
  readonly stateBlocks: number;
  /** Decode context parallelism: ranks that split the tokens of one sequence. */
  readonly contextRanks: number;
  /** Type of state-space states, when it is not the config's. */
  readonly stateType: FloatType | null;
  /** SGLang: one pool, windowed layers get this share of the full layers' tokens; `null` for vLLM's groups. */
  readonly windowShare: number | null;
  /** KV layers of a draft model or of prediction layers, added to full-context layers. */
  readonly extraLayers: readonly Mixer[];
}

/** Layers that share size and admission rule. */
interface Spec {
  readonly kind: 'full' | 'window' | 'chunk' | 'state';
  /** Bytes per token of one layer; for state layers the bytes of the whole state. */
  readonly bytes: number;
  readonly span: number;
  count: number;
}

/** Geometry of a rank's KV cache. */
export interface KvGeometry {
  /** Tokens of one block of the attention layers. */
  readonly blockSize: number;
  /** Bytes that one block takes on the rank, over the layers that share it. */
  readonly blockBytes: number;
  readonly groups: number;
  /** Bytes that one more token costs in the layers that keep full context. */
  readonly bytesPerToken: number;
  /** Bytes of a request that do not grow with its tokens once it is longer than every window. */
  readonly bytesPerRequestFixed: number;
  /** Blocks that a request of `tokens` takes at most. */
  readonly blocksPerRequest: (tokens: number) => number;
  /** Bytes per token and per request that live outside the block pool's own rule (compressed caches). */
  readonly approximate: boolean;
}

/** Bytes of one slot of a compressed cache, and of one indexer entry. Source: reference, DeepSeek V4 and DSA. */
const COMPRESSED_SLOT = 584;
const INDEXER_ENTRY_EXTRA = 4;
const STATE_ALIGNMENT = 16;

function elementBytes(options: KvCacheOptions): { value: number; perHead: number } {
  switch (options.kvCacheType) {
    case 'fp8':
      return { value: 1, perHead: 0 };
    case 'int8':
      return { value: 1, perHead: 4 };
    case 'nvfp4':
      return { value: 0.5 + 1 / 16, perHead: 0 };
    case 'auto':
      return { value: floatBytes(options.dtype), perHead: 0 };
    default:
      return { value: floatBytes(options.kvCacheType), perHead: 0 };
  }
}

function stateBytes(mixer: Mixer, options: KvCacheOptions): number {
  const { tensor } = options.parallel;
  const float = floatBytes(options.dtype);
  switch (mixer.kind) {
    case 'gdn': {
      const state = floatBytes(options.stateType ?? mixer.stateType);
      const keys = mixer.keyHeads * mixer.keyDim;
      const values = mixer.valueHeads * mixer.valueDim;
      const conv = (mixer.convKernel - 1) * Math.ceil((2 * keys + values) / tensor) * float;
      return conv + Math.ceil(mixer.valueHeads / tensor) * mixer.valueDim * mixer.keyDim * state;
    }
    case 'mamba2': {
      const state = floatBytes(options.stateType ?? mixer.stateType);
      const groups = mixer.groups % tensor === 0 ? mixer.groups / tensor : mixer.groups;
      const conv = Math.ceil((mixer.heads * mixer.headDim) / tensor) + 2 * groups * mixer.stateSize;
      return (
        (mixer.convKernel - 1) * conv * float +
        Math.ceil(mixer.heads / tensor) * mixer.headDim * mixer.stateSize * state
      );
    }
    case 'mamba1': {
      const state = floatBytes(options.stateType ?? mixer.stateType);
      const inner = Math.ceil(mixer.inner / tensor);
      return inner * (mixer.convKernel - 1) * float + inner * mixer.stateSize * state;
    }
    default:
      return 0;
  }
}

/** The cache specs of one layer: usually one, for compressed layers two. */
function specsOf(mixer: Mixer, options: KvCacheOptions): readonly Omit<Spec, 'count'>[] {
  const { value, perHead } = elementBytes(options);
  const context = options.contextRanks;
  switch (mixer.kind) {
    case 'none':
      return [];
    case 'attention': {
      if (mixer.sharesKv) return [];
      const heads = Math.max(1, Math.ceil(mixer.kvHeads / options.parallel.tensor));
      const bytes = (heads * ((mixer.headDim + mixer.valueDim) * value + 2 * perHead)) / context;
      if (mixer.window !== null) return [{ kind: 'window', bytes, span: mixer.window }];
      if (mixer.chunk !== null) return [{ kind: 'chunk', bytes, span: mixer.chunk }];
      return [{ kind: 'full', bytes, span: 0 }];
    }
    case 'mla': {
      const own = (mixer.kvRank + mixer.ropeDim) * value;
      const indexer = mixer.indexer?.owns === true ? mixer.indexer.dim + INDEXER_ENTRY_EXTRA : 0;
      return [{ kind: 'full', bytes: (own + indexer) / context, span: 0 }];
    }
    case 'compressed': {
      const windowed: Omit<Spec, 'count'> = {
        kind: 'window',
        bytes: COMPRESSED_SLOT,
        span: mixer.window,
      };
      if (mixer.ratio === 0) return [windowed];
      const indexer = mixer.indexer === null ? 0 : mixer.indexer.dim + INDEXER_ENTRY_EXTRA;
      return [
        windowed,
        { kind: 'full', bytes: (COMPRESSED_SLOT + indexer) / mixer.ratio, span: 0 },
      ];
    }
    case 'gdn':
    case 'mamba2':
    case 'mamba1':
      return [{ kind: 'state', bytes: stateBytes(mixer, options), span: 0 }];
  }
}

function collect(config: ModelConfig, range: LayerRange, options: KvCacheOptions): Spec[] {
  const specs: Spec[] = [];
  const counts = new Map<number, number>();
  for (let layer = range.from; layer < range.to; layer += 1) {
    const block = config.layers[layer] ?? 0;
    counts.set(block, (counts.get(block) ?? 0) + 1);
  }
  const add = (mixer: Mixer, count: number): void => {
    for (const spec of specsOf(mixer, options)) {
      const same = specs.find(
        (one) => one.kind === spec.kind && one.bytes === spec.bytes && one.span === spec.span,
      );
      if (same === undefined) specs.push({ ...spec, count });
      else same.count += count;
    }
  };
  for (const [index, count] of counts) {
    const block = config.blocks[index];
    if (block !== undefined) add(block.mixer, count);
  }
  if (range.last) for (const mixer of options.extraLayers) add(mixer, 1);
  return specs;
}

function perRequest(spec: Spec, block: number, tokens: number, options: KvCacheOptions): number {
  switch (spec.kind) {
    case 'full':
      return Math.ceil(tokens / block);
    case 'window':
      return Math.ceil(Math.min(spec.span - 1 + options.maxNumBatchedTokens, tokens) / block) + 1;
    case 'chunk':
      return Math.ceil(Math.min(spec.span + options.maxNumBatchedTokens, tokens) / block);
    case 'state':
      return options.stateBlocks;
  }
}

/** One block table for all layers: every layer keeps full context, or all layers are alike. */
function uniform(specs: readonly Spec[], options: KvCacheOptions): KvGeometry {
  const block = options.blockSize;
  const perToken = specs.reduce((sum, spec) => sum + spec.bytes * spec.count, 0);
  const first = specs[0];
  const full = specs.filter((spec) => spec.kind === 'full');
  const fixed =
    first === undefined || first.kind === 'full'
      ? 0
      : perRequest(first, block, Number.MAX_SAFE_INTEGER, options);
  return {
    blockSize: block,
    blockBytes: Math.ceil(block * perToken),
    groups: 1,
    bytesPerToken: full.reduce((sum, spec) => sum + spec.bytes * spec.count, 0),
    bytesPerRequestFixed: fixed * Math.ceil(block * perToken),
    blocksPerRequest: (tokens) =>
      first === undefined ? 0 : perRequest(first, block, tokens, options),
    approximate: false,
  };
}

function groupSize(counts: readonly number[], ratio: number | null): number {
  const least = Math.min(...counts);
  const most = Math.max(...counts);
  return ratio !== null && most < ratio * least ? most : least;
}

/** Several kinds of layers: all pages are made equal, layers are grouped, groups share the pool. */
function grouped(specs: readonly Spec[], options: KvCacheOptions): KvGeometry {
  const attention = specs.filter((spec) => spec.kind !== 'state');
  const widest = Math.max(...attention.map((spec) => spec.bytes), 0);
  const state = Math.max(
    ...specs.filter((spec) => spec.kind === 'state').map((spec) => spec.bytes),
    0,
  );
  let block = options.blockSize;
  if (state > 0 && widest > 0)
    block = Math.max(block, STATE_ALIGNMENT * Math.ceil(state / (STATE_ALIGNMENT * widest)));
  const page = widest > 0 ? Math.max(block * widest, state) : state;
  // A narrower layer gets more tokens into the same page where they divide evenly, else its page is padded.
  const blockOf = (spec: Spec): number => {
    const fits = page / (spec.bytes * block);
    return spec.kind !== 'state' && Number.isInteger(fits) ? block * fits : block;
  };
  const size = groupSize(
    specs.map((spec) => spec.count),
    options.groupRatio,
  );
  const groupsOf = (spec: Spec): number => Math.ceil(spec.count / size);
  const blockBytes = Math.ceil(page * size);
  const bounded = specs.filter((spec) => spec.kind !== 'full');
  const fixedBlocks = bounded.reduce(
    (sum, spec) =>
      sum + groupsOf(spec) * perRequest(spec, blockOf(spec), Number.MAX_SAFE_INTEGER, options),
    0,
  );
  const growing = specs.filter((spec) => spec.kind === 'full');
  return {
    blockSize: block,
    blockBytes,
    groups: specs.reduce((sum, spec) => sum + groupsOf(spec), 0),
    bytesPerToken: growing.reduce(
      (sum, spec) => sum + (groupsOf(spec) * blockBytes) / blockOf(spec),
      0,
    ),
    bytesPerRequestFixed: fixedBlocks * blockBytes,
    blocksPerRequest: (tokens) =>
      specs.reduce(
        (sum, spec) => sum + groupsOf(spec) * perRequest(spec, blockOf(spec), tokens, options),
        0,
      ),
    approximate: false,
  };
}

/** SGLang: one pool of tokens over all layers, states beside it. */
function pooled(specs: readonly Spec[], options: KvCacheOptions, windowShare: number): KvGeometry {
  let cell = 0;
  let fixed = 0;
  for (const spec of specs) {
    if (spec.kind === 'state') fixed += spec.bytes * spec.count * options.stateBlocks;
    else cell += spec.bytes * spec.count * (spec.kind === 'full' ? 1 : windowShare);
  }
  const block = options.blockSize;
  const blockBytes = Math.max(1, Math.ceil(block * cell));
  return {
    blockSize: block,
    blockBytes,
    groups: 1,
    bytesPerToken: cell,
    bytesPerRequestFixed: fixed,
    blocksPerRequest: (tokens) => Math.ceil(tokens / block) + Math.ceil(fixed / blockBytes),
    approximate: false,
  };
}

/** Compressed caches do not share one page size: sized as a slope and a fixed part, in blocks of the slope. */
function compressed(specs: readonly Spec[], options: KvCacheOptions): KvGeometry {
  const block = Math.max(options.blockSize, 256);
  const growing = specs.filter((spec) => spec.kind === 'full');
  const slope = growing.reduce((sum, spec) => sum + spec.bytes * spec.count, 0);
  const fixed = specs
    .filter((spec) => spec.kind !== 'full')
    .reduce(
      (sum, spec) => sum + spec.bytes * spec.count * (spec.span + options.maxNumBatchedTokens),
      0,
    );
  const blockBytes = Math.max(1, Math.ceil(block * slope));
  return {
    blockSize: block,
    blockBytes,
    groups: 1,
    bytesPerToken: slope,
    bytesPerRequestFixed: fixed,
    blocksPerRequest: (tokens) => Math.ceil(tokens / block) + Math.ceil(fixed / blockBytes),
    approximate: true,
  };
}

/** Works out the KV cache geometry of the rank that holds these layers. */
export function kvGeometry(
  config: ModelConfig,
  range: LayerRange,
  options: KvCacheOptions,
): KvGeometry {
  const specs = collect(config, range, options);
  if (config.blocks.some((block) => block.mixer.kind === 'compressed'))
    return compressed(specs, options);
  if (options.windowShare !== null) return pooled(specs, options, options.windowShare);
  const allFull = specs.every((spec) => spec.kind === 'full');
  return allFull || specs.length < 2 ? uniform(specs, options) : grouped(specs, options);
}

/** Bytes of KV cache that `sequences` requests of `tokens` each take. */
export function kvBytesFor(geometry: KvGeometry, sequences: number, tokens: number): number {
  return sequences * geometry.blocksPerRequest(tokens) * geometry.blockBytes;
}
