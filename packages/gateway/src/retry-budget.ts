/**
 * A bound on repeats: when many fail at once, trying each again would only double the load. Owns the count.
 */

/** Counts requests and lets a share of them be repeated. */
export interface RetryBudget {
  /** A first try. */
  note(nowMs: number): void;
  /** Whether one more repeat is within the budget; it is taken then. */
  take(nowMs: number): boolean;
}

/** Figures of {@link createRetryBudget}. */
export interface RetryBudgetOptions {
  /** Repeats per first try. */
  readonly share: number;
  /** Repeats that are always allowed in a window, so that a quiet gateway repeats at all. */
  readonly least: number;
  readonly windowMs: number;
}

/** Makes a budget over two half windows, so that it forgets smoothly and without timers. */
export function createRetryBudget({ share, least, windowMs }: RetryBudgetOptions): RetryBudget {
  const halfMs = windowMs / 2;
  let startMs = Number.NEGATIVE_INFINITY;
  let tries = 0;
  let triesBefore = 0;
  let repeats = 0;
  let repeatsBefore = 0;
  const roll = (nowMs: number): void => {
    const passed = nowMs - startMs;
    if (passed < halfMs) return;
    triesBefore = passed < windowMs ? tries : 0;
    repeatsBefore = passed < windowMs ? repeats : 0;
    tries = 0;
    repeats = 0;
    startMs = nowMs;
  };
  return {
    note: (nowMs) => {
      roll(nowMs);
      tries += 1;
    },
    take: (nowMs) => {
      roll(nowMs);
      if (repeats + repeatsBefore >= least + share * (tries + triesBefore)) return false;
      repeats += 1;
      return true;
    },
  };
}
