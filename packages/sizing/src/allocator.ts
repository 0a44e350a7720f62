/**
 * How many bytes the engine's allocator charges for a tensor. PyTorch's caching allocator counts blocks, not tensors,
 * which alone explains up to half a percent of a model's logged weights.
 * Source: allocator constants of PyTorch (512-byte granules, 2 MiB segments for large blocks, 1 MiB split limit).
 */

const GRANULE = 512;
const SEGMENT = 2 * 1024 * 1024;
const SPLIT_REMAINDER = 1024 * 1024;
const LARGE = 10 * 1024 * 1024;

/** Bytes charged for an allocation of `size` bytes. */
export function allocatedBytes(size: number): number {
  const rounded = Math.ceil(size / GRANULE) * GRANULE;
  if (rounded < LARGE) return rounded;
  const segment = Math.ceil(rounded / SEGMENT) * SEGMENT;
  return segment - rounded <= SPLIT_REMAINDER ? segment : rounded;
}
