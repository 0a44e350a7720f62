/**
 * How long the start of an engine may take before it counts as hung: a cold start that compiles looks the same from
 * outside. Pure. Owns the rates the limit is made of.
 */
import type { Demand } from '@aim-gpu/core';

/**
 * Everything but reading weights. A first start on an MI300X took 60 s for the process, 90 s to compile and 240 s for
 * just-in-time kernels (Millstone-AI-Solutions/mi300x-benchmark-investigation, vLLM 0.18); half as much again is room.
 */
const LEAST_MS = 10 * 60_000;
/** What a disk behind a network of 1 Gbit/s gives, or a download over such a line: the slowest that is waited for. */
const SLOWEST_BYTES_PER_SECOND = 100e6;

/** The time from launch by which an engine of a demand must be ready: 11 minutes for 8 GB of weights, 33 for 140 GB. */
export function startLimitMs({ ranks, memory }: Demand): number {
  return LEAST_MS + Math.ceil((ranks * memory.weightsBytes * 1000) / SLOWEST_BYTES_PER_SECOND);
}
