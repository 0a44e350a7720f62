/**
 * Time as a port. Wall time and monotonic time are different types: wall time is for records and can jump,
 * monotonic time is for durations. The only file of the libraries that touches the host's clock and timers.
 */
import type { EpochMs, MonoMs } from './units.js';

/** Where time comes from. */
export interface Clock {
  /** Wall-clock time, for records. */
  epochMs(): EpochMs;
  /** Monotonic time, for durations and deadlines. */
  monoMs(): MonoMs;
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Calls back once after `ms`; the returned function cancels. */
  timer(ms: number, callback: () => void): () => void;
}

// Read once: in Node the global is a getter, which costs more than the reading of the clock.
const stopwatch = performance;

/** The host's own clock. Timers keep the process alive unless cancelled. */
export const systemClock: Clock = {
  epochMs: () => Date.now() as EpochMs,
  monoMs: () => stopwatch.now() as MonoMs,
  sleep: (ms, options) =>
    new Promise((resolve, reject) => {
      const signal = options?.signal;
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        clearTimeout(handle);
        reject(signal?.reason);
      };
      const handle = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, ms);
      signal?.addEventListener('abort', onAbort, { once: true });
    }),
  timer: (ms, callback) => {
    const handle = setTimeout(callback, ms);
    return () => clearTimeout(handle);
  },
};
