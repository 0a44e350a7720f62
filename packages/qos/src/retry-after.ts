/**
 * How long refused callers should stay away while there is overload. Owns the controller that Kubernetes' priority and
 * fairness uses: it doubles while refusals keep coming faster than the answer would allow, and falls back one second
 * at a time.
 */

/** Longest Retry-After given, in milliseconds; the official OpenAI client sleeps whatever it is told. */
export const MAX_RETRY_AFTER_MS: number = 32_000;

/** Tracks refusals and says how long to stay away. */
export interface RetryAfterTracker {
  /** Takes note of one refusal. */
  dropped(nowMs: number): void;
  /** The current answer in milliseconds, before jitter: whole seconds from 1 to 32. */
  retryAfterMs(nowMs: number): number;
}

/** Makes a tracker that answers one second until it has seen overload. */
export function createRetryAfterTracker(): RetryAfterTracker {
  let seconds = 1;
  let windowStartMs: number | null = null;
  let drops = 0;

  const roll = (nowMs: number): void => {
    windowStartMs ??= nowMs;
    // A clock that went back starts the window anew rather than freezing the answer.
    if (nowMs < windowStartMs) windowStartMs = nowMs;
    while (nowMs - windowStartMs >= seconds * 1000) {
      windowStartMs += seconds * 1000;
      if (drops >= 3 * seconds) seconds = Math.min(seconds * 2, MAX_RETRY_AFTER_MS / 1000);
      else if (drops < seconds) seconds = Math.max(1, seconds - 1);
      drops = 0;
      if (seconds === 1 && nowMs - windowStartMs >= 2_000) windowStartMs = nowMs;
    }
  };

  return {
    dropped: (nowMs) => {
      roll(nowMs);
      drops += 1;
    },
    retryAfterMs: (nowMs) => {
      roll(nowMs);
      return seconds * 1000;
    },
  };
}

/** A wait with jitter of ± 20 %, at least 1 ms and at most {@link MAX_RETRY_AFTER_MS}. `random` is in [0, 1). */
export function jitterRetryAfterMs(waitMs: number, random: number): number {
  const jittered = waitMs * (0.8 + 0.4 * random);
  return Math.min(MAX_RETRY_AFTER_MS, Math.max(1, Math.ceil(jittered)));
}
