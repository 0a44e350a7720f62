/**
 * How patient a runner is with its engine. Data only.
 */

/** How patient a runner is. */
export interface RunnerTiming {
  /** From launch until it must answer its health check; null for what its weights allow (start-limit.ts). */
  readonly readyTimeoutMs: number | null;
  readonly pollMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number;
  /** Longest wait for running requests before an instance is stopped. */
  readonly drainMs: number;
  readonly firstBackoffMs: number;
  readonly longestBackoffMs: number;
  /** Failures in a row after which it is given up. */
  readonly mostFailures: number;
  /** Time it must have been ready for earlier failures to be forgotten. */
  readonly forgiveAfterMs: number;
  /** Between two looks at whether an engine's process stands still. */
  readonly lookEveryMs: number;
  /** Between two health checks of a ready engine. */
  readonly probeEveryMs: number;
  /** The same while its process uses next to no processor time: nobody waits for it. */
  readonly probeIdleEveryMs: number;
  /** Time an engine has to answer one of them. */
  readonly probeLimitMs: number;
  /** Checks missed in a row after which an engine counts as hung; thrice as many while its process computes. */
  readonly mostMisses: number;
}

/**
 * What a runner takes unless told otherwise. A dead engine is noticed at once by its exit, one that was stopped by a
 * signal within 4 s, one in use that does not answer within 13 s, an idle one within 23 s, one whose process computes
 * within 25 s: a long prefill may hold up a Python server for seconds, and killing an engine that works costs more than
 * waiting for one that does not.
 */
export const DEFAULT_TIMING: RunnerTiming = {
  readyTimeoutMs: null,
  pollMs: 100,
  graceMs: 5000,
  drainMs: 30_000,
  firstBackoffMs: 500,
  longestBackoffMs: 30_000,
  mostFailures: 5,
  forgiveAfterMs: 60_000,
  lookEveryMs: 2000,
  probeEveryMs: 5000,
  probeIdleEveryMs: 15_000,
  probeLimitMs: 2000,
  mostMisses: 3,
};
