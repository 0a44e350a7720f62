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

const ID_BYTES = 16;
/** The host gives random bytes far cheaper by the page than by the id. */
const pool: Uint8Array<ArrayBuffer> = new Uint8Array(ID_BYTES * 256);
let used: number = pool.length;
/** Written anew for each id. */
const digits: number[] = new Array<number>(2 * ID_BYTES).fill(0);

/** Random ids from the host: 128 bits as 32 hex digits. */
export const systemIds: IdSource = {
  next: () => {
    if (used === pool.length) {
      globalThis.crypto.getRandomValues(pool);
      used = 0;
    }
    for (let digit = 0; digit < digits.length; digit += 2, used += 1) {
      const byte = pool[used] ?? 0;
      digits[digit] = toHex(byte >> 4);
      digits[digit + 1] = toHex(byte & 15);
    }
    return String.fromCharCode(...digits);
  },
};

const ZERO = 0x30;
const LETTER_A = 0x61;

function toHex(digit: number): number {
  return digit < 10 ? ZERO + digit : LETTER_A + digit - 10;
}

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
