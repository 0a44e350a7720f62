/**
 * llama.cpp's llama-server behind the ServingEngine port: command line, metrics and known failures.
 */
import path from 'node:path';
import {
  AimError,
  type EngineSample,
  type InstanceSpec,
  type LaunchCommand,
  type ServingEngine,
} from '@aim-gpu/core';
import { type ArgumentStyle, toUserArguments } from '../engines/engine-arguments.js';
import { COMMON_FAILURES, explainByOutput, type KnownFailure } from '../engines/known-failures.js';
import { servedNames } from '../engines/model-source.js';
import { answersOk, readText } from '../http/engine-http.js';
import { meanOf, parsePrometheusText, sumOf } from '../http/prometheus-text.js';

/** What {@link createLlamaCppEngine} can be told. */
export interface LlamaCppEngineOptions {
  /** The program and arguments before the flags; `["llama-server"]` unless said otherwise. */
  readonly program?: readonly string[];
}

/**
 * Makes the adapter for llama-server. The source is a GGUF file, a directory with one, or a name on the hub.
 * `toCommand` throws `ERR_CONFIG_INVALID` for engine arguments that are no arguments or that the plan owns, and for
 * what llama-server cannot do: several ranks, adapters chosen by request. `sample` throws `ERR_ENGINE_UNREACHABLE`.
 */
export function createLlamaCppEngine(options: LlamaCppEngineOptions = {}): ServingEngine {
  return {
    specVersion: 1,
    name: 'llama.cpp',
    toCommand: (spec) => toLlamaCppCommand(spec, options.program ?? ['llama-server']),
    isReady: (endpoint, call) => answersOk(endpoint, '/health', call),
    sample: async (endpoint, call) =>
      parseLlamaCppMetrics(await readText(endpoint, '/metrics', call)),
    explainExit: (lastOutput) =>
      explainByOutput(lastOutput, [...LLAMA_CPP_FAILURES, ...COMMON_FAILURES]),
  };
}

const STYLE: ArgumentStyle = {
  engine: 'llama.cpp',
  form: 'separate',
  abbreviations: false,
  negatable: true,
  owned: [
    'host',
    'port',
    'model',
    'm',
    'hf-repo',
    'hf',
    'hfr',
    'alias',
    'a',
    'ctx-size',
    'c',
    'parallel',
    'np',
    'kv-unified',
    'kvu',
    'cache-type-k',
    'ctk',
    'cache-type-v',
    'ctv',
    'batch-size',
    'b',
    'metrics',
    'lora',
    'lora-scaled',
    'models-dir',
    'models-max',
    'device',
    'dev',
  ],
  instead: {
    model: 'set source in the fleet file',
    alias: 'set name and aliases in the fleet file',
    'ctx-size': 'set maxModelLen and concurrency in the fleet file',
    parallel: 'set concurrency in the fleet file',
    'cache-type-k': 'set kvCacheDtype in the fleet file',
    'cache-type-v': 'set kvCacheDtype in the fleet file',
  },
};

/** Types of llama.cpp's cache by the fleet's words; q8_0 is its 8-bit cache. */
const CACHE_TYPES: Readonly<Record<string, string>> = {
  bf16: 'bf16',
  fp16: 'f16',
  fp32: 'f32',
  fp8: 'q8_0',
  int8: 'q8_0',
};

