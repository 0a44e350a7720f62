/**
 * How much KV cache an engine gets out of its share, and the words with which vLLM refuses when it is too little.
 * Pure. Formulas: the budget identity of vLLM V1 (requested − weights − activation − non-torch − graph; the context
 * is what the process costs beside them). Wording: vLLM's request_memory and check_enough_kv_cache_memory.
 */
import { GIB } from '@aim-gpu/core';
import type { SimulatedEngineConfig } from './config.js';

/** Blocks of the KV cache, or the message vLLM dies with. */
export type KvPlan =
  | { readonly ok: true; readonly blocks: number; readonly kvBytes: number }
  | { readonly ok: false; readonly message: string };

/** Divides the smallest share of an instance. */
export function planKvCache(config: SimulatedEngineConfig): KvPlan {
  const { memory, kv, maxModelLen } = config;
  const share = Math.min(...config.shares.map(({ memoryBytes }) => memoryBytes));
  const kvBytes =
    share -
    memory.weightsBytes -
    memory.activationBytes -
    memory.nonTorchBytes -
    memory.graphBytes -
    memory.contextBytes -
    // State that does not grow with tokens is kept for every seat.
    kv.bytesPerRequestFixed * config.maxNumSeqs;
  if (kvBytes <= 0) return { ok: false, message: NO_MEMORY };
  // A model without attention has no KV; its requests are bounded by their length alone.
  const blockBytes = Math.max(1, kv.bytesPerToken * kv.blockSize);
  const blocks = Math.min(2 ** 31, Math.floor(kvBytes / blockBytes));
  const needed = Math.ceil(maxModelLen / kv.blockSize);
  if (needed > blocks) {
    return {
      ok: false,
      message: oneRequestTooLong(maxModelLen, needed * blockBytes, kvBytes, blocks * kv.blockSize),
    };
  }
  // One block more than asked for: vLLM's null block is taken from the pool and must not cost the longest request.
  return { ok: true, blocks: Math.max(2, blocks === needed ? blocks + 1 : blocks), kvBytes };
}

const NO_MEMORY =
  'ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.';

function oneRequestTooLong(length: number, needs: number, has: number, fits: number): string {
  const estimate =
    fits > 0
      ? ` Based on the available memory, the estimated maximum model length is ${fits}.`
      : '';
  return `ValueError: To serve at least one request with the models's max seq len (${length}), (${toGib(needs)} GiB KV cache is needed, which is larger than the available KV cache memory (${toGib(has)} GiB).${estimate} Try increasing \`gpu_memory_utilization\` or decreasing \`max_model_len\` when initializing the engine.`;
}

/** vLLM's refusal when less is free on the device than the instance is to take. */
export function tooLittleFree(options: {
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly wantedBytes: number;
}): string {
  const { freeBytes, totalBytes, wantedBytes } = options;
  const utilization = totalBytes > 0 ? Math.round((100 * wantedBytes) / totalBytes) / 100 : 0;
  return `ValueError: Free memory on device cuda:0 (${toGib(freeBytes)}/${toGib(totalBytes)} GiB) on startup is less than desired GPU memory utilization (${utilization}, ${toGib(wantedBytes)} GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.`;
}

function toGib(bytes: number): string {
  return (bytes / GIB).toFixed(2);
}
