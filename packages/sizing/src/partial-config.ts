/**
 * Reads a partial description: `{ "_partial": true, "facts": { … } }`, a set of fields somebody pinned by hand because
 * the published config.json was not at hand. Owns the few spellings that only such descriptions use.
 */

/** The config-like object inside a partial description, or `null` when this is none. */
export function unwrapPartial(
  raw: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> | null {
  const facts = raw['facts'];
  if (
    raw['_partial'] !== true ||
    typeof facts !== 'object' ||
    facts === null ||
    Array.isArray(facts)
  )
    return null;
  const fields: Record<string, unknown> = { ...facts };
  // A tower described in words: the family's usual one, named by the word.
  const tower = fields['vision'];
  if (typeof tower === 'string') fields['vision'] = tower.split(' ')[0]?.toLowerCase() ?? 'unknown';
  return fields;
}
