/**
 * A tolerant look into a parsed file whose form may be wrong anywhere, so that names and references are checked
 * together with the form. Owns the reading only: what is not of the expected form is left out, since the schema says so.
 */

/** A piece of a file with its way from the root. */
export interface RawPart {
  readonly path: readonly PropertyKey[];
  readonly value: unknown;
}

/** A piece of a file that is text. */
export interface RawText {
  readonly path: readonly PropertyKey[];
  readonly text: string;
  /** It is the key at the end of its path, not the value there. */
  readonly isKey?: boolean;
}

/** The value of a key; its value is undefined where there is no such key. */
export function rawKey(part: RawPart, key: string): RawPart {
  const { value } = part;
  const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value);
  const inner =
    isMapping && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
  return { path: [...part.path, key], value: inner };
}

/** The entries of a list; none where it is no list. */
export function rawItems(part: RawPart): readonly RawPart[] {
  return Array.isArray(part.value)
    ? part.value.map((value: unknown, index) => ({ path: [...part.path, index], value }))
    : [];
}

/** The text of a value; nothing where it is not text. */
export function rawText(part: RawPart): readonly RawText[] {
  return typeof part.value === 'string' ? [{ path: part.path, text: part.value }] : [];
}

/** The keys of a mapping; none where it is no mapping. */
export function rawNames(part: RawPart): readonly RawText[] {
  const { value } = part;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [];
  return Object.keys(value).map((text) => ({ path: [...part.path, text], text, isKey: true }));
}

/** The number of a value, or null. */
export function rawNumber(part: RawPart): number | null {
  return typeof part.value === 'number' ? part.value : null;
}
