/**
 * Places of a fleet file that may hold a key which should not stand there. Owns which values are harmless; whatever
 * else is below `tenants[].keys` is starred before a line of the file is shown to anybody.
 */
import { type LocatedDocument, pathKey } from './document.js';
import type { TextRange } from './source-text.js';

const HARMLESS: Readonly<Record<string, RegExp>> = {
  env: /^[A-Za-z_][A-Za-z0-9_]*$/,
  file: /^[^\s]*[./][^\s]*$/,
  sha256: /^[0-9a-fA-F]{64}$/,
};

/** Whether a key may stand at or below a path: then nothing of it is ever repeated. */
export function isKeyPath(path: readonly PropertyKey[]): boolean {
  return path[0] === 'tenants' && path[2] === 'keys';
}

/** The values on lines that begin a tenant's keys, for a text too broken to be parsed. */
export function likelySecretRanges(text: string): readonly TextRange[] {
  return [...text.matchAll(/\bkeys\s*:[^\S\n]*(\S[^\n]*)/g)].map((match) => {
    const end = match.index + match[0].length;
    return { start: end - (match[1] ?? '').length, end };
  });
}

/** The ranges to star in excerpts. */
export function secretRanges(document: LocatedDocument): readonly TextRange[] {
  const ranges: TextRange[] = [];
  const visit = (value: unknown, path: readonly PropertyKey[]): void => {
    if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) {
        const place = document.places.get(pathKey([...path, key]));
        const isStrange = isKeyPath(path) && !Array.isArray(value) && !Object.hasOwn(HARMLESS, key);
        if (isStrange && place?.key) ranges.push(place.key);
        visit(inner, [...path, key]);
      }
      return;
    }
    if (!isKeyPath(path) || value === null) return;
    const pattern = path.length === 5 ? HARMLESS[String(path[4])] : undefined;
    const place = document.places.get(pathKey(path));
    if (place !== undefined && pattern?.test(String(value)) !== true) ranges.push(place.value);
  };
  visit(document.value, []);
  return ranges;
}
