/**
 * The wait for a model that has nobody to answer now: it is asked for, and requests are held until it is ready, within
 * a bound of time. One mechanism for requests that come while no engine is there and for those whose engine was lost
 * before it answered. Owns that bound; the bytes of what waits are body-budget.ts's, and what a held request is answered
 * is its caller's to say.
 */
import { AimError, type Clock, type EndpointDirectory, type WorkloadName } from '@aim-gpu/core';

/** What became of a wait: the model is ready, or when a retry may help, if that is known. */
export type HoldOutcome = 'ready' | { readonly retryAfterMs: number | null };

/** One request that is held. */
interface HeldRequest {
  readonly model: WorkloadName;
  /** Since when nobody can answer it, by the monotonic clock: what its time counts from. */
  readonly sinceMs: number;
  /** Ends the wait, also from outside. */
  readonly wait: AbortController;
}

/** Holds requests. */
export interface ModelHolds {
  /** Asks for the model and waits until it is ready, the time is over or the wait is ended. */
  hold(request: HeldRequest): Promise<HoldOutcome>;
}

/** Makes the place where requests are held. */
export function createModelHolds(options: {
  readonly directory: EndpointDirectory;
  readonly clock: Clock;
  /** Looked at for each request: they may be changed. */
  readonly limits: {
    /** Longest wait of one request. */
    readonly holdMs: number;
  };
}): ModelHolds {
  const { directory, clock, limits } = options;
  return {
    hold: async ({ model, sinceMs, wait }) => {
      const leftMs = Math.max(0, sinceMs + limits.holdMs - clock.monoMs());
      const cancel = clock.timer(leftMs, () => wait.abort());
      try {
        await directory.request(model, { signal: wait.signal });
        return 'ready';
      } catch (error) {
        if (AimError.is(error, 'ERR_MODEL_UNAVAILABLE'))
          return { retryAfterMs: error.retryAfterMs ?? null };
        if (wait.signal.aborted) return { retryAfterMs: null };
        throw error;
      } finally {
        cancel();
      }
    },
  };
}