function toLlamaCppCommand(spec: InstanceSpec, program: readonly string[]): LaunchCommand {
  const { workload, demand, envelope } = spec;
  if (demand.ranks > 1)
    throw unable(spec, 'runs an instance on one partition', 'set parallel to 1 × 1');
  if (workload.adapters.length > 0) {
    throw unable(spec, 'cannot choose adapters by request', 'remove adapters, or use engine: vllm');
  }
  const cacheType = CACHE_TYPES[workload.kvCacheDtype];
  return {
    argv: [
      ...program,
      ...toSource(spec),
      // All layers on the GPU: a layer on the CPU would not be what the plan predicted. A user may say otherwise.
      '--n-gpu-layers',
      '999',
      ...toUserArguments(workload.engine.args, STYLE),
      '--alias',
      servedNames(workload).join(','),
      '--ctx-size',
      String(contextTokens(spec)),
      '--parallel',
      String(demand.maxNumSeqs),
      // One pool for all slots: without it each slot gets an equal part and no request could reach maxModelLen.
      '--kv-unified',
      '--batch-size',
      String(demand.maxNumBatchedTokens),
      ...(cacheType === undefined
        ? []
        : ['--cache-type-k', cacheType, '--cache-type-v', cacheType]),
      '--metrics',
      '--host',
      spec.host,
      '--port',
      String(spec.port),
    ],
    env: envelope.env,
  };
}

/** Tokens of the shared pool: what the KV bytes of the share hold, and no more than all slots could use. */
function contextTokens({ demand, envelope }: InstanceSpec): number {
  const held = Math.floor(envelope.kvCacheMemoryBytes / Math.max(1, demand.kv.bytesPerToken));
  return Math.max(1, Math.min(held, demand.maxModelLen * demand.maxNumSeqs));
}

function toSource(spec: InstanceSpec): readonly string[] {
  const { source } = spec.workload;
  if (!path.isAbsolute(source)) return ['--hf-repo', source];
  if (source.endsWith('.gguf')) return ['--model', source];
  throw unable(
    spec,
    `needs a .gguf file, not ${source}`,
    'point source at the file itself, or name a repository of the hub',
  );
}

function unable({ workload }: InstanceSpec, what: string, hint: string): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `${workload.name}: llama.cpp ${what}`,
    hint,
    details: { workload: workload.name, engine: 'llama.cpp' },
  });
}

/** Reads a scrape of llama-server; it counts no preemptions, and newer releases no longer say how full the cache is. */
export function parseLlamaCppMetrics(text: string): EngineSample {
  const scrape = parsePrometheusText(text);
  const usage = meanOf(scrape, 'llamacpp:kv_cache_usage_ratio');
  const used = sumOf(scrape, 'llamacpp:kv_cache_tokens');
  return {
    running: sumOf(scrape, 'llamacpp:requests_processing') ?? 0,
    waiting: sumOf(scrape, 'llamacpp:requests_deferred') ?? 0,
    kvUsage: usage ?? 0,
    kvCapacityTokens:
      usage !== null && used !== null && usage > 0 ? Math.round(used / usage) : null,
    preemptionsTotal: 0,
    promptTokensTotal: sumOf(scrape, 'llamacpp:prompt_tokens_total') ?? 0,
    generationTokensTotal: sumOf(scrape, 'llamacpp:tokens_predicted_total') ?? 0,
  };
}

const LLAMA_CPP_FAILURES: readonly KnownFailure[] = [
  {
    // ggml-cuda.cu (also built for HIP) and ggml-backend.
    pattern:
      /allocating (?<size>[\d.]+) MiB on device \d+: (?:cudaMalloc|hipMalloc) failed: out of memory/,
    message: 'the GPU ran out of memory: {size} MiB could not be allocated',
    hint: 'raise placement.minShare, or lower concurrency or maxModelLen',
  },
  {
    pattern:
      /failed to open GGUF file|gguf_init_from_file: failed to open|failed to load model, '(?<file>[^']+)'/,
    message: 'the model file was not found or is no GGUF model',
    hint: 'check source: it must name a .gguf file',
  },
  {
    pattern: /unknown model architecture: '(?<name>[^']+)'/,
    message: 'this build of llama.cpp does not know the architecture {name}',
    hint: 'install a newer build',
  },
  {
    pattern: /error: invalid argument: (?<flag>\S+)/,
    message: 'this build of llama.cpp does not know {flag}',
    hint: 'check engine.args in the fleet file, or install a newer build',
  },
];
