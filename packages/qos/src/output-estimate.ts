/**
 * How many tokens a model's answers have: the mean for fairness, the 90th percentile for reservations. Owns the
 * learning; starts from a guess and forgets after a minute of silence.
 */
import { LogHistogram } from './internal/log-histogram.js';

/** Learns the length of answers. */
export interface OutputEstimate {
  /** Learns from an answer of so many tokens. */
  record(outputTokens: number, nowMs: number): void;
  /** Expected tokens of an answer that may have at most `max`; null is no maximum. */
  expected(max: number | null, nowMs: number): number;
  /** Tokens that nine of ten answers stay below, at most `max`. */
  high(max: number | null, nowMs: number): number;
  /** What was learned, for a snapshot. */
  dump(): OutputDump;
  /** Starts from what a snapshot holds. */
  restore(dump: OutputDump): void;
}

/** What an {@link OutputEstimate} has learned, in tokens. */
export interface OutputDump {
  readonly mean: number;
  readonly high: number;
}

/** Answers of chat models are mostly shorter than this; only used until ten were seen. */
const GUESS_TOKENS = 256;
const ENOUGH = 10;
/** No model's context is longer; a larger count is an engine's error and would spoil the mean for hours. */
const MOST_TOKENS = 2 ** 24;
const REFRESH_MS = 1_000;

/** Makes an estimate without history. */
export function createOutputEstimate(guessTokens: number = GUESS_TOKENS): OutputEstimate {
  const histogram = new LogHistogram();
  let mean = guessTokens;
  let high = guessTokens;
  let refreshedMs = Number.NEGATIVE_INFINITY;

  const refresh = (nowMs: number): void => {
    if (nowMs - refreshedMs < REFRESH_MS) return;
    refreshedMs = nowMs;
    if (histogram.count(nowMs) < ENOUGH) return;
    high = histogram.quantiles([0.9], nowMs)[0] ?? high;
  };
  const cap = (value: number, max: number | null): number =>
    Math.max(1, Math.ceil(max === null || !(max >= 0) ? value : Math.min(value, max)));

  return {
    record: (outputTokens, nowMs) => {
      if (!(outputTokens >= 0 && outputTokens <= MOST_TOKENS)) return;
      histogram.record(outputTokens, nowMs);
      mean += (outputTokens - mean) / 50;
    },
    expected: (max, nowMs) => {
      refresh(nowMs);
      return cap(mean, max);
    },
    high: (max, nowMs) => {
      refresh(nowMs);
      return cap(high, max);
    },
    dump: () => ({ mean, high }),
    restore: (dump) => {
      if (dump.mean > 0 && dump.mean <= MOST_TOKENS) mean = dump.mean;
      if (dump.high > 0 && dump.high <= MOST_TOKENS) high = dump.high;
    },
  };
}
