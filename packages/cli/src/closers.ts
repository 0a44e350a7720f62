/**
 * Closers: what was opened is closed in reverse order, whatever happens in between. Node 20 has no
 * AsyncDisposableStack.
 */

/** Things to close. */
export interface Closers {
  /** Remembers how to close something that is open now. */
  add(close: () => Promise<void> | void): void;
  /** Closes everything, latest first; goes on after a failure and throws the first one at the end. Idempotent. */
  closeAll(): Promise<void>;
}

/** Makes an empty list. */
export function createClosers(): Closers {
  const open: (() => Promise<void> | void)[] = [];
  return {
    add: (close) => void open.push(close),
    closeAll: async () => {
      const failures: unknown[] = [];
      for (let close = open.pop(); close !== undefined; close = open.pop()) {
        try {
          await close();
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
    },
  };
}
