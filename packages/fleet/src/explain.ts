/**
 * Schema issues to words: what is wrong, what is allowed, the nearest right thing, one fix. Owns the wording for
 * unknown keys, missing keys and wrong values; it must not decide what is right.
 */
import type { z } from 'zod';
import { type LocatedDocument, locate, pathKey } from './document.js';
import { formatPath, type Issue } from './issue.js';
import { nearestMatch } from './nearest.js';
import { type SchemaPlace, schemaPlace } from './schema-walk.js';
import { isKeyPath } from './secrets.js';
import type { SourceText, TextRange } from './source-text.js';

interface Explaining {
  readonly schema: z.core.$ZodType;
  readonly source: SourceText;
  readonly document: LocatedDocument;
}

type Found = z.core.$ZodIssue;

/** A union says why each option failed; only the option of the value's own shape is worth telling. */
function flattened(issue: Found, before: readonly PropertyKey[] = []): readonly Found[] {
  const path = [...before, ...issue.path];
  if (issue.code !== 'invalid_union') return [{ ...issue, path }];
  const fitting = issue.errors.filter(
    (option) =>
      !option.some((inner) => inner.path.length === 0 && inner.code !== 'unrecognized_keys'),
  );
  const [only] = fitting;
  if (only === undefined || fitting.length > 1) return [{ ...issue, path }];
  return only.flatMap((inner) => flattened(inner as Found, path));
}

function valueAt(document: LocatedDocument, path: readonly PropertyKey[]): unknown {
  let value = document.value;
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

/** How a value is named in a message. */
function named(written: string, value: unknown, secret: boolean): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (secret) return 'this value';
  const shown = typeof value === 'string' ? value : written;
  const short = shown.length > 60 ? `${shown.slice(0, 57)}…` : shown;
  return typeof value === 'string' ? JSON.stringify(short) : short;
}

/** A list of a closed vocabulary, short enough to read. */
function listed(words: readonly string[]): string {
  return words.join(', ');
}

/** Where to point: the value, or its key where the value is empty. */
function rangeAt(document: LocatedDocument, path: readonly PropertyKey[]): TextRange {
  const { key, value } = locate(document, path);
  return value.end > value.start || key === null ? value : key;
}

function unknownKey(context: Explaining, path: readonly PropertyKey[], key: string): Issue {
  const keys = schemaPlace(context.schema, path).keys ?? [];
  const place = context.document.places.get(pathKey([...path, key]));
  const nearest = nearestMatch(key, keys);
  const where = path.length === 0 ? 'a fleet file' : formatPath(path);
  const merge = key === '<<' ? ' (merge keys are not part of YAML 1.2)' : '';
  const shown = isKeyPath(path) ? 'this key' : JSON.stringify(key);
  const no = isKeyPath(path) ? 'does not take this key' : `has no key ${shown}`;
  return {
    path: formatPath(isKeyPath(path) ? path : [...path, key]),
    message: `${where} ${no}${merge}; allowed here: ${listed(keys)}`,
    hint: nearest === null ? `remove ${shown}` : `write "${nearest}" instead of ${shown}`,
    allowed: keys,
    nearest,
    range: place?.key ?? rangeAt(context.document, path),
  };
}

function missingKey(context: Explaining, path: readonly PropertyKey[], place: SchemaPlace): Issue {
  const parent = path.slice(0, -1);
  const key = String(path.at(-1));
  const whole = locate(context.document, parent).value;
  // A mapping is pointed at by its first key: carets under the whole of it would say nothing.
  const first = Object.keys((valueAt(context.document, parent) as object | undefined) ?? {})[0];
  const firstKey = first === undefined ? null : locate(context.document, [...parent, first]).key;
  const allowed = place.words ?? (place.notes === null ? [] : [place.notes.allowed]);
  const what = place.notes === null ? '' : `: ${place.notes.allowed}`;
  const where = parent.length === 0 ? 'the file' : formatPath(parent);
  return {
    path: formatPath(path),
    message: `${where} has no ${JSON.stringify(key)}, which is required${what}`,
    hint: `add ${key}: ${place.notes?.example ?? 'with a value'}`,
    allowed,
    nearest: null,
    range: firstKey ?? { start: whole.start, end: Math.min(whole.end, whole.start + 1) },
  };
}

/** The one fix of a wrong value. */
function fixFor(
  written: string,
  value: unknown,
  place: SchemaPlace,
  nearest: string | null,
  secret: boolean,
): string {
  if (nearest !== null) return `write "${nearest}"`;
  const example = place.notes?.example ?? null;
  const scalar = value !== null && typeof value !== 'object';
  if (value === null && example !== null) return `give it a value, for example ${example}`;
  if (scalar && place.isList && !secret) return `write it as a list: [${written}]`;
  if (!Array.isArray(value) && place.isList && place.keys === null)
    return 'begin each entry with "- "';
  if (scalar && !secret) {
    const mended = place.notes?.mend?.(typeof value === 'string' ? value : written) ?? null;
    if (mended !== null) return `write ${mended}`;
    if (typeof value !== 'string' && place.notes?.isText === true)
      return `put it in quotes: "${written}"`;
  }
  if (place.notes?.fix !== undefined) return place.notes.fix;
  return example === null ? 'remove it' : `write, for example, ${example}`;
}

