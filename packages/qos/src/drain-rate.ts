/**
 * How fast a model's queue empties, in tokens a second, measured only while something waits. Owns the average; the
 * predicted wait of a request is the tokens ahead of it divided by this.
 */

/** Measures dispatched tokens a second while a backlog exists. */
export interface DrainRate {
  /** Takes note of a dispatch; `backlog` tells whether others still wait. */
  dispatched(tokens: number, backlog: boolean, nowMs: number): void;
  /** Takes note that the queue is empty: time from now on does not count. */
  emptied(nowMs: number): void;
  /** Tokens a second; null until enough was seen. */
  tokensPerSecond(): number | null;
  /** Starts from a rate measured before, for snapshots. */
  restore(tokensPerSecond: number): void;
}

const WINDOW_MS = 10_000;
const FOLD_MS = 500;
const ENOUGH_MS = 1_000;

/** Makes a measurement; `initialTokensPerSecond` is what the planner predicts, when it does. */
export function createDrainRate(initialTokensPerSecond: number | null = null): DrainRate {
  let rate = initialTokensPerSecond;
  let known = initialTokensPerSecond !== null;
  let busySinceMs: number | null = null;
  let tokens = 0;
  let measuredMs = 0;
  let total = 0;

  const fold = (nowMs: number): void => {
    if (busySinceMs === null) return;
    const elapsed = nowMs - busySinceMs;
    if (elapsed < FOLD_MS) return;
    const sample = (tokens / elapsed) * 1000;
    measuredMs += elapsed;
    total += tokens;
    // Until a window has passed the plain mean is steadier than an exponential one.
    const share =
      measuredMs < WINDOW_MS ? elapsed / measuredMs : 1 - Math.exp(-elapsed / WINDOW_MS);
    rate = rate === null || measuredMs === elapsed ? sample : rate + share * (sample - rate);
    busySinceMs = nowMs;
    tokens = 0;
  };

  return {
    dispatched: (added, backlog, nowMs) => {
      if (busySinceMs !== null) {
        tokens += added;
        fold(nowMs);
      } else if (backlog) {
        busySinceMs = nowMs;
        tokens = 0;
      }
    },
    emptied: (nowMs) => {
      fold(nowMs);
      busySinceMs = null;
      tokens = 0;
    },
    tokensPerSecond: () => (!known && (measuredMs < ENOUGH_MS || total === 0) ? null : rate),
    restore: (tokensPerSecond) => {
      if (!(tokensPerSecond > 0) || !Number.isFinite(tokensPerSecond)) return;
      rate = tokensPerSecond;
      known = true;
    },
  };
}
