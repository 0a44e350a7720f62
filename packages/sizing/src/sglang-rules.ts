/**
 * SGLang's own rules where they differ from vLLM's: the default memory fraction by card size, and one pool of tokens
 * whose windowed layers get a share. Source: reference "SGLang" (server_args, memory pool, 2026-07). Owns those rules
 * only; the budget itself stands in stage-sizing.ts.
 */
import { GIB, MIB } from '@aim-gpu/core';
import type { Parallel } from './parallel.js';

/** Tokens of one prefill chunk and largest captured batch, by memory of the card. */
interface CardDefaults {
  readonly belowGib: number;
  readonly chunkedPrefill: number;
  readonly maxBatch: number;
}

const CARDS: readonly CardDefaults[] = [
  { belowGib: 20, chunkedPrefill: 2048, maxBatch: 8 },
  { belowGib: 35, chunkedPrefill: 2048, maxBatch: 24 },
  { belowGib: 60, chunkedPrefill: 4096, maxBatch: 32 },
  { belowGib: 90, chunkedPrefill: 8192, maxBatch: 256 },
  { belowGib: 160, chunkedPrefill: 8192, maxBatch: 256 },
  { belowGib: Number.POSITIVE_INFINITY, chunkedPrefill: 16_384, maxBatch: 512 },
];

const LARGE_CARD = 60 * GIB;
const RESERVED_FLOOR = 10 * GIB;

/** Share of the tokens of full layers that windowed layers get by default. */
export const SGLANG_WINDOW_RATIO = 0.8;

/** SGLang's default `mem_fraction_static` for a card. */
export function sglangMemoryFraction(totalMemoryBytes: number, parallel: Parallel): number {
  const card = CARDS.find(({ belowGib }) => totalMemoryBytes < belowGib * GIB);
  const chunked = card?.chunkedPrefill ?? 8192;
  const ranks = parallel.tensor * parallel.pipeline;
  const reserved =
    (512 + 1.5 * Math.max(chunked, 2048) + (ranks / 8) * 1024 + 2 * (card?.maxBatch ?? 256)) * MIB;
  const held = totalMemoryBytes > LARGE_CARD ? Math.max(reserved, RESERVED_FLOOR) : reserved;
  return Math.max(0.05, Math.round((1 - held / totalMemoryBytes) * 1000) / 1000);
}
