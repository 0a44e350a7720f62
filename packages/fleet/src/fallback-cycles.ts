/**
 * Fallbacks that lead back to where they began. Owns the walk along them; each ring is told once.
 */
import { formatPath, type Issue, type MakeIssue } from './issue.js';
import { type RawPart, rawKey, rawText } from './raw-fleet.js';

/** Finds every ring of fallbacks; the issue stands at the fallback of the first model of the ring in file order. */
export function cycleIssues(issue: MakeIssue, models: readonly RawPart[]): readonly Issue[] {
  const fallbackOf = new Map<string, { to: string; path: readonly PropertyKey[] }>();
  for (const model of models)
    for (const name of rawText(rawKey(model, 'name')))
      for (const fallback of rawText(rawKey(model, 'fallback')))
        if (!fallbackOf.has(name.text))
          fallbackOf.set(name.text, { to: fallback.text, path: fallback.path });
  const done = new Set<string>();
  const issues: Issue[] = [];
  for (const start of fallbackOf.keys()) {
    const trail: string[] = [];
    let at: string | undefined = start;
    while (at !== undefined && !done.has(at) && !trail.includes(at)) {
      trail.push(at);
      at = fallbackOf.get(at)?.to;
    }
    const from = at === undefined ? -1 : trail.indexOf(at);
    for (const name of trail) done.add(name);
    if (from === -1) continue;
    const ring = trail.slice(from);
    const [first = start] = [...fallbackOf.keys()].filter((name) => ring.includes(name));
    const turned = [
      ...ring.slice(ring.indexOf(first)),
      ...ring.slice(0, ring.indexOf(first)),
      first,
    ];
    const path = fallbackOf.get(first)?.path ?? [];
    issues.push(
      issue(path, {
        message: `${formatPath(path)}: these fallbacks lead in a circle: ${turned.join(' → ')}`,
        hint: 'remove the fallback of one of them',
      }),
    );
  }
  return issues;
}
