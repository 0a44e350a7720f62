/**
 * Leases: something held that must be given back exactly once. Owns the shape and the idempotence.
 */

/** A held thing. `release` may be called any number of times; only the first has an effect. */
export interface Lease {
  /** Gives the thing back; resolves when that is done. Idempotent. */
  release(): Promise<void>;
  /** The same as `release`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Makes a lease from the work of giving it back; a second release waits for the first and repeats its outcome. */
export function createLease(giveBack: () => Promise<void> | void): Lease {
  let released: Promise<void> | undefined;
  const release = (): Promise<void> => {
    released ??= Promise.resolve().then(giveBack);
    return released;
  };
  return { release, [Symbol.asyncDispose]: release };
}
