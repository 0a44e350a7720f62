/**
 * Timings of a load in a few numbers. Pure.
 */
import type { RequestTiming } from './drive-load.js';

/** Mean and quantiles of one quantity; null when nothing was measured. */
export interface Spread {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** A load in a few numbers, over the requests without an error. */
export interface LoadSummary {
  readonly completed: number;
  readonly failed: number;
  readonly ttftMs: Spread | null;
  readonly tpotMs: Spread | null;
  readonly e2eMs: Spread | null;
  /** Output tokens of completed requests over the time from the first start to the last end. */
  readonly outputTokensPerSecond: number;
}

/** Sums timings up. */
export function summarizeLoad(timings: readonly RequestTiming[]): LoadSummary {
  const completed = timings.filter(({ error }) => error === null);
  const startMs = Math.min(...completed.map((timing) => timing.startMs));
  const endMs = Math.max(...completed.map((timing) => timing.startMs + timing.e2eMs));
  const tokens = completed.reduce((sum, { outputTokens }) => sum + outputTokens, 0);
  return {
    completed: completed.length,
    failed: timings.length - completed.length,
    ttftMs: toSpread(completed.map(({ ttftMs }) => ttftMs)),
    tpotMs: toSpread(completed.map(({ tpotMs }) => tpotMs)),
    e2eMs: toSpread(completed.map(({ e2eMs }) => e2eMs)),
    outputTokensPerSecond: endMs > startMs ? (1000 * tokens) / (endMs - startMs) : 0,
  };
}

function toSpread(values: readonly (number | null)[]): Spread | null {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  return { mean, p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}
