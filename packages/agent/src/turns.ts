/**
 * Turns: work of the same key runs one after the other, work of different keys side by side. Used to start engines of
 * one partition in turn: an engine that measures free memory must not see another one loading (vLLM asserts it).
 */
import type { CallOptions } from '@aim-gpu/core';

/** Runs work by turns. */
export interface Turns {
  /**
   * Runs `work` when every earlier work of any of the keys has ended, however it ended. A signal that aborts while it
   * waits gives its turn up: throws the signal's reason, and `work` is not run.
   */
  take<T>(keys: readonly string[], work: () => Promise<T>, options?: CallOptions): Promise<T>;
}

/** Makes an empty set of turns. */
export function createTurns(): Turns {
  const tails = new Map<string, Promise<unknown>>();
  return {
    take: (keys, work, { signal } = {}) => {
      const before = Promise.allSettled(keys.map((key) => tails.get(key)));
      const mine = turnOrAbort(before, signal).then(work);
      // Whoever comes next waits for the earlier ones too, also when this one gave its turn up.
      const settled = Promise.allSettled([before, mine]);
      for (const key of keys) tails.set(key, settled);
      void settled.then(() => {
        for (const key of keys) if (tails.get(key) === settled) tails.delete(key);
      });
      return mine;
    },
  };
}

/** Resolves when the turn has come; throws the signal's reason when it aborts first. */
function turnOrAbort(turn: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    void turn.then(() => {
      signal?.removeEventListener('abort', onAbort);
      if (signal?.aborted) onAbort();
      else resolve();
    });
  });
}
