/**
 * Quantities as people write them: `40GiB`, `48GB`, `50ms`, `2%`, `200k`. Owns the grammar used by the fleet file and
 * the command line; each parser takes text and returns a plain number or null, so that the caller owns the message.
 */
const SIZES: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

const TIMES: Readonly<Record<string, number>> = {
  us: 1e-3,
  ms: 1,
  s: 1e3,
  m: 60e3,
  min: 60e3,
  h: 3600e3,
  d: 86_400e3,
};

const COUNTS: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

const QUANTITY = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-z%]*)\s*$/;

function toQuantity(text: string, scale: Readonly<Record<string, number>>): number | null {
  const match = QUANTITY.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) return null;
  const factor = scale[match[2].toLowerCase()];
  return factor === undefined ? null : Number(match[1]) * factor;
}

/** Reads a size such as `40GiB` or `48GB` into bytes, rounded to whole bytes; null when it is not one. */
export function toBytesCount(text: string): number | null {
  const value = toQuantity(text, SIZES);
  return value === null || !Number.isSafeInteger(Math.round(value)) ? null : Math.round(value);
}

/** Reads a time such as `50ms`, `1s`, `2m` into milliseconds; null when it is not one. */
export function toMilliseconds(text: string): number | null {
  return toQuantity(text, TIMES);
}

/** Reads a share such as `2%` into a ratio; null when it is not one. */
export function toShare(text: string): number | null {
  const match = QUANTITY.exec(text);
  if (match?.[1] === undefined || match[2] !== '%') return null;
  return Number(match[1]) / 100;
}

/** Reads a count such as `200k` or `2M`; null when it is not one. */
export function toCount(text: string): number | null {
  return toQuantity(text, COUNTS);
}
