/**
 * SGLang behind the ServingEngine port: command line, metrics and known failures. Flags and metric names as of 0.5.
 */
import type { EngineSample, InstanceSpec, LaunchCommand, ServingEngine } from '@aim-gpu/core';
import { type ArgumentStyle, toUserArguments } from '../engines/engine-arguments.js';
import { COMMON_FAILURES, explainByOutput, type KnownFailure } from '../engines/known-failures.js';
import { toModelArgument } from '../engines/model-source.js';
import { answersOk, readText } from '../http/engine-http.js';
import { meanOf, parsePrometheusText, sumOf } from '../http/prometheus-text.js';

/** What {@link createSglangEngine} can be told. */
export interface SglangEngineOptions {
  /** The program and arguments before the flags; `["python3", "-m", "sglang.launch_server"]` unless said otherwise. */
  readonly program?: readonly string[];
}

/**
 * Makes the adapter for SGLang 0.5 and later. `toCommand` throws `ERR_CONFIG_INVALID` for engine arguments that are
 * no arguments or that the plan owns; `sample` throws `ERR_ENGINE_UNREACHABLE`. A model is served under its own name
 * only: aliases are the gateway's work.
 */
export function createSglangEngine(options: SglangEngineOptions = {}): ServingEngine {
  const program = options.program ?? ['python3', '-m', 'sglang.launch_server'];
  return {
    specVersion: 1,
    name: 'sglang',
    toCommand: (spec) => toSglangCommand(spec, program),
    isReady: (endpoint, call) => answersOk(endpoint, '/health', call),
    sample: async (endpoint, call) =>
      parseSglangMetrics(await readText(endpoint, '/metrics', call)),
    explainExit: (lastOutput) =>
      explainByOutput(lastOutput, [...SGLANG_FAILURES, ...COMMON_FAILURES]),
  };
}

const STYLE: ArgumentStyle = {
  engine: 'sglang',
  form: 'equals',
  abbreviations: true,
  negatable: false,
  owned: [
    'host',
    'port',
    'model-path',
    'model',
    'served-model-name',
    'mem-fraction-static',
    'max-total-tokens',
    'max-running-requests',
    'context-length',
    'chunked-prefill-size',
    'tensor-parallel-size',
    'tp-size',
    'tp',
    'pipeline-parallel-size',
    'pp-size',
    'data-parallel-size',
    'dp-size',
    'base-gpu-id',
    'enable-metrics',
    'lora-paths',
    'config',
  ],
  instead: {
    'served-model-name': 'set name in the fleet file',
    'model-path': 'set source in the fleet file',
    'context-length': 'set maxModelLen in the fleet file',
    'max-running-requests': 'set concurrency in the fleet file',
    'mem-fraction-static': 'set placement.minShare in the fleet file',
    'tensor-parallel-size': 'set parallel.tensor in the fleet file',
    'tp-size': 'set parallel.tensor in the fleet file',
    'lora-paths': 'set adapters in the fleet file',
  },
};

const DTYPES: Readonly<Record<string, string>> = {
  auto: 'auto',
  bf16: 'bfloat16',
  fp16: 'half',
  fp32: 'float',
};
const KV_DTYPES: Readonly<Record<string, string>> = { fp8: 'fp8_e4m3', bf16: 'bf16' };
const FROM_CHECKPOINT: ReadonlySet<string> = new Set(['auto', 'none', 'int8', 'nvfp4']);

/** SGLang refuses 1, and needs something for its workspaces. */
const MAX_FRACTION = 0.98;

/**
 * SGLang gives the fraction m of the memory that is free at start to weights and KV together, and keeps the rest.
 * At least the share is free then, so (weights + KV) ÷ share is enough of a fraction on any neighbour's load; what
 * would be too much on an empty partition is capped by the tokens of the KV pool.
 */
function memoryFlags(spec: InstanceSpec): readonly string[] {
  const { demand, envelope } = spec;
  const share = Math.min(...envelope.shares.map(({ memoryBytes }) => memoryBytes));
  const wanted = demand.memory.weightsBytes + envelope.kvCacheMemoryBytes;
  const fraction = Math.min(MAX_FRACTION, Math.ceil((1000 * wanted) / share) / 1000);
  const tokens = Math.floor(envelope.kvCacheMemoryBytes / Math.max(1, demand.kv.bytesPerToken));
  return [`--mem-fraction-static=${fraction}`, `--max-total-tokens=${tokens}`];
}

function toSglangCommand(spec: InstanceSpec, program: readonly string[]): LaunchCommand {
  const { workload, demand, envelope } = spec;
  const { quantization, adapters, parallel } = workload;
  return {
    argv: [
      ...program,
      `--model-path=${toModelArgument(workload)}`,
      `--dtype=${DTYPES[workload.dtype] ?? workload.dtype}`,
      ...(FROM_CHECKPOINT.has(quantization) ? [] : [`--quantization=${quantization}`]),
      `--kv-cache-dtype=${KV_DTYPES[workload.kvCacheDtype] ?? workload.kvCacheDtype}`,
      ...toUserArguments(workload.engine.args, STYLE),
      ...(adapters.length === 0
        ? []
        : [
            '--enable-lora',
            '--lora-paths',
            ...adapters.map(({ name, path }) => `${name}=${path}`),
          ]),
      `--served-model-name=${workload.name}`,
      `--context-length=${demand.maxModelLen}`,
      `--max-running-requests=${demand.maxNumSeqs}`,
      `--chunked-prefill-size=${demand.maxNumBatchedTokens}`,
      `--tp-size=${parallel.tensor}`,
      `--pp-size=${parallel.pipeline}`,
      ...memoryFlags(spec),
      '--enable-metrics',
      `--host=${spec.host}`,
      `--port=${spec.port}`,
    ],
    env: envelope.env,
  };
}

/** Reads a scrape of SGLang. It has no counter of preemptions but of retractions, which are the same thing. */
export function parseSglangMetrics(text: string): EngineSample {
  const scrape = parsePrometheusText(text);
  return {
    running: sumOf(scrape, 'sglang:num_running_reqs') ?? 0,
    waiting: sumOf(scrape, 'sglang:num_queue_reqs') ?? 0,
    kvUsage: meanOf(scrape, 'sglang:token_usage') ?? 0,
    kvCapacityTokens: sumOf(scrape, 'sglang:max_total_num_tokens'),
    preemptionsTotal:
      sumOf(scrape, 'sglang:num_retracted_requests_total', 'sglang:num_retracted_reqs_total') ?? 0,
    promptTokensTotal: sumOf(scrape, 'sglang:prompt_tokens_total') ?? 0,
    generationTokensTotal: sumOf(scrape, 'sglang:generation_tokens_total') ?? 0,
  };
}

const SGLANG_FAILURES: readonly KnownFailure[] = [
  {
    // model_runner.py and its memory pool configurator.
    pattern: /Not enough memory\. Please try to increase --mem-fraction-static/,
    message: 'weights leave no memory of the share for the KV cache',
    hint: 'raise placement.minShare, or use a smaller or quantized model',
  },
  {
    // model_runner.py: the check that all ranks see about the same memory.
    pattern: /The memory capacity is unbalanced/,
    message: 'the partitions of the instance have different amounts of free memory',
    hint: 'another process holds memory of one of them; find it with `aim-gpu gpus`',
  },
  {
    pattern: /Scheduler hit an exception: [\s\S]*?(?<why>\w+Error: [^\n]+)/,
    message: 'SGLang died: {why}',
    hint: 'see the log of the instance for the whole trace',
  },
];
