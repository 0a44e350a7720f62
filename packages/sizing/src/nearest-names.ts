/**
 * Which known names a mistyped one is close to. Pure; owns the measure of closeness and nothing else.
 */

function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const change = one[i - 1] === other[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + change));
    }
    row = next;
  }
  return row[other.length] ?? 0;
}

/** The known names nearest to `name`, best first; a match of the part after the slash counts most. */
export function nearestNames(name: string, known: readonly string[], most = 3): readonly string[] {
  const wanted = name.toLowerCase().slice(0, 200);
  const tail = wanted.slice(wanted.lastIndexOf('/') + 1);
  return known
    .map((candidate) => {
      const lower = candidate.toLowerCase();
      const end = lower.slice(lower.lastIndexOf('/') + 1);
      return { candidate, cost: Math.min(distance(wanted, lower), distance(tail, end)) };
    })
    .filter(({ cost }) => cost <= Math.max(3, tail.length / 2))
    .sort((one, other) => one.cost - other.cost || one.candidate.localeCompare(other.candidate))
    .slice(0, most)
    .map(({ candidate }) => candidate);
}
