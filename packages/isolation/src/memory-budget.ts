/**
 * The memory arguments that keep an engine inside its share. Pure arithmetic over bytes; knows no engine's flags.
 *
 * vLLM's budget (v1/worker/utils.py request_memory, gpu_worker.py determine_available_memory):
 *   requested = ceil(total × utilization), of which KV gets what weights, activations and non-torch memory leave;
 *   the device context and, on ROCm, captured graphs are used on top of `requested` and must be left free.
 */
import {
  AimError,
  type Bytes,
  bytes,
  type Demand,
  formatBytes,
  type InstanceId,
} from '@aim-gpu/core';

/** The memory arguments of one rank. */
export interface MemoryBudget {
  /** Fraction of the partition; exact, so that it must not be rounded up on its way to the engine. */
  readonly gpuMemoryUtilization: number;
  readonly kvCacheMemoryBytes: Bytes;
}

/** What an engine uses beyond the fraction it is given. */
function outsideBudgetBytes(demand: Demand): number {
  return demand.memory.contextBytes + demand.memory.graphBytes;
}

/**
 * The largest fraction and KV cache with which an engine stays inside `shareBytes` of a partition. Throws
 * `ERR_DOES_NOT_FIT` (refused) when the share cannot hold the engine with one sequence of its longest length.
 */
export function planMemoryBudget(options: {
  readonly instance: InstanceId;
  readonly demand: Demand;
  readonly shareBytes: Bytes;
  readonly partitionBytes: Bytes;
}): MemoryBudget {
  const { instance, demand, shareBytes, partitionBytes } = options;
  const { memory } = demand;
  const inside = shareBytes - outsideBudgetBytes(demand);
  const kvBytes = inside - memory.weightsBytes - memory.activationBytes - memory.nonTorchBytes;
  if (inside < 1 || kvBytes < memory.kvMinimumBytes) {
    throw new AimError({
      code: 'ERR_DOES_NOT_FIT',
      kind: 'refused',
      message: `${instance} needs at least ${formatBytes(memory.minimumBytes)} and has a share of ${formatBytes(shareBytes)}`,
      details: { instance, shareBytes, partitionBytes, minimumBytes: memory.minimumBytes },
      hint: 'give it a larger share, or a smaller maxModelLen or concurrency',
    });
  }
  // Half a byte less than wanted: the engine rounds up to exactly `inside`, however the division was rounded.
  return {
    gpuMemoryUtilization: (inside - 0.5) / partitionBytes,
    kvCacheMemoryBytes: bytes(kvBytes),
  };
}
