/**
 * Randomness and ids as ports, so that every plan and simulation can be repeated from its seed.
 * Owns the seeded generator and the host's; nothing else in the libraries may call Math.random or crypto.
 */

/** A source of uniform numbers in [0, 1). */
export interface Rng {
  /** The next number, at least 0 and below 1. */
  next(): number;
}

/** A source of unique ids. */
export interface IdSource {
  /** The next id. */
  next(): string;
}

/** A repeatable generator: same seed, same sequence (mulberry32, public domain algorithm by Tommy Ettinger). */
export function createRng(seed: number): Rng {
  let state = seed >>> 0;
  return {
    next: () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = state;
      mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}

/** The host's generator, for jitter and the like where nobody wants to repeat a run. */
export const systemRng: Rng = { next: () => Math.random() };

/** Random ids from the host: 128 bits as 32 hex digits. */
export const systemIds: IdSource = {
  next: () => globalThis.crypto.randomUUID().replaceAll('-', ''),
};

/** Ids `<prefix>1`, `<prefix>2`, … for tests and deterministic runs. */
export function createSequentialIds(prefix: string = ''): IdSource {
  let count = 0;
  return {
    next: () => {
      count += 1;
      return `${prefix}${count}`;
    },
  };
}
