/**
 * What a fact about a capture is, and how facts become the table in fixtures/FACTS.md.
 */

/** Something a capture shows, how this package reads it, and what it must be. */
export interface Fact {
  readonly says: string;
  readonly read: () => unknown;
  readonly is: unknown;
}

/** A capture and its facts. */
export interface FixtureFacts {
  /** Name of the file below fixtures/. */
  readonly file: string;
  readonly facts: readonly Fact[];
}

/** A fact. */
export function fact(says: string, is: unknown, read: () => unknown): Fact {
  return { says, read, is };
}

const WIDTH = 90;

/** The table of all facts, one line each. */
export function toTable(
  fixtures: readonly (FixtureFacts & { readonly grade: string; readonly origin: string })[],
): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const value = (is: unknown): string => {
    const text = JSON.stringify(is) ?? 'undefined';
    return text.length > WIDTH ? `${text.slice(0, WIDTH)}…` : text;
  };
  const rows = fixtures.flatMap(({ file, grade, origin, facts }) =>
    facts.map(({ says, is }, index) => {
      const head = index === 0 ? `${file} | ${grade} | ${cell(origin)}` : ' | | ';
      return `| ${head} | ${cell(says)} | \`${value(is).replaceAll('|', '\\|')}\` |`;
    }),
  );
  return [
    '# What the tests assert of each capture',
    '',
    'Written by test/facts/fixture-facts.test.ts from the facts that it asserts. Grades and origins: ORIGIN.md.',
    '',
    '| capture | grade | origin | fact | value |',
    '|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}
