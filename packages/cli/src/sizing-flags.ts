/**
 * Flags of `size`, `fit` and `predict` that say how a model is run, in vLLM's spelling. Owns the grammar; what they mean
 * to sizing is in size-options.ts, so that a command line is read without loading it.
 */
import { toBytesCount } from '@aim-gpu/core';
import { type Command, InvalidArgumentError } from 'commander';
import { toNumber, toWhole } from './shared-flags.js';

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

function toSize(text: string): number {
  const value = toBytesCount(/^\d+$/.test(text) ? `${text}B` : text);
  if (value !== null) return value;
  throw new InvalidArgumentError('a size such as 37.28GiB, 48GB or a number of bytes');
}
