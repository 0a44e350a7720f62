/**
 * What the flags of `size`, `fit` and `predict` mean to sizing. Owns the translation; what is allowed is sizing's own
 * rule. Effects: reads the files that the flags name.
 */
import { AimError, type Layout, toLayout } from '@aim-gpu/core';
import {
  findProduct,
  PRODUCTS,
  type Product,
  partitionGeometry,
  productLayout,
} from '@aim-gpu/core/products';
import {
  loadFormulas,
  type ModelConfig,
  type ModelLibrary,
  parseCalibration,
  type SizeOptions,
} from '@aim-gpu/sizing';
import type { CommandContext } from './context.js';
import { readTextFile } from './read-text-file.js';
import type { SizingFlags } from './sizing-flags.js';

/** A product with one of its layouts. */
export interface ChosenGpu {
  readonly product: Product;
  readonly layout: Layout;
  /** Memory of the smallest partition in that layout. */
  readonly partitionBytes: number;
  readonly xcds: number;
}

/** The GPU of `--gpu` and `--layout`, or null without. Throws `ERR_CONFIG_INVALID`, `ERR_LAYOUT_UNSUPPORTED`. */
export function chooseGpu(flags: Pick<SizingFlags, 'gpu' | 'layout'>): ChosenGpu | null {
  if (flags.gpu === undefined) {
    if (flags.layout === undefined) return null;
    throw usage('--layout needs --gpu', 'name the product: --gpu MI300X');
  }
  const product = findProduct(flags.gpu);
  if (product === null) throw unknownProduct(flags.gpu);
  const layout = flags.layout === undefined ? product.initialLayout : toLayout(flags.layout);
  if (layout === null)
    throw usage(`--layout must be like CPX/NPS4, not ${flags.layout}`, 'see `aim-gpu fit`');
  if (productLayout(product, layout) === null) {
    throw new AimError({
      code: 'ERR_LAYOUT_UNSUPPORTED',
      kind: 'refused',
      message: `${product.name} has no layout ${flags.layout}`,
      hint: `layouts are: ${product.layouts.map((entry) => `${entry.compute}/${entry.memory}`).join(', ')}`,
    });
  }
  const partitions = partitionGeometry(product, layout);
  return {
    product,
    layout,
    partitionBytes: Math.min(...partitions.map((partition) => partition.memoryBytes)),
    xcds: Math.min(...partitions.map((partition) => partition.xcds)),
  };
}

function unknownProduct(name: string): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `--gpu ${name} is no known product`,
    hint: `products are: ${PRODUCTS.map((product) => product.name).join(', ')}`,
  });
}

/** What the flags ask of sizing. Reads the files they name. */
export async function toSizeOptions(
  context: CommandContext,
  flags: SizingFlags,
  library: ModelLibrary,
): Promise<SizeOptions> {
  const gpu = chooseGpu(flags);
  const total = flags.totalMemory ?? gpu?.partitionBytes;
  const platform = toPlatform(flags.platform) ?? (gpu === null ? undefined : 'rocm');
  const speculative = await toDraft(context, flags.speculativeModel, library);
  const formulas = flags.formulas === undefined ? undefined : context.resolve(flags.formulas);
  const calibration =
    flags.calibration === undefined ? undefined : context.resolve(flags.calibration);
  return withoutUndefined({
    dtype: flags.dtype,
    quantization: flags.quantization,
    kvCacheDtype: flags.kvCacheDtype,
    mambaSsmCacheDtype: flags.mambaSsmCacheDtype,
    parallel: {
      tensor: flags.tensorParallelSize ?? 1,
      pipeline: flags.pipelineParallelSize ?? 1,
      data: flags.dataParallelSize ?? 1,
      expert: flags.enableExpertParallel === true,
    },
    maxModelLen: flags.maxModelLen,
    maxNumSeqs: flags.maxNumSeqs,
    maxNumBatchedTokens: flags.maxNumBatchedTokens,
    blockSize: flags.blockSize,
    gpuMemoryUtilization: flags.gpuMemoryUtilization,
    kvCacheMemoryBytes: flags.kvCacheMemoryBytes,
    totalMemoryBytes: total,
    engine: flags.engine,
    platform,
    enforceEager: flags.enforceEager === true,
    speculative,
    numSpeculativeTokens: flags.numSpeculativeTokens,
    maxLoras: flags.maxLoras,
    maxLoraRank: flags.maxLoraRank,
    formulas:
      formulas === undefined
        ? undefined
        : await loadFormulas(await readTextFile(formulas), formulas),
    calibration:
      calibration === undefined
        ? undefined
        : parseCalibration(await readJson(calibration), calibration),
  });
}

async function readJson(file: string): Promise<unknown> {
  const text = await readTextFile(file);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: `${file} is not JSON`,
      cause,
    });
  }
}

async function toDraft(
  context: CommandContext,
  source: string | undefined,
  library: ModelLibrary,
): Promise<ModelConfig | 'own' | undefined> {
  if (source === undefined) return undefined;
  return source === 'own' ? 'own' : library.load(toModelSource(context, source));
}

/** A model as the command line names it: a path relative to the current directory, or a catalogue id. */
export function toModelSource(context: CommandContext, source: string): string {
  return /^[./~]|\.json$|\.gguf$/.test(source) ? context.resolve(source) : source;
}

function toPlatform(name: string | undefined): 'cuda' | 'rocm' | undefined {
  if (name === undefined || name === 'cuda' || name === 'rocm') return name;
  throw usage(`--platform must be cuda or rocm, not ${name}`, 'leave it out with --gpu');
}

/** An option that was not given must be absent, not undefined. */
function withoutUndefined(
  options: { readonly [K in keyof SizeOptions]: SizeOptions[K] | undefined },
): SizeOptions {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as SizeOptions;
}

/** A command line that says something impossible. */
export function usage(message: string, hint: string): AimError {
  return new AimError({ code: 'ERR_USAGE', kind: 'invalid', message, hint });
}
