/**
 * One record as one line of JSON with a checksum: `{"check":"<16 hex digits>","record":…}`. Owns the format shared by
 * snapshots and journals; knows nothing of files.
 */
import { createHash } from 'node:crypto';
import { toJsonText } from './json-text.js';

const BEFORE_CHECK = '{"check":"';
const BEFORE_RECORD = '","record":';
const CHECK_DIGITS = 16;
const RECORD_START = BEFORE_CHECK.length + CHECK_DIGITS + BEFORE_RECORD.length;

/** What decoding found: the record, or that the line is not one. */
export type DecodedLine<T> = { readonly ok: true; readonly record: T } | { readonly ok: false };

function toCheck(payload: string | Uint8Array): string {
  return createHash('sha256').update(payload).digest('hex').slice(0, CHECK_DIGITS);
}

/** Writes a record as a line with its newline. Throws `ERR_INVARIANT` for a value without a JSON form. */
export function toRecordLine(record: unknown): string {
  const payload = toJsonText(record);
  return `${BEFORE_CHECK}${toCheck(payload)}${BEFORE_RECORD}${payload}}\n`;
}

/** Reads a line without its newline; anything that does not carry its own checksum is not a record. */
export function fromRecordLine<T>(line: Buffer): DecodedLine<T> {
  const payload = line.subarray(RECORD_START, -1);
  const expected = `${BEFORE_CHECK}${toCheck(payload)}${BEFORE_RECORD}`;
  if (line.at(-1) !== 0x7d || line.toString('latin1', 0, RECORD_START) !== expected) {
    return { ok: false };
  }
  try {
    return { ok: true, record: JSON.parse(payload.toString('utf8')) as T };
  } catch {
    return { ok: false };
  }
}
