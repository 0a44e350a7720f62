/**
 * Takes one field out of the bytes of a JSON object. Owns the cut with its comma; the rest is never parsed and written
 * again, so it stays as it came.
 */
import { scanJsonObject } from './json-scan.js';

const MAX_DEPTH = 64;
const COMMA = 0x2c;
const COLON = 0x3a;

/** The object without the field; the same buffer when it is no object or has no such field. */
export function withoutField(json: Buffer, name: string): Buffer {
  const scan = scanJsonObject(json, { maxDepth: MAX_DEPTH });
  const value = scan.ok ? scan.fields.get(name) : undefined;
  if (value === undefined) return json;
  const key = JSON.stringify(name);
  const colon = skipBack(json, value.start - 1);
  const keyEnd = skipBack(json, colon - 1) + 1;
  const keyStart = keyEnd - key.length;
  // A key written with escapes is left alone: no engine does that.
  if (json[colon] !== COLON || json.toString('utf8', keyStart, keyEnd) !== key) return json;
  const before = skipBack(json, keyStart - 1);
  if (json[before] === COMMA) {
    return Buffer.concat([json.subarray(0, before), json.subarray(value.end)]);
  }
  const after = skipOn(json, value.end);
  const end = json[after] === COMMA ? after + 1 : value.end;
  return Buffer.concat([json.subarray(0, keyStart), json.subarray(end)]);
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

function skipBack(bytes: Buffer, from: number): number {
  let at = from;
  while (isSpace(bytes[at])) at -= 1;
  return at;
}

function skipOn(bytes: Buffer, from: number): number {
  let at = from;
  while (isSpace(bytes[at])) at += 1;
  return at;
}
