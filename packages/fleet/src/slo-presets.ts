/**
 * The latency targets of each band. Owns the figures; which model has which band is the file's business.
 */
import type { Band } from '@aim-gpu/core';

/** The targets of a band in milliseconds, null where it has none, and the share of requests that must meet them. */
export interface SloPreset {
  readonly ttftMs: number | null;
  readonly tpotMs: number | null;
  readonly e2eMs: number | null;
  /** Between 0 and 1. */
  readonly objective: number;
}

/**
 * The targets a model gets from its band where its file sets none.
 *
 * interactive and standard are the usual chat targets (MLPerf Inference's server scenario asks 450 ms and 40 ms in
 * its interactive, 2 s and 200 ms in its standard form of Llama-2-70B; standard here halves the latter). critical
 * takes the strict pair, since what waits for a guardrail has targets of its own. batch answers within an hour.
 * best_effort promises nothing, so its objective only says how many requests should end without an error.
 */
export const SLO_PRESETS: Readonly<Record<Band, SloPreset>> = {
  critical: { ttftMs: 450, tpotMs: 40, e2eMs: null, objective: 0.99 },
  interactive: { ttftMs: 1000, tpotMs: 50, e2eMs: null, objective: 0.99 },
  standard: { ttftMs: 2000, tpotMs: 100, e2eMs: null, objective: 0.95 },
  batch: { ttftMs: null, tpotMs: null, e2eMs: 3_600_000, objective: 0.95 },
  best_effort: { ttftMs: null, tpotMs: null, e2eMs: null, objective: 0.95 },
};
