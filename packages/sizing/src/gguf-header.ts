/**
 * Reads the header of a GGUF file: metadata and tensor table, never the tensors. Owns the binary layout (versions 2
 * and 3, little endian) and the refusal of truncated and lying headers; meaning is gguf-config.ts's business.
 */
import type { StoredTensor } from './checkpoint.js';
import { invalidConfig } from './errors.js';
import { ggufBits } from './quantization-schemes.js';

/** A metadata value; long arrays keep their length only. */
export type GgufValue =
  | string
  | number
  | boolean
  | { readonly length: number; readonly numbers: readonly number[] };

/** What a GGUF header holds. */
export interface GgufHeader {
  readonly version: number;
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly StoredTensor[];
}

/** Thrown inside when the bytes end before the header does; the caller may give more. */
export type GgufResult =
  | { readonly ok: true; readonly header: GgufHeader }
  | { readonly ok: false; readonly reason: 'more bytes needed' };

const MAGIC = 0x46554747;
const MOST_ENTRIES = 1_000_000;
const LONGEST_TEXT = 64 * 1024 * 1024;
const KEPT_NUMBERS = 4096;
const FIX = 'download the file again; give a complete GGUF file';

/** ggml's type numbers. Source: ggml.h enum ggml_type. */
const TYPES: ReadonlyMap<number, string> = new Map([
  [0, 'F32'],
  [1, 'F16'],
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [6, 'Q5_0'],
  [7, 'Q5_1'],
  [8, 'Q8_0'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [12, 'Q4_K'],
  [13, 'Q5_K'],
  [14, 'Q6_K'],
  [15, 'Q8_K'],
  [16, 'IQ2_XXS'],
  [17, 'IQ2_XS'],
  [18, 'IQ3_XXS'],
  [19, 'IQ1_S'],
  [20, 'IQ4_NL'],
  [21, 'IQ3_S'],
  [22, 'IQ2_S'],
  [23, 'IQ4_XS'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [28, 'F64'],
  [29, 'IQ1_M'],
  [30, 'BF16'],
  [39, 'MXFP4'],
]);
const PLAIN_BITS: ReadonlyMap<string, number> = new Map([
  ['I8', 8],
  ['I16', 16],
  ['I32', 32],
  ['I64', 64],
  ['F64', 64],
]);
const SCALAR_BYTES: readonly number[] = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];

/** Signals that the prefix ends inside the header. */
const END: unique symbol = Symbol('end of the bytes');

class Cursor {
  private readonly view: DataView;
  private at = 0;
  private readonly source: string;

  constructor(bytes: Uint8Array, source: string) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.source = source;
  }

  private take(size: number): number {
    const from = this.at;
    if (from + size > this.view.byteLength) throw END;
    this.at = from + size;
    return from;
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }

  size(what: string, most: number): number {
    const value = this.view.getBigUint64(this.take(8), true);
    if (value > BigInt(most)) throw invalidConfig(this.source, what, `claims ${value}`, FIX);
    return Number(value);
  }

  text(): string {
    const length = this.size('text length', LONGEST_TEXT);
    const from = this.take(length);
    return new TextDecoder().decode(
      new Uint8Array(this.view.buffer, this.view.byteOffset + from, length),
    );
  }

  scalar(type: number): number | boolean {
    const bytes = SCALAR_BYTES[type];
    if (bytes === undefined || bytes === 0)
      throw invalidConfig(this.source, 'metadata', `value type ${type} is unknown`, FIX);
    const from = this.take(bytes);
    const { view } = this;
    switch (type) {
      case 0:
        return view.getUint8(from);
      case 1:
        return view.getInt8(from);
      case 2:
        return view.getUint16(from, true);
      case 3:
        return view.getInt16(from, true);
      case 4:
        return view.getUint32(from, true);
      case 5:
        return view.getInt32(from, true);
      case 6:
        return view.getFloat32(from, true);
      case 7:
        return view.getUint8(from) !== 0;
      case 10:
        return Number(view.getBigUint64(from, true));
      case 11:
        return Number(view.getBigInt64(from, true));
      default:
        return view.getFloat64(from, true);
    }
  }

  value(type: number): GgufValue {
    if (type === 8) return this.text();
    if (type !== 9) return this.scalar(type);
    const inner = this.u32();
    if (inner === 9)
      throw invalidConfig(this.source, 'metadata', 'arrays of arrays are not known', FIX);
    const length = this.size('array length', 100 * MOST_ENTRIES);
    const numbers: number[] = [];
    for (let index = 0; index < length; index += 1) {
      if (inner === 8) {
        this.skipText();
        continue;
      }
      const one = Number(this.scalar(inner));
      if (index < KEPT_NUMBERS) numbers.push(one);
    }
    return { length, numbers };
  }

  private skipText(): void {
    this.take(this.size('text length', LONGEST_TEXT));
  }
}

function tensorOf(cursor: Cursor, source: string): StoredTensor {
  const name = cursor.text();
  const dimensions = cursor.u32();
  if (dimensions > 8) throw invalidConfig(source, name, `claims ${dimensions} dimensions`, FIX);
  const shape = Array.from({ length: dimensions }, () => cursor.size(name, 1e12));
  const number = cursor.u32();
  const type = TYPES.get(number);
  const bits = type === undefined ? null : (ggufBits(type) ?? PLAIN_BITS.get(type) ?? null);
  if (type === undefined || bits === null)
    throw invalidConfig(source, name, `tensor type ${number} is unknown`, FIX);
  cursor.size(name, Number.MAX_SAFE_INTEGER);
  const bytes = (shape.reduce((product, one) => product * one, 1) * bits) / 8;
  return { name, type, shape, bytes };
}

/**
 * Reads a GGUF header from the first bytes of a file. `more bytes needed` when they end inside it but the file goes on.
 * Throws `ERR_CONFIG_INVALID` for what is no GGUF file, is truncated, or claims more than the file holds.
 */
export function parseGgufHeader(
  bytes: Uint8Array,
  fileSize: number,
  source = 'model.gguf',
): GgufResult {
  const cursor = new Cursor(bytes, source);
  try {
    if (cursor.u32() !== MAGIC) throw invalidConfig(source, 'magic', 'this is no GGUF file', FIX);
    const version = cursor.u32();
    if (version !== 2 && version !== 3)
      throw invalidConfig(
        source,
        'version',
        `GGUF version ${version} is not known`,
        'convert it to version 3',
      );
    const tensorCount = cursor.size('tensor count', MOST_ENTRIES);
    const metadataCount = cursor.size('metadata count', MOST_ENTRIES);
    const metadata = new Map<string, GgufValue>();
    for (let index = 0; index < metadataCount; index += 1) {
      const key = cursor.text();
      metadata.set(key, cursor.value(cursor.u32()));
    }
    const tensors = Array.from({ length: tensorCount }, () => tensorOf(cursor, source));
    const total = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
    if (total > fileSize)
      throw invalidConfig(source, 'tensors', `claim ${total} bytes in a file of ${fileSize}`, FIX);
    return { ok: true, header: { version, metadata, tensors } };
  } catch (error) {
    if (error !== END) throw error;
    if (bytes.length < fileSize) return { ok: false, reason: 'more bytes needed' };
    throw invalidConfig(
      source,
      'header',
      `the file ends inside its header, at ${bytes.length} bytes`,
      FIX,
    );
  }
}