function nearestWord(value: unknown, words: readonly string[] | null): string | null {
  if (typeof value !== 'string' || words === null) return null;
  return words.length === 1 ? (words[0] ?? null) : nearestMatch(value, words);
}

function wrongValue(context: Explaining, path: readonly PropertyKey[]): Issue {
  const place = schemaPlace(context.schema, path);
  const range = rangeAt(context.document, path);
  const value = valueAt(context.document, path);
  const secret = isKeyPath(path);
  const { value: whole } = locate(context.document, path);
  const written = context.source.text.slice(whole.start, whole.end);
  const nearest = secret ? null : nearestWord(value, place.words);
  const form =
    place.notes?.allowed ??
    (place.keys === null ? 'another value' : `a mapping with ${listed(place.keys)}`);
  const where = formatPath(path) || 'the file';
  return {
    path: formatPath(path),
    message:
      value === null
        ? `${where} is empty, but must be ${form}`
        : `${where} must be ${form}, not ${named(written, value, secret)}`,
    hint: fixFor(written, value, place, nearest, secret),
    allowed: place.words ?? [form],
    nearest,
    range: typeof value === 'object' && value !== null ? firstLine(context.source, range) : range,
  };
}

function firstLine(source: SourceText, range: TextRange): TextRange {
  const end = source.text.indexOf('\n', range.start);
  return { start: range.start, end: end === -1 ? range.end : Math.min(range.end, end) };
}

/** Refinements that are about a mapping, not about the form of one value. */
function refinement(
  context: Explaining,
  problem: unknown,
  path: readonly PropertyKey[],
): Issue | null {
  const at = {
    path: formatPath(path),
    nearest: null,
    range: firstLine(context.source, rangeAt(context.document, path)),
  };
  if (problem === 'below-min') {
    const min = valueAt(context.document, [...path.slice(0, -1), 'min']);
    const message = `${at.path} must be at least min, which is ${String(min)}`;
    return {
      ...at,
      message,
      hint: `write ${String(min)}`,
      allowed: [`a whole number from ${String(min)} on`],
    };
  }
  if (problem === 'one-key-source') {
    const message = `${at.path} must say exactly one of env, file and sha256`;
    return { ...at, message, hint: 'keep one of them', allowed: ['env', 'file', 'sha256'] };
  }
  return null;
}

function explained(context: Explaining, issue: Found): readonly Issue[] {
  const { path } = issue;
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => unknownKey(context, path, key));
  const problem = issue.code === 'custom' ? issue.params?.['problem'] : undefined;
  const refined = refinement(context, problem, path);
  if (refined !== null) return [refined];
  if (issue.code === 'invalid_key') return [wrongKey(context, path)];
  const isMissing = path.length > 0 && !context.document.places.has(pathKey(path));
  return [
    isMissing
      ? missingKey(context, path, schemaPlace(context.schema, path))
      : wrongValue(context, path),
  ];
}

/** Explains every issue that the schema found in a document, each place once. */
export function explainIssues(context: Explaining, found: readonly Found[]): readonly Issue[] {
  const flat = found.flatMap((issue) => flattened(issue));
  // What a mapping lacks is not worth telling while it has a key that may be the mistyped one.
  const mistyped = new Set(
    flat.filter((issue) => issue.code === 'unrecognized_keys').map(({ path }) => pathKey(path)),
  );
  const told = new Map<string, Issue>();
  for (const issue of flat) {
    if (issue.code === 'custom' && mistyped.has(pathKey(issue.path))) continue;
    for (const made of explained(context, issue)) {
      const key = `${made.path} ${made.message}`;
      if (!told.has(key)) told.set(key, made);
    }
  }
  return [...told.values()];
}

/** A key of a free mapping (the engine's flags) that has the wrong form. */
function wrongKey(context: Explaining, path: readonly PropertyKey[]): Issue {
  const key = String(path.at(-1));
  const bare = key.replace(/^-+/, '').replace(/\s+/g, '-').toLowerCase();
  return {
    path: formatPath(path),
    message: `${JSON.stringify(key)} is not a long flag without its dashes`,
    hint: bare === '' || bare === key ? 'remove it' : `write "${bare}"`,
    allowed: ['a long flag without its dashes'],
    nearest: null,
    range: context.document.places.get(pathKey(path))?.key ?? rangeAt(context.document, path),
  };
}
