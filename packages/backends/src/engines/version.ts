/**
 * Release numbers of engines, as far as choosing flags needs them. Pure.
 */

/** Whether a version such as `0.19.0`, `v0.19` or `0.19.0rc1` is `wanted` or later; text without numbers is not. */
export function isAtLeast(version: string, wanted: string): boolean {
  const has = numbersOf(version);
  const needs = numbersOf(wanted);
  if (has.length === 0) return false;
  for (let place = 0; place < needs.length; place += 1) {
    const difference = (has[place] ?? 0) - (needs[place] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

function numbersOf(version: string): readonly number[] {
  const match = /^v?(\d+(?:\.\d+)*)/.exec(version.trim());
  return match?.[1] === undefined ? [] : match[1].split('.').map(Number);
}
