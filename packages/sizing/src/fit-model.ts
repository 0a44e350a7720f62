/**
 * The inverse of sizing: given the memory of a partition or card, does the model fit, how many sequences, how long a
 * context, and which limit to pass to the engine. Pure; `fitProduct` applies it to every layout of a product.
 * The bytes are size-model.ts's; here only the inequality context + budget ≤ memory is solved, in whole blocks.
 */
import { AimError, formatBytes, formatLayout, type Layout } from '@aim-gpu/core';
import { findProduct, partitionGeometry } from '@aim-gpu/core/products';
import { unknownProduct } from './errors.js';
import { kvBytesFor } from './kv-cache.js';
import type { ModelConfig } from './model-config.js';
import { type ResolvedOptions, resolveOptions, type SizeOptions } from './size-options.js';
import { type StageSizing, sizeStages } from './stage-sizing.js';

/** Why something does not fit, and what would help. */
export interface FitReason {
  readonly code: string;
  readonly message: string;
  readonly fix: string;
}

/** Options of {@link fitModel}: those of `sizeModel`, and what must fit. */
export interface FitOptions extends SizeOptions {
  /** Memory of each partition that a rank gets. */
  readonly totalMemoryBytes: number;
  /** Sequences of maxModelLen that must fit at once; 1 by default. */
  readonly concurrency?: number;
  /** Part of the memory that stays free, 0 by default. */
  readonly reserve?: number;
}

/** What a partition can hold. */
export interface Fit {
  readonly fits: boolean;
  /** Sequences of maxModelLen that fit at once. */
  readonly maxConcurrency: number;
  /** Longest context with which `concurrency` sequences fit; 0 when not even one token does. */
  readonly maxModelLen: number;
  /** Utilization to start the engine with, for the asked concurrency and context; `null` when it does not fit. */
  readonly gpuMemoryUtilization: number | null;
  /** KV cache to pass as `--kv-cache-memory-bytes` instead; `null` when it does not fit. */
  readonly kvCacheMemoryBytes: number | null;
  readonly reasons: readonly FitReason[];
}

/** A fit on one layout of a product. */
export interface LayoutFit extends Fit {
  readonly layout: string;
  readonly partitions: number;
  readonly partitionMemoryBytes: number;
}

/** Fits on every layout of a product. The JSON of `aim-gpu fit` is this object. */
export interface ProductFit {
  readonly product: string;
  readonly layouts: readonly LayoutFit[];
}

/** Decimals of a utilization that engines' command lines carry. */
const UTILIZATION_STEP = 1e-4;

interface Room {
  readonly stage: StageSizing;
  /** Bytes the KV cache may take at most. */
  readonly kvBytes: number;
  /** What the engine counts as its own budget beside the KV cache. */
  readonly budgetedBytes: number;
}

function roomOf(stage: StageSizing, options: ResolvedOptions, available: number): Room {
  const { memory } = stage;
  const graphInside = options.profile.graphBudgeted && options.platform === 'cuda';
  const budgeted =
    memory.weightsBytes +
    memory.activationBytes +
    memory.nonTorchBytes +
    (graphInside ? memory.graphBytes : 0);
  const outside = memory.contextBytes + (graphInside ? 0 : memory.graphBytes);
  return { stage, kvBytes: available - budgeted - outside, budgetedBytes: budgeted };
}

/** KV bytes of a rank for whole requests, with the null block. */
function kvNeed(room: Room, sequences: number, tokens: number): number {
  const { geometry } = room.stage;
  return Math.ceil(kvBytesFor(geometry, sequences, tokens)) + geometry.blockBytes;
}

function concurrencyOf(room: Room, tokens: number): number {
  const { geometry } = room.stage;
  const each = geometry.blocksPerRequest(tokens) * geometry.blockBytes;
  if (each === 0) return room.kvBytes > 0 ? Number.MAX_SAFE_INTEGER : 0;
  return Math.max(0, Math.floor((room.kvBytes - geometry.blockBytes) / each));
}

