/**
 * The nearest-match helper: which known word a mistyped one was meant to be. Owns the distance and the cut-off; it
 * must not know what the words are, so that keys, values and names of any kind can use it.
 */

/** Letters and digits only, so that `max_model_len`, `max-model-len` and `maxModelLen` are one word. */
function letters(word: string): string {
  return word.toLowerCase().replace(/[^a-z0-9]/g, '');
}

/**
 * Edits (insert, delete, replace, swap of neighbours) from one word to another: the restricted
 * Damerau-Levenshtein distance, row by row.
 */
function editDistance(from: string, to: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1];
      let best = Math.min(
        (previous[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (previous[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (
        row > 1 &&
        column > 1 &&
        from[row - 1] === to[column - 2] &&
        from[row - 2] === to[column - 1]
      )
        best = Math.min(best, (before[column - 2] ?? 0) + 1);
      current[column] = best;
    }
    before = previous;
    previous = current;
  }
  return previous[to.length] ?? 0;
}

/** Longer words are compared no further than this: nobody names a key so, and the work is quadratic. */
const LONGEST = 80;

/**
 * Finds the known word that a mistyped one most likely meant, or null when none is near.
 *
 * Case, `_`, `-` and `.` do not count. Near means at most one edit in three letters, and the first of equals wins, so
 * the answer depends on the order of `known` only.
 */
export function nearestMatch(word: string, known: Iterable<string>): string | null {
  const wanted = letters(word);
  if (wanted === '' || wanted.length > LONGEST) return null;
  let nearest: string | null = null;
  let least = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of known) {
    if (candidate === word) continue;
    const compared = letters(candidate);
    if (compared.length > LONGEST) continue;
    const distance = editDistance(wanted, compared);
    if (distance < least && distance < Math.max(wanted.length, compared.length)) {
      nearest = candidate;
      least = distance;
    }
  }
  return nearest;
}
