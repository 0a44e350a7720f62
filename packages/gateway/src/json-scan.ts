/**
 * One pass over the bytes of a JSON object: is it well-formed, how deep, where are the values of the keys that somebody
 * wants, how much text does it hold. Owns the scanner; the bytes themselves are never changed or kept, so numbers and
 * escapes that JavaScript would alter reach the engine as they came. Takes a few nanoseconds a byte and no memory that
 * grows with them, whatever they are: one body must not stop everybody's streams.
 */
import { isUtf8 } from 'node:buffer';
import { isEmbeddedFile } from './embedded-file.js';
import { type JsonKey, type JsonKeys, keyAt } from './json-key.js';
import {
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  endOfNumber,
  endOfString,
  endOfWord,
  OPEN_ARRAY,
  OPEN_OBJECT,
  QUOTE,
  skipSpace,
  startsNumber,
} from './json-token.js';

/** Where a value stands: from its first byte to the byte after its last. */
export interface JsonSpan {
  readonly start: number;
  readonly end: number;
}

/** What a scan found. */
export type JsonScan =
  | {
      readonly ok: true;
      /** Values of the wanted keys; the last one counts when a key repeats, as in every engine's parser. */
      readonly fields: ReadonlyMap<string, JsonSpan>;
      /** Bytes of all strings but keys and embedded files. */
      readonly textBytes: number;
      /** Numbers, such as the token ids of a prompt. */
      readonly numbers: number;
      /** Strings that are embedded files: `data:…`, or base64 as recordings are sent. */
      readonly files: number;
      /** Of the keys that hold prompts. */
      readonly prompts: JsonPrompts;
    }
  | { readonly ok: false; readonly message: string };

/** How the prompts of an object are made up. Sizes are bytes of text; a number in a list counts as so many as was said. */
interface JsonPrompts {
  /** Prompts: items of the longest list of them, 1 where there is none. */
  readonly count: number;
  readonly largestBytes: number;
  readonly allBytes: number;
}

/** How to scan. */
export interface ScanOptions {
  readonly keys: JsonKeys;
  /** At most 255. */
  readonly maxDepth: number;
  /** What a number in a list under a prompt's key, a token's id, counts as in the sizes of prompts. */
  readonly bytesPerNumber: number;
}

/** No scan goes deeper. */
const DEEPEST = 255;

/** Above it nothing is a blank: asked first, it saves most calls that look for some. */
const BLANK = 0x20;
/** Of the object itself; no API has a tenth of it. */
const MOST_MEMBERS = 4096;
const TOO_MANY = `the body has more than ${MOST_MEMBERS} fields`;
/** Which containers are open, by depth; 1 for an object. A scan never waits, so all of them share it. */
const isObjectAt: Uint8Array = new Uint8Array(DEEPEST + 1);

/** Scans bytes that should be one JSON object, at most `maxDepth` deep. Never throws. */
export function scanJsonObject(bytes: Buffer, options: ScanOptions): JsonScan {
  if (!isUtf8(bytes)) return { ok: false, message: 'the body is not valid UTF-8' };
  return new Scanner(bytes, options).run();
}

interface OpenSpan {
  start: number;
  end: number;
}

class Scanner {
  private readonly bytes: Buffer;
  private readonly options: ScanOptions;
  private readonly fields: Map<string, OpenSpan> = new Map();
  private textBytes: number = 0;
  private numbers: number = 0;
  private files: number = 0;
  /** The key of the object's own whose value is read now; null when nobody wants it. */
  private key: JsonKey | null = null;
  private valueStart: number = 0;
  private members: number = 0;
  /** Of the prompts under that key. */
  private items: number = 0;
  private sizeBytes: number = 0;
  private itemStartBytes: number = 0;
  private largestItemBytes: number = 0;
  private count: number = 1;
  private largestBytes: number = 0;
  private allBytes: number = 0;

  constructor(bytes: Buffer, options: ScanOptions) {
    this.bytes = bytes;
    this.options = options;
  }

