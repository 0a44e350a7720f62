/**
 * Takes one field out of the bytes of a JSON object, or puts one in. Owns the cut with its comma; the rest is never
 * parsed and written again, so it stays as it came.
 */
import { type JsonKeys, toJsonKeys } from './json-key.js';
import { type JsonScan, scanJsonObject } from './json-scan.js';
import { CLOSE_OBJECT, COLON, COMMA, isSpace, OPEN_OBJECT, skipSpace } from './json-token.js';

const MAX_DEPTH = 64;
/** Keys by name; names come from code, so there are few. */
const known = new Map<string, JsonKeys>();

function scanFor(json: Buffer, name: string): JsonScan {
  let keys = known.get(name);
  if (keys === undefined) {
    keys = toJsonKeys([{ name, prompts: 'none' }]);
    known.set(name, keys);
  }
  return scanJsonObject(json, { keys, maxDepth: MAX_DEPTH, bytesPerNumber: 0 });
}

/** The value of the field as it stands there; null when it is no object or has no such field. */
export function fieldOf(json: Buffer, name: string): Buffer | null {
  const scan = scanFor(json, name);
  const value = scan.ok ? scan.fields.get(name) : undefined;
  return value === undefined ? null : json.subarray(value.start, value.end);
}

/** The object without the field; the same buffer when it is no object or has no such field. */
export function withoutField(json: Buffer, name: string): Buffer {
  const scan = scanFor(json, name);
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
  const after = skipSpace(json, value.end);
  const end = json[after] === COMMA ? after + 1 : value.end;
  return Buffer.concat([json.subarray(0, keyStart), json.subarray(end)]);
}

/** The object with the field, as JSON text, in place of one of that name or as its first; the same when it is no object. */
export function withField(json: Buffer, name: string, text: string): Buffer {
  const scan = scanFor(json, name);
  if (!scan.ok) return json;
  const value = scan.fields.get(name);
  if (value !== undefined) {
    const parts = [json.subarray(0, value.start), Buffer.from(text), json.subarray(value.end)];
    return Buffer.concat(parts);
  }
  const inside = json.indexOf(OPEN_OBJECT) + 1;
  const isEmpty = json[skipSpace(json, inside)] === CLOSE_OBJECT;
  const member = `${JSON.stringify(name)}:${text}${isEmpty ? '' : ','}`;
  return Buffer.concat([json.subarray(0, inside), Buffer.from(member), json.subarray(inside)]);
}

function skipBack(bytes: Buffer, from: number): number {
  let at = from;
  while (isSpace(bytes[at])) at -= 1;
  return at;
}
