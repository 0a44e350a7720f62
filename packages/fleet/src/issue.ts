/**
 * One thing wrong with a fleet file, and the error made of all of them. Owns the shape of `details` and the wording
 * around the issues; what is wrong is decided elsewhere.
 */
import { AimError } from '@aim-gpu/core';
import { excerptAt, placeAt, type SourceText, type TextRange } from './source-text.js';

/** One thing wrong with a fleet file, before it is placed in lines. */
export interface Issue {
  /** The way to the value, as people write it: `models[0].slo.ttft`; empty for the whole file. */
  readonly path: string;
  /** What is wrong and what is allowed there, in one sentence. */
  readonly message: string;
  /** The one fix. */
  readonly hint: string;
  /** What may stand there: keys, values, names or a form in words. */
  readonly allowed: readonly string[];
  /** The known key, value or name that was most likely meant. */
  readonly nearest: string | null;
  readonly range: TextRange;
}

/** Makes an issue at a path of the document. */
export type MakeIssue = (
  path: readonly PropertyKey[],
  problem: Pick<Issue, 'message' | 'hint'> &
    Partial<Pick<Issue, 'allowed' | 'nearest'>> & {
      /** Points at the key there, not at its value. */
      readonly isKey?: boolean;
    },
) => Issue;

/** An issue as a program finds it in `details.issues` of the error. */
export interface FleetIssue {
  /** The way to the value: `models[0].slo.ttft`; empty for the whole file. */
  readonly path: string;
  readonly message: string;
  readonly hint: string;
  /** What may stand there: keys, values, names or a form in words. */
  readonly allowed: readonly string[];
  /** The known key, value or name that was most likely meant; null when none is near. */
  readonly nearest: string | null;
  /** One-based. */
  readonly line: number;
  /** One-based, in UTF-16 code units. */
  readonly column: number;
  /** The user's line with a caret under the place. */
  readonly excerpt: string;
}

/** More issues than this help nobody. */
const MOST_ISSUES = 50;

/** Writes a path as people do: `models[0].slo.ttft`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else text += text === '' ? String(step) : `.${String(step)}`;
  }
  return text;
}

/** Makes the one error of all issues: the first in file order speaks, the others are in `details.issues`. */
export function toConfigError(
  source: SourceText,
  found: readonly Issue[],
  masked: readonly TextRange[],
): AimError {
  const ordered = [...found].sort((a, b) => a.range.start - b.range.start);
  const issues = ordered.slice(0, MOST_ISSUES).map((issue): FleetIssue => {
    const { line, column } = placeAt(source, issue.range.start);
    const { path, message, hint, allowed, nearest } = issue;
    const excerpt = excerptAt(source, issue.range, masked);
    return { path, message, hint, allowed, nearest, line, column, excerpt };
  });
  const first = issues[0];
  if (first === undefined) {
    throw new AimError({
      code: 'ERR_INVARIANT',
      kind: 'internal',
      message: 'a fleet file was refused without an issue',
    });
  }
  const others = ordered.length - 1;
  const more = others === 0 ? '' : ` (and ${others} more ${others === 1 ? 'problem' : 'problems'})`;
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `${first.message}${more}`,
    hint: first.hint,
    at: { file: source.file, line: first.line, column: first.column },
    excerpt: first.excerpt,
    details: {
      path: first.path,
      allowed: first.allowed,
      nearest: first.nearest,
      issueCount: ordered.length,
      issues,
    },
  });
}
