/**
 * How many answers are under way, to the last byte that a client takes. Owns the count: a permit ends with the engine's
 * last byte, and the client may still be reading then.
 */

/** The count. */
export interface OpenAnswers {
  opened(): void;
  closed(): void;
  /** Resolves when none is open. */
  whenNone(): Promise<void>;
}

/** Makes a count of none. */
export function createOpenAnswers(): OpenAnswers {
  let open = 0;
  let waiting: (() => void)[] = [];
  return {
    opened: () => {
      open += 1;
    },
    closed: () => {
      open -= 1;
      if (open > 0 || waiting.length === 0) return;
      const all = waiting;
      waiting = [];
      for (const resolve of all) resolve();
    },
    whenNone: () =>
      open === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
  };
}
