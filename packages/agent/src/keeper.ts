/**
 * Keeps something as it should be: does the work when told that it may be needed, once at a time, and again after a
 * growing wait when it failed. Owns the waits; what the work is, its owner says.
 */
import type { Clock, Rng } from '@aim-gpu/core';
import { backOffMs } from './back-off.js';

/** A keeper of one thing. */
export interface Keeper {
  /** Does the work soon; a call while it waits to begin is the same call. Never throws. */
  keep(): Promise<void>;
  /** Forgets a try that is due. */
  cancel(): void;
}

const RETRY = { firstBackoffMs: 1000, longestBackoffMs: 30_000 };

/** Makes a keeper. */
export function createKeeper(options: {
  readonly clock: Clock;
  readonly rng: Rng;
  /** Does the work in its turn; calls back when the turn has come. */
  readonly work: (onBegin: () => void) => Promise<void>;
  /** Told why it failed; false gives up. */
  readonly onFailure: (error: unknown) => boolean;
}): Keeper {
  const { clock, rng, work, onFailure } = options;
  let waiting = false;
  let setbacks = 0;
  let cancel: () => void = () => undefined;
  const keep = async (): Promise<void> => {
    if (waiting) return;
    waiting = true;
    try {
      await work(() => {
        waiting = false;
      });
      setbacks = 0;
    } catch (error) {
      waiting = false;
      if (!onFailure(error)) return;
      setbacks += 1;
      cancel();
      cancel = clock.timer(backOffMs(RETRY, setbacks, rng), () => void keep());
    }
  };
  return { keep, cancel: () => cancel() };
}
