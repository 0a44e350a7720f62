/**
 * Flags of `size`, `fit` and `predict` that say how a model is run, in vLLM's spelling, and what they mean to sizing.
 * Owns the translation; what is allowed is sizing's own rule.
 */
import { AimError, type Layout, toBytesCount, toLayout } from '@aim-gpu/core';
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
import { type Command, InvalidArgumentError } from 'commander';
import type { CommandContext } from './context.js';
import { readTextFile } from './read-text-file.js';

/** The flags as commander hands them over. */
export interface SizingFlags {
  readonly dtype?: string;
  readonly quantization?: string;
  readonly kvCacheDtype?: string;
  readonly tensorParallelSize?: number;
  readonly pipelineParallelSize?: number;
  readonly dataParallelSize?: number;
  readonly enableExpertParallel?: boolean;
  readonly maxModelLen?: number;
  readonly maxNumSeqs?: number;
  readonly maxNumBatchedTokens?: number;
  readonly blockSize?: number;
  readonly gpuMemoryUtilization?: number;
  readonly kvCacheMemoryBytes?: number;
  readonly totalMemory?: number;
  readonly gpu?: string;
  readonly layout?: string;
  readonly engine?: string;
  readonly platform?: string;
  readonly enforceEager?: boolean;
  readonly speculativeModel?: string;
  readonly numSpeculativeTokens?: number;
  readonly maxLoras?: number;
  readonly maxLoraRank?: number;
  readonly mambaSsmCacheDtype?: string;
  readonly formulas?: string;
  readonly calibration?: string;
}

/** Adds the flags to a command. */
export function withSizingFlags(command: Command): Command {
  return command
    .option('--dtype <type>', 'auto, bf16, fp16, fp32; vLLM spells bfloat16, half, float')
    .option(
      '--quantization <scheme>',
      'auto, none, fp8, int8, awq, gptq, mxfp4, nvfp4, gguf:<type> …',
    )
    .option('--kv-cache-dtype <type>', 'precision of the KV cache')
    .option('--tensor-parallel-size <n>', 'tensor ranks', toWhole)
    .option('--pipeline-parallel-size <n>', 'pipeline stages', toWhole)
    .option('--data-parallel-size <n>', 'data-parallel ranks', toWhole)
    .option('--enable-expert-parallel', 'spread experts over all ranks')
    .option('--max-model-len <tokens>', 'tokens of one sequence', toWhole)
    .option('--max-num-seqs <n>', 'sequences at once', toWhole)
    .option('--max-num-batched-tokens <tokens>', 'tokens of one step', toWhole)
    .option('--block-size <tokens>', 'tokens of a KV block', toWhole)
    .option(
      '--gpu-memory-utilization <ratio>',
      'share of the memory the engine may plan with',
      toNumber,
    )
    .option('--kv-cache-memory-bytes <size>', 'fixes the KV pool: 37.28GiB', toSize)
    .option('--total-memory <size>', 'memory as the engine sees it: 79.19GiB', toSize)
    .option('--gpu <product>', 'a product: MI300X')
    .option('--layout <layout>', 'its layout: CPX/NPS4')
    .option('--engine <name[@version]>', 'vllm@0.19.0, sglang@0.5')
    .option('--platform <name>', 'cuda or rocm')
    .option('--enforce-eager', 'no graphs')
    .option(
      '--speculative-model <model>',
      'draft model: catalogue id or path, or own for stored prediction layers',
    )
    .option('--num-speculative-tokens <n>', 'tokens the draft guesses', toWhole)
    .option('--max-loras <n>', 'LoRA slots', toWhole)
    .option('--max-lora-rank <n>', 'largest LoRA rank', toWhole)
    .option('--mamba-ssm-cache-dtype <type>', 'precision of state-space caches')
    .option('--formulas <file>', 'formulas of your own for single components')
    .option('--calibration <file>', 'corrections of this host, written by --calibrate');
}

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

/** Reads a whole number of at least 1 for commander. */
export function toWhole(text: string): number {
  if (/^\d+$/.test(text) && Number(text) >= 1 && Number.isSafeInteger(Number(text)))
    return Number(text);
  throw new InvalidArgumentError('a whole number of at least 1');
}

/** Reads whole numbers of at least 1 with commas between them for commander. */
export function toWholes(text: string): number[] {
  return text.split(',').map((part) => toWhole(part.trim()));
}

/** Reads a number of at least 0 for commander. */
export function toNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('a number of at least 0');
}

function toSize(text: string): number {
  const value = toBytesCount(/^\d+$/.test(text) ? `${text}B` : text);
  if (value !== null) return value;
  throw new InvalidArgumentError('a size such as 37.28GiB, 48GB or a number of bytes');
}

/** A command line that says something impossible. */
export function usage(message: string, hint: string): AimError {
  return new AimError({ code: 'ERR_USAGE', kind: 'invalid', message, hint });
}