  run(): JsonScan {
    const { bytes } = this;
    const { maxDepth } = this.options;
    let at = skipSpace(bytes, 0);
    if (bytes[at] !== OPEN_OBJECT) return { ok: false, message: 'the body must be a JSON object' };
    let depth = 0;
    for (;;) {
      // A value begins here.
      const byte = bytes[at];
      if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        if (depth >= maxDepth) {
          return { ok: false, message: `the body nests deeper than ${maxDepth} levels` };
        }
        if (depth === 2) this.itemStartBytes = this.sizeBytes;
        depth += 1;
        const isObject = byte === OPEN_OBJECT;
        isObjectAt[depth] = isObject ? 1 : 0;
        at += 1;
        if ((bytes[at] as number) <= BLANK) at = skipSpace(bytes, at);
        if (bytes[at] !== (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) {
          if (isObject) {
            at = this.member(at, depth);
            if (at < 0) return this.malformed(-at - 1);
          }
          continue;
        }
      } else if (byte === QUOTE) {
        const end = endOfString(bytes, at);
        if (end < 0) return this.malformed(bytes.length);
        this.text(at + 1, end - 1, depth);
        at = end;
      } else if (startsNumber(byte)) {
        at = this.number(at, depth);
        if (at < 0) return this.malformed(-at - 1);
      } else {
        const end = endOfWord(bytes, at);
        if (end < 0) return this.malformed(at);
        at = end;
      }
      // A value, or an empty container, has ended; and with it perhaps what it stands in.
      for (;;) {
        const isObject = isObjectAt[depth] === 1;
        let next = bytes[at] as number;
        if (next <= BLANK) {
          at = skipSpace(bytes, at);
          next = bytes[at] as number;
        }
        if (next === COMMA) {
          if (depth === 1) {
            this.memberEnded(at);
            if (this.members > MOST_MEMBERS) return { ok: false, message: TOO_MANY };
          }
          at += 1;
          if ((bytes[at] as number) <= BLANK) at = skipSpace(bytes, at);
          if (isObject) {
            at = this.member(at, depth);
            if (at < 0) return this.malformed(-at - 1);
          }
          break;
        }
        if (next !== (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) return this.malformed(at);
        if (depth === 1) this.memberEnded(at);
        at += 1;
        depth -= 1;
        if (depth === 2) this.containerEnded();
        if (depth === 0) return this.whole(skipSpace(bytes, at));
      }
    }
  }

  /** Reads a key and its colon; where its value begins, or -1 less the place that is wrong. */
  private member(at: number, depth: number): number {
    const { bytes } = this;
    if (bytes[at] !== QUOTE) return -at - 1;
    const end = endOfString(bytes, at);
    if (end < 0) return -bytes.length - 1;
    const colon = skipSpace(bytes, end);
    if (bytes[colon] !== COLON) return -colon - 1;
    const start = skipSpace(bytes, colon + 1);
    if (depth === 1) {
      const key = keyAt(this.options.keys, bytes, at + 1, end - 1);
      if (key === false) return -at - 1;
      this.key = key;
      this.valueStart = start;
      this.items = 0;
      this.sizeBytes = 0;
      this.largestItemBytes = 0;
    }
    return start;
  }

  /** A member of the object's own is read; `at` may stand behind blanks after its value. */
  private memberEnded(at: number): void {
    const { key, fields, bytes } = this;
    this.members += 1;
    if (key === null) return;
    let end = at;
    while ((bytes[end - 1] as number) <= 0x20) end -= 1;
    const span = fields.get(key.name);
    if (span === undefined) fields.set(key.name, { start: this.valueStart, end });
    else {
      span.start = this.valueStart;
      span.end = end;
    }
    if (key.prompts === 'none') return;
    const largest = this.items === 0 ? this.sizeBytes : this.largestItemBytes;
    if (this.items > this.count) this.count = this.items;
    if (largest > this.largestBytes) this.largestBytes = largest;
    this.allBytes += this.sizeBytes;
  }

  private text(start: number, end: number, depth: number): void {
    const length = end - start;
    if (isEmbeddedFile(this.bytes, start, end)) {
      this.files += 1;
      if (depth === 2) this.item(0);
      return;
    }
    this.textBytes += length;
    this.sizeBytes += length;
    if (depth === 2) this.item(length);
  }

  /** Reads a number and, in a list, those behind it: ids of tokens stand there by the million. As `member` returns. */
  private number(at: number, depth: number): number {
    const { bytes } = this;
    const isListed = isObjectAt[depth] === 0;
    let count = 0;
    let next = at;
    for (;;) {
      const end = endOfNumber(bytes, next);
      if (end < 0) return -next - 1;
      count += 1;
      next = end + 1;
      if (!isListed || bytes[end] !== COMMA || !startsNumber(bytes[next])) break;
    }
    this.numbers += count;
    if (isListed) this.sizeBytes += count * this.options.bytesPerNumber;
    return next - 1;
  }

  private containerEnded(): void {
    this.item(this.sizeBytes - this.itemStartBytes);
  }

  /** A text or a container in a list, or a member of an object, under a key of the object's own. */
  private item(bytes: number): void {
    if (this.key === null || this.key.prompts !== 'each' || isObjectAt[2] === 1) return;
    this.items += 1;
    if (bytes > this.largestItemBytes) this.largestItemBytes = bytes;
  }

  private whole(at: number): JsonScan {
    if (at !== this.bytes.length) return this.malformed(at);
    return {
      ok: true,
      fields: this.fields,
      textBytes: this.textBytes,
      numbers: this.numbers,
      files: this.files,
      prompts: {
        count: this.count,
        largestBytes: this.largestBytes,
        allBytes: this.allBytes,
      },
    };
  }

  private malformed(at: number): JsonScan {
    const message =
      at >= this.bytes.length
        ? 'the body ends in the middle of its JSON'
        : `the body is not valid JSON at byte ${at}`;
    return { ok: false, message };
  }
}
