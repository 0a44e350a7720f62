/**
 * Turns: work of the same key runs one after the other, work of different keys side by side. Used to start engines of
 * one partition in turn: an engine that measures free memory must not see another one loading (vLLM asserts it).
 */

/** Runs work by turns. */
export interface Turns {
  /** Runs `work` when every earlier work of any of the keys has ended, however it ended. */
  take<T>(keys: readonly string[], work: () => Promise<T>): Promise<T>;
}

/** Makes an empty set of turns. */
export function createTurns(): Turns {
  const tails = new Map<string, Promise<unknown>>();
  return {
    take: (keys, work) => {
      const before = keys.map((key) => tails.get(key)).filter((tail) => tail !== undefined);
      const mine = Promise.allSettled(before).then(work);
      const settled = mine.then(
        () => undefined,
        () => undefined,
      );
      for (const key of keys) tails.set(key, settled);
      void settled.then(() => {
        for (const key of keys) if (tails.get(key) === settled) tails.delete(key);
      });
      return mine;
    },
  };
}
