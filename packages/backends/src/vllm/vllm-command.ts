/**
 * The command line of `vllm serve` for one instance. Pure; owns which of vLLM's flags follow from the plan.
 */
import { AimError, type InstanceSpec, type LaunchCommand } from '@aim-gpu/core';
import { type ArgumentStyle, toUserArguments } from '../engines/engine-arguments.js';
import { servedNames, toModelArgument } from '../engines/model-source.js';
import { isAtLeast } from '../engines/version.js';

/**
 * First release whose `serve` takes --kv-cache-memory-bytes. Before it the KV cache is what gpu-memory-utilization
 * leaves after profiling.
 */
const KV_CACHE_BYTES_SINCE = '0.11.0';

const LENGTH_IN_FLEET = 'set maxModelLen in the fleet file';

const STYLE: ArgumentStyle = {
  engine: 'vllm',
  form: 'equals',
  abbreviations: true,
  negatable: true,
  owned: [
    'host',
    'port',
    'uds',
    'model',
    'served-model-name',
    'gpu-memory-utilization',
    'kv-cache-memory-bytes',
    'kv-cache-memory',
    'num-gpu-blocks-override',
    'max-model-len',
    'max-num-seqs',
    'max-num-batched-tokens',
    'tensor-parallel-size',
    'tp',
    'pipeline-parallel-size',
    'pp',
    'data-parallel-size',
    'dp',
    'lora-modules',
    'config',
  ],
  instead: {
    'served-model-name': 'set name and aliases in the fleet file',
    model: 'set source in the fleet file',
    'max-model-len': LENGTH_IN_FLEET,
    'max-num-seqs': 'set concurrency in the fleet file',
    'tensor-parallel-size': 'set parallel.tensor in the fleet file',
    tp: 'set parallel.tensor in the fleet file',
    'pipeline-parallel-size': 'set parallel.pipeline in the fleet file',
    pp: 'set parallel.pipeline in the fleet file',
    'data-parallel-size': 'set replicas in the fleet file',
    dp: 'set replicas in the fleet file',
    'gpu-memory-utilization': 'set placement.minShare in the fleet file',
    'kv-cache-memory-bytes': 'set concurrency or placement.minShare in the fleet file',
    'lora-modules': 'set adapters in the fleet file',
    config: 'set the values of that file as engine.args',
  },
};

const DTYPES: Readonly<Record<string, string>> = {
  auto: 'auto',
  bf16: 'bfloat16',
  fp16: 'float16',
  fp32: 'float32',
};

/** Quantizations that vLLM reads from the checkpoint itself, for which no flag is given. */
const FROM_CHECKPOINT: ReadonlySet<string> = new Set(['auto', 'none', 'mxfp4', 'nvfp4', 'int8']);

/**
 * The command that starts vLLM inside its envelope. User arguments come before the plan's own, so that the plan's win
 * even if vLLM took a spelling for them that is not known here. Throws `ERR_CONFIG_INVALID`.
 */
export function toVllmCommand(spec: InstanceSpec, program: readonly string[]): LaunchCommand {
  const { workload, demand, envelope } = spec;
  const loadsCheckpoint = FROM_CHECKPOINT.has(workload.quantization);
  if (workload.quantization.startsWith('gguf:')) {
    throw new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: `${workload.name}: GGUF models are not served by vLLM here`,
      hint: 'use engine: llama.cpp',
      details: { workload: workload.name, quantization: workload.quantization },
    });
  }
  const dtype = DTYPES[workload.dtype] ?? workload.dtype;
  const version = workload.engine.version;
  const takesKvBytes = version === null || isAtLeast(version, KV_CACHE_BYTES_SINCE);
  return {
    argv: [
      ...program,
      'serve',
      toModelArgument(workload),
      `--dtype=${dtype}`,
      ...(loadsCheckpoint ? [] : [`--quantization=${workload.quantization}`]),
      `--kv-cache-dtype=${toKvCacheDtype(workload.kvCacheDtype)}`,
      ...toUserArguments(workload.engine.args, STYLE),
      ...(workload.adapters.length === 0
        ? []
        : [
            '--enable-lora',
            '--lora-modules',
            ...workload.adapters.map((adapter) => `${adapter.name}=${adapter.path}`),
          ]),
      '--served-model-name',
      ...servedNames(workload),
      `--max-model-len=${demand.maxModelLen}`,
      `--max-num-seqs=${demand.maxNumSeqs}`,
      `--max-num-batched-tokens=${demand.maxNumBatchedTokens}`,
      `--tensor-parallel-size=${workload.parallel.tensor}`,
      `--pipeline-parallel-size=${workload.parallel.pipeline}`,
      `--gpu-memory-utilization=${envelope.gpuMemoryUtilization}`,
      ...(takesKvBytes ? [`--kv-cache-memory-bytes=${envelope.kvCacheMemoryBytes}`] : []),
      `--host=${spec.host}`,
      `--port=${spec.port}`,
    ],
    env: envelope.env,
  };
}

/** vLLM knows auto, bfloat16, float16 and its fp8 spellings. */
function toKvCacheDtype(dtype: string): string {
  if (dtype === 'bf16') return 'bfloat16';
  return dtype === 'fp16' ? 'float16' : dtype;
}