function longest(rooms: readonly Room[], sequences: number, most: number): number {
  const fits = (tokens: number): boolean =>
    rooms.every((room) => kvNeed(room, sequences, tokens) <= room.kvBytes);
  if (!fits(1)) return 0;
  let low = 1;
  let high = most;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

function reasonsFor(
  room: Room,
  options: ResolvedOptions,
  concurrency: number,
  available: number,
  fit: Pick<Fit, 'maxConcurrency' | 'maxModelLen'>,
): FitReason[] {
  const { memory } = room.stage;
  if (memory.weightsBytes > available)
    return [
      {
        code: 'WEIGHTS_TOO_LARGE',
        message: `weights take ${formatBytes(memory.weightsBytes)} of ${formatBytes(available)}`,
        fix: 'quantize, use more ranks, or choose a layout with larger partitions',
      },
    ];
  if (room.kvBytes <= 0)
    return [
      {
        code: 'NO_ROOM_FOR_KV',
        message: `weights and overhead leave ${formatBytes(Math.max(0, room.kvBytes))} for the KV cache`,
        fix: 'quantize, lower max-num-seqs or max-num-batched-tokens, or choose larger partitions',
      },
    ];
  if (fit.maxConcurrency < 1)
    return [
      {
        code: 'CONTEXT_TOO_LONG',
        message: `one sequence of ${options.maxModelLen} tokens needs ${formatBytes(kvNeed(room, 1, options.maxModelLen))}, ${formatBytes(room.kvBytes)} are left`,
        fix:
          fit.maxModelLen > 0
            ? `lower max-model-len to ${fit.maxModelLen}`
            : 'choose larger partitions',
      },
    ];
  return [
    {
      code: 'TOO_MANY_SEQUENCES',
      message: `${concurrency} sequences of ${options.maxModelLen} tokens need ${formatBytes(kvNeed(room, concurrency, options.maxModelLen))}, ${formatBytes(room.kvBytes)} are left`,
      fix: `lower concurrency to ${fit.maxConcurrency}${fit.maxModelLen > 0 ? `, or max-model-len to ${fit.maxModelLen}` : ''}`,
    },
  ];
}

function wholeAtLeastOne(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `${name} is ${value}`,
    hint: 'give a whole number of at least 1',
    details: { option: name, value },
  });
}

/**
 * Says whether `concurrency` sequences of `maxModelLen` tokens fit into `totalMemoryBytes` per rank, and what would.
 *
 * The returned utilization and KV size are the least that hold them, in whole blocks, with device context and graphs
 * accounted for. Throws `ERR_CONFIG_INVALID` like `sizeModel`.
 */
export function fitModel(config: ModelConfig, options: FitOptions): Fit {
  const resolved = resolveOptions(config, options);
  const concurrency = wholeAtLeastOne('concurrency', options.concurrency ?? 1);
  const total = resolved.totalMemoryBytes ?? 0;
  const available = Math.floor(total * (1 - (options.reserve ?? 0)));
  const rooms = sizeStages(config, resolved).map((stage) => roomOf(stage, resolved, available));
  const maxConcurrency = Math.min(
    ...rooms.map((room) => concurrencyOf(room, resolved.maxModelLen)),
  );
  const maxModelLen = longest(
    rooms,
    concurrency,
    config.maxPositionEmbeddings ?? Math.max(resolved.maxModelLen, 131_072),
  );
  if (maxConcurrency >= concurrency) {
    const kv = Math.max(...rooms.map((room) => kvNeed(room, concurrency, resolved.maxModelLen)));
    const budget = Math.max(
      ...rooms.map((room) => room.budgetedBytes + kvNeed(room, concurrency, resolved.maxModelLen)),
    );
    const utilization = Math.min(
      1,
      Math.ceil(budget / total / UTILIZATION_STEP) * UTILIZATION_STEP,
    );
    return {
      fits: true,
      maxConcurrency,
      maxModelLen,
      gpuMemoryUtilization: Number(utilization.toFixed(4)),
      kvCacheMemoryBytes: kv,
      reasons: [],
    };
  }
  const tightest = rooms.reduce((worst, room) => (room.kvBytes < worst.kvBytes ? room : worst));
  return {
    fits: false,
    maxConcurrency,
    maxModelLen,
    gpuMemoryUtilization: null,
    kvCacheMemoryBytes: null,
    reasons: reasonsFor(tightest, resolved, concurrency, available, {
      maxConcurrency,
      maxModelLen,
    }),
  };
}

/** Options of {@link fitProduct}. */
export interface FitProductOptions extends Omit<FitOptions, 'totalMemoryBytes'> {
  /** A key of `@aim-gpu/core/products`: `MI300X`. */
  readonly product: string;
  /** Only this layout; every layout of the product by default. */
  readonly layout?: Layout;
}

/**
 * Fits a model on every layout of a product, one rank a partition; ROCm margins unless told otherwise.
 * Throws `ERR_CONFIG_INVALID` for an unknown product.
 */
export function fitProduct(config: ModelConfig, options: FitProductOptions): ProductFit {
  const product = findProduct(options.product);
  if (product === null) throw unknownProduct(options.product);
  const layouts = options.layout === undefined ? product.layouts : [options.layout];
  return {
    product: product.name,
    layouts: layouts.map((layout) => {
      const partitions = partitionGeometry(product, layout);
      const memory = Math.min(...partitions.map((partition) => partition.memoryBytes));
      const fit = fitModel(config, { platform: 'rocm', ...options, totalMemoryBytes: memory });
      return {
        layout: formatLayout(layout),
        partitions: partitions.length,
        partitionMemoryBytes: memory,
        ...fit,
      };
    }),
  };
}

/** The layout whose partitions are smallest and still hold the model; `null` when none does. */
export function smallestLayout(fit: ProductFit): LayoutFit | null {
  const fitting = fit.layouts.filter((layout) => layout.fits);
  const order = [...fitting].sort(
    (one, other) => one.partitionMemoryBytes - other.partitionMemoryBytes,
  );
  return order[0] ?? null;
}
