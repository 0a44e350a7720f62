/**
 * One pass over the bytes of a JSON object: is it well-formed, how deep, where are the values of its own keys, how much
 * text does it hold. Owns the scanner; the bytes themselves are never changed or kept, so numbers and escapes that
 * JavaScript would alter reach the engine as they came.
 */
import { isUtf8 } from 'node:buffer';

/** Where a value stands: from its first byte to the byte after its last. */
export interface JsonSpan {
  readonly start: number;
  readonly end: number;
}

/** What a scan found. */
export type JsonScan =
  | {
      readonly ok: true;
      /** Values of the object's own keys; the last one counts when a key repeats, as in every engine's parser. */
      readonly fields: ReadonlyMap<string, JsonSpan>;
      /** Bytes of all strings but keys and embedded files. */
      readonly textBytes: number;
      /** Numbers, such as the token ids of a prompt. */
      readonly numbers: number;
      /** Strings that are embedded files (`data:…`). */
      readonly files: number;
    }
  | { readonly ok: false; readonly message: string };

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const COMMA = 0x2c;
const COLON = 0x3a;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const FILE_PREFIX = Buffer.from('data:');
const LONGEST_NUMBER = 1_000;

class Malformed extends Error {}

/** Scans bytes that should be one JSON object, at most `maxDepth` deep. Never throws. */
export function scanJsonObject(bytes: Buffer, options: { readonly maxDepth: number }): JsonScan {
  if (!isUtf8(bytes)) return { ok: false, message: 'the body is not valid UTF-8' };
  try {
    return new Scanner(bytes, options.maxDepth).run();
  } catch (error) {
    if (error instanceof Malformed) return { ok: false, message: error.message };
    throw error;
  }
}

class Scanner {
  private readonly bytes: Buffer;
  private readonly maxDepth: number;
  private readonly fields: Map<string, JsonSpan> = new Map();
  private at: number = 0;
  private textBytes: number = 0;
  private numbers: number = 0;
  private files: number = 0;

  constructor(bytes: Buffer, maxDepth: number) {
    this.bytes = bytes;
    this.maxDepth = maxDepth;
  }

  run(): JsonScan {
    this.skip();
    if (this.bytes[this.at] !== OPEN_OBJECT) throw new Malformed('the body must be a JSON object');
    this.value(1);
    this.skip();
    if (this.at !== this.bytes.length) throw this.unexpected();
    return {
      ok: true,
      fields: this.fields,
      textBytes: this.textBytes,
      numbers: this.numbers,
      files: this.files,
    };
  }

  private unexpected(): Malformed {
    return new Malformed(
      this.at >= this.bytes.length
        ? 'the body ends in the middle of its JSON'
        : `the body is not valid JSON at byte ${this.at}`,
    );
  }

  private skip(): void {
    const bytes = this.bytes;
    for (;;) {
      const byte = bytes[this.at];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return;
      this.at += 1;
    }
  }

  private value(depth: number): void {
    const byte = this.bytes[this.at];
    if (byte === QUOTE) this.text();
    else if (byte === OPEN_OBJECT) this.object(depth);
    else if (byte === OPEN_ARRAY) this.array(depth);
    else this.literal();
  }

  private enter(depth: number): void {
    if (depth > this.maxDepth) {
      throw new Malformed(`the body nests deeper than ${this.maxDepth} levels`);
    }
    this.at += 1;
    this.skip();
  }

  private object(depth: number): void {
    this.enter(depth);
    if (this.bytes[this.at] === CLOSE_OBJECT) {
      this.at += 1;
      return;
    }
    for (;;) {
      if (this.bytes[this.at] !== QUOTE) throw this.unexpected();
      const keyStart = this.at;
      this.string();
      const keyEnd = this.at;
      this.skip();
      if (this.bytes[this.at] !== COLON) throw this.unexpected();
      this.at += 1;
      this.skip();
      const start = this.at;
      this.value(depth + 1);
      if (depth === 1) {
        const key = this.decode(keyStart, keyEnd);
        this.fields.set(key, { start, end: this.at });
      }
      if (this.more(CLOSE_OBJECT)) return;
    }
  }

  private array(depth: number): void {
    this.enter(depth);
    if (this.bytes[this.at] === CLOSE_ARRAY) {
      this.at += 1;
      return;
    }
    for (;;) {
      this.value(depth + 1);
      if (this.more(CLOSE_ARRAY)) return;
    }
  }

  /** After a member: true when the container closed, false when another member follows. */
  private more(close: number): boolean {
    this.skip();
    const byte = this.bytes[this.at];
    if (byte !== close && byte !== COMMA) throw this.unexpected();
    this.at += 1;
    if (byte === close) return true;
    this.skip();
    return false;
  }

  private text(): void {
    const start = this.at + 1;
    this.string();
    const length = this.at - 1 - start;
    const isFile =
      length > 64 &&
      this.bytes.compare(FILE_PREFIX, 0, FILE_PREFIX.length, start, start + FILE_PREFIX.length) ===
        0;
    if (isFile) this.files += 1;
    else this.textBytes += length;
  }

  /** Moves past a string. indexOf is native, so long texts cost next to nothing. */
  private string(): void {
    const bytes = this.bytes;
    let from = this.at + 1;
    for (;;) {
      const quote = bytes.indexOf(QUOTE, from);
      if (quote < 0) {
        this.at = bytes.length;
        throw this.unexpected();
      }
      let slashes = 0;
      while (bytes[quote - 1 - slashes] === BACKSLASH && quote - 1 - slashes > this.at)
        slashes += 1;
      if (slashes % 2 === 0) {
        this.at = quote + 1;
        return;
      }
      from = quote + 1;
    }
  }

  private literal(): void {
    const bytes = this.bytes;
    const start = this.at;
    while (this.at < bytes.length && this.at - start < LONGEST_NUMBER) {
      const byte = bytes[this.at] as number;
      if (byte <= 0x20 || byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) break;
      this.at += 1;
    }
    const text = bytes.toString('latin1', start, this.at);
    if (text === 'true' || text === 'false' || text === 'null') return;
    if (!NUMBER.test(text)) {
      this.at = start;
      throw this.unexpected();
    }
    this.numbers += 1;
  }

  private decode(start: number, end: number): string {
    const text = this.bytes.toString('utf8', start + 1, end - 1);
    if (!text.includes('\\')) return text;
    try {
      return JSON.parse(`"${text}"`) as string;
    } catch {
      throw new Malformed(`the body is not valid JSON at byte ${start}`);
    }
  }
}
