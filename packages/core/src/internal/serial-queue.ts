/**
 * Runs asynchronous work one piece after the other, in the order it came. A failed piece does not stop the next.
 */

/** Adds work to a queue; resolves or rejects with its outcome. */
export type SerialQueue = <T>(work: () => Promise<T>) => Promise<T>;

/** Makes a queue. */
export function createSerialQueue(): SerialQueue {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const outcome = last.then(work, work);
    last = outcome.catch(() => undefined);
    return outcome;
  };
}
