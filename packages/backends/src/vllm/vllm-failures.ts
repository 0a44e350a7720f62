/**
 * Messages with which vLLM refuses to start or dies, and what to do. Data only. Wording: vLLM's worker utilities
 * (request_memory), KV cache utilities and engine arguments, releases 0.6 to 0.21; several occur word for word in
 * public issues (vllm-project/vllm #2418, #10517).
 */
import type { KnownFailure } from '../engines/known-failures.js';

/** vLLM's known failures, most telling first: a cause is printed before "engine core initialization failed". */
export const VLLM_FAILURES: readonly KnownFailure[] = [
  {
    pattern:
      /Free memory on device(?: \S+)? \((?<free>[\d.]+)\/(?<total>[\d.]+) GiB\) on startup is less than desired GPU memory\s+utilization \((?<util>[\d.]+), (?<want>[\d.]+) GiB\)/,
    message:
      'the partition has {free} of {total} GiB free, and the instance was started for {want} GiB',
    hint: 'another process holds memory of the partition; find it with `aim-gpu gpus`, or lower placement.minShare',
  },
  {
    pattern:
      /max seq len\s*\((?<length>\d+)\), \(?(?<need>[\d.]+) GiB KV\s+cache is needed, which is larger than the available KV cache\s+memory \((?<have>[\d.]+) GiB\)\.(?:\s+Based on the available memory,\s+the estimated maximum model length is (?<fits>\d+))/,
    message:
      'one request of {length} tokens needs {need} GiB of KV cache and the share leaves {have} GiB',
    hint: 'set maxModelLen to {fits} or less, or raise placement.minShare',
  },
  {
    pattern:
      /max seq len\s*\((?<length>\d+)\), \(?(?<need>[\d.]+) GiB KV\s+cache is needed, which is larger than the available KV cache\s+memory \((?<have>[\d.]+) GiB\)/,
    message:
      'one request of {length} tokens needs {need} GiB of KV cache and the share leaves {have} GiB',
    hint: 'lower maxModelLen, or raise placement.minShare',
  },
  {
    pattern:
      /max seq len \((?<length>\d+)\) is larger than the maximum number of tokens that can be stored in KV cache \((?<have>\d+)\)/,
    message: 'the KV cache holds {have} tokens, less than one request of {length}',
    hint: 'set maxModelLen to {have} or less, or raise placement.minShare',
  },
  {
    pattern: /No available memory for the cache blocks/,
    message: 'weights and activations leave no memory of the share for the KV cache',
    hint: 'raise placement.minShare, or use a smaller or quantized model',
  },
  {
    pattern:
      /Error in memory profiling\. Initial free memory (?<before>[\d.]+).*current free memory (?<after>[\d.]+)/,
    message: 'another process freed memory of the partition while vLLM measured it',
    hint: 'start instances of one partition one after the other',
  },
  {
    pattern:
      /User-specified max_model_len \((?<asked>\d+)\) is greater than the derived max_model_len \(\S*?(?<limit>\d+)/,
    message: 'maxModelLen {asked} is more than the {limit} tokens the model was made for',
    hint: 'set maxModelLen to {limit} or less',
  },
  {
    pattern:
      /Total number of attention heads \((?<heads>\d+)\) must be divisible by tensor parallel size \((?<size>\d+)\)/,
    message: 'the model has {heads} attention heads, which cannot be split over {size} ranks',
    hint: 'set parallel.tensor to a divisor of {heads}',
  },
  {
    pattern:
      /(?<method>\S+) quantization is currently not supported in rocm|quantization method specified in the model config \((?<own>[^)]*)\) does not match/,
    message: 'vLLM cannot load the model in this quantization here',
    hint: 'set quantization to auto, or use a checkpoint in a format that runs on ROCm (fp8, gptq, awq)',
  },
  {
    pattern: /Model architectures \[(?<name>[^\]]*)\] are not supported for now/,
    message: 'this version of vLLM does not know the architecture {name}',
    hint: 'set engine.version to a newer release, or use another engine',
  },
  {
    pattern:
      /world size \((?<size>\d+)\).*larger than the number of available GPUs \((?<have>\d+)\)/,
    message: 'the instance needs {size} devices and sees {have}',
    hint: 'its envelope shows fewer partitions than parallel.tensor × parallel.pipeline',
  },
];
