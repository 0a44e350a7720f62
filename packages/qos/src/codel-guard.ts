/**
 * Tells a standing queue from a burst: only when even the luckiest request of a whole interval waited too long is the
 * queue a standing one (CoDel: Nichols and Jacobson, "Controlling Queue Delay", 2012). Owns the level; who is shed at
 * which level is the caller's.
 */

/** Watches the waits of one band. Times are monotonic milliseconds. */
export interface CodelGuard {
  /** Takes note that a request left the queue for an endpoint after so long. */
  left(waitedMs: number, nowMs: number): void;
  /** Takes note that the queue is empty: there is no standing queue. */
  emptied(nowMs: number): void;
  /** 0 is healthy; one more for each interval of standing queue. `headWaitMs` is how long the oldest waits now, or 0. */
  level(nowMs: number, headWaitMs: number): number;
}

const MAX_LEVEL = 8;
/** Intervals without a standing queue before the level falls by one. */
const CALM_INTERVALS = 4;

/**
 * Makes a guard. For models that answer in seconds, `targetMs` is a tenth of the TTFT target and `intervalMs` the
 * target itself.
 */
export function createCodelGuard(options: {
  readonly targetMs: number;
  readonly intervalMs: number;
}): CodelGuard {
  const targetMs = Math.max(0, options.targetMs) || 0;
  const intervalMs = Math.max(1, options.intervalMs) || 1;
  let level = 0;
  let calm = 0;
  let startMs: number | null = null;
  let leastMs = Number.POSITIVE_INFINITY;

  const roll = (nowMs: number, headWaitMs: number): void => {
    // A clock that went back starts the interval anew.
    if (startMs === null || nowMs < startMs) startMs = nowMs;
    const elapsed = nowMs - startMs;
    if (elapsed < intervalMs) return;
    const least = leastMs === Number.POSITIVE_INFINITY ? headWaitMs : leastMs;
    const intervals = Math.floor(elapsed / intervalMs);
    if (least > targetMs) {
      calm = 0;
      level = Math.min(MAX_LEVEL, level + 1);
    } else {
      calm += intervals;
      level = Math.max(0, level - Math.floor(calm / CALM_INTERVALS));
      calm %= CALM_INTERVALS;
    }
    startMs += intervals * intervalMs;
    leastMs = Number.POSITIVE_INFINITY;
  };

  return {
    left: (waitedMs, nowMs) => {
      roll(nowMs, waitedMs);
      if (waitedMs < leastMs) leastMs = waitedMs;
    },
    emptied: (nowMs) => {
      roll(nowMs, 0);
      leastMs = 0;
    },
    level: (nowMs, headWaitMs) => {
      roll(nowMs, headWaitMs);
      return level;
    },
  };
}
