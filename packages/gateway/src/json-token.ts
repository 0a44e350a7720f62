/**
 * Where the smallest pieces of JSON end: blanks, strings, numbers and words. Pure functions from a place in bytes to the
 * next; -1 where there is no such piece. What pieces mean together is json-scan.ts's.
 */

export const QUOTE = 0x22;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;
export const OPEN_ARRAY = 0x5b;
export const CLOSE_ARRAY = 0x5d;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;
const ZERO = 0x30;
const NINE = 0x39;
const UPPER_E = 0x45;
const LOWER_E = 0x65;
/** So many bytes of a string are looked at one by one before the search for its end is Node's, which costs a call. */
const NEAR_BYTES = 64;
const WORDS: readonly Buffer[] = ['true', 'false', 'null'].map((word) => Buffer.from(word));

/** The first byte from `at` on that is no blank. */
export function skipSpace(bytes: Buffer, at: number): number {
  const { length } = bytes;
  let next = at;
  while (next < length && isSpace(bytes[next])) next += 1;
  return next;
}

/** Whether JSON lets the byte stand between its pieces. */
export function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Behind the closing quote of the string that opens at `at`; escapes are stepped over, not judged. */
export function endOfString(bytes: Buffer, at: number): number {
  const { length } = bytes;
  let next = at + 1;
  for (;;) {
    const near = Math.min(length, next + NEAR_BYTES);
    while (next < near) {
      const byte = bytes[next];
      if (byte === QUOTE) return next + 1;
      next += byte === BACKSLASH ? 2 : 1;
    }
    if (next >= length) return -1;
    const quote = bytes.indexOf(QUOTE, next);
    if (quote < 0) return -1;
    let first = quote;
    while (first > next && bytes[first - 1] === BACKSLASH) first -= 1;
    if ((quote - first) % 2 === 0) return quote + 1;
    next = quote + 1;
  }
}

/** Behind `true`, `false` or `null`. */
export function endOfWord(bytes: Buffer, at: number): number {
  const first = bytes[at];
  for (const word of WORDS) {
    if (first !== word[0]) continue;
    for (let index = 1; index < word.length; index += 1)
      if (bytes[at + index] !== word[index]) return -1;
    return at + word.length;
  }
  return -1;
}

/** Whether a number may begin with the byte. */
export function startsNumber(byte: number | undefined): boolean {
  return isDigit(byte) || byte === MINUS;
}

/** Behind the number at `at`. */
export function endOfNumber(bytes: Buffer, at: number): number {
  let next = bytes[at] === MINUS ? at + 1 : at;
  const first = bytes[next];
  if (!isDigit(first)) return -1;
  next = first === ZERO ? next + 1 : endOfDigits(bytes, next);
  // A digit behind a leading zero.
  if (isDigit(bytes[next])) return -1;
  if (bytes[next] === POINT) {
    if (!isDigit(bytes[next + 1])) return -1;
    next = endOfDigits(bytes, next + 1);
  }
  const mark = bytes[next];
  if (mark !== LOWER_E && mark !== UPPER_E) return next;
  const sign = bytes[next + 1];
  const digits = sign === PLUS || sign === MINUS ? next + 2 : next + 1;
  return isDigit(bytes[digits]) ? endOfDigits(bytes, digits) : -1;
}

function endOfDigits(bytes: Buffer, at: number): number {
  const { length } = bytes;
  let next = at;
  while (next < length && isDigit(bytes[next])) next += 1;
  return next;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= NINE;
}
