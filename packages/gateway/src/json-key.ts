/**
 * Finds out whether a key of a JSON object is one of those that somebody wants, without making a string of it. Owns the
 * comparison, escapes included; any number of other keys costs no memory.
 */

/** A key that is wanted. */
export interface JsonKey {
  readonly name: string;
  /** Whether prompts stand under it: none, one (whatever its shape), or one in each item of a list that is no number. */
  readonly prompts: 'none' | 'one' | 'each';
}

/** Keys that are wanted, ready for {@link keyAt}. */
export interface JsonKeys {
  readonly byLength: readonly (readonly (JsonKey & { readonly bytes: Buffer })[] | undefined)[];
}

const BACKSLASH = 0x5c;
/** What stands for itself or a control character behind a backslash. */
const SHORT_ESCAPES: ReadonlyMap<number, number> = new Map(
  Object.entries({
    '"': '"',
    '\\': '\\',
    '/': '/',
    b: '\b',
    f: '\f',
    n: '\n',
    r: '\r',
    t: '\t',
  }).map(([letter, meant]) => [letter.charCodeAt(0), meant.charCodeAt(0)]),
);
const HEX_ESCAPE = 0x75;
const NO_ESCAPE = -1;
/** No wanted key has such a character. */
const FOREIGN = 0xff;
const LONGEST_NAME = 63;
/** A key without its escapes, or its beginning. A comparison never waits, so all of them share it. */
const plain: Buffer = Buffer.alloc(LONGEST_NAME + 1);

/** Makes the keys ready; names are ASCII, of 63 letters at most. */
export function toJsonKeys(keys: readonly JsonKey[]): JsonKeys {
  const byLength: (JsonKey & { readonly bytes: Buffer })[][] = [];
  for (const key of keys) {
    const bytes = Buffer.from(key.name);
    byLength[bytes.length] = [...(byLength[bytes.length] ?? []), { ...key, bytes }];
  }
  return { byLength };
}

/** The wanted key that stands between two quotes; null when it is none of them, false when one of its escapes is none. */
export function keyAt(
  keys: JsonKeys,
  bytes: Buffer,
  start: number,
  end: number,
): JsonKey | null | false {
  const found = find(keys, bytes, start, end);
  if (found !== null) return found;
  for (let at = start; at < end; at += 1)
    if (bytes[at] === BACKSLASH) return escapedKey(keys, bytes, start, end);
  return null;
}

function find({ byLength }: JsonKeys, bytes: Buffer, start: number, end: number): JsonKey | null {
  const candidates = byLength[end - start];
  if (candidates === undefined) return null;
  for (const key of candidates) {
    const wanted = key.bytes;
    let at = 0;
    while (at < wanted.length && bytes[start + at] === wanted[at]) at += 1;
    if (at === wanted.length) return key;
  }
  return null;
}

function escapedKey(
  keys: JsonKeys,
  bytes: Buffer,
  start: number,
  end: number,
): JsonKey | null | false {
  let length = 0;
  for (let at = start; at < end; length += 1) {
    let meant = bytes[at] as number;
    if (meant === BACKSLASH) {
      const mark = bytes[at + 1] as number;
      const isHex = mark === HEX_ESCAPE;
      meant = isHex ? hexAt(bytes, at + 2, end) : (SHORT_ESCAPES.get(mark) ?? NO_ESCAPE);
      if (meant === NO_ESCAPE) return false;
      at += isHex ? 6 : 2;
    } else at += 1;
    if (length < plain.length) plain[length] = Math.min(meant, FOREIGN);
  }
  return length > LONGEST_NAME ? null : find(keys, plain, 0, length);
}

function hexAt(bytes: Buffer, start: number, end: number): number {
  if (start + 4 > end) return NO_ESCAPE;
  let value = 0;
  for (let at = start; at < start + 4; at += 1) {
    const byte = bytes[at] as number;
    const lower = byte | 0x20;
    if (byte >= 0x30 && byte <= 0x39) value = value * 16 + byte - 0x30;
    else if (lower >= 0x61 && lower <= 0x66) value = value * 16 + lower - 0x57;
    else return NO_ESCAPE;
  }
  return value;
}
