/**
 * Where in the user's own JSON text an error is: line, column and the line with a caret, as every configuration error
 * of this product shows it. Owns the search for a field's key in the text; decides nothing about the error.
 */
import { AimError } from '@aim-gpu/core';

const LONGEST_LINE = 160;
const POSITION = /position (\d+)/;
/** V8 shows ten characters on each side of the token instead of a position when it can. */
const SNIPPET = /^Unexpected token '(.+?)', (?:\.\.\.)?"([\s\S]*?)"(?:\.\.\.)? is not valid JSON$/;
const SNIPPET_BEFORE = 10;

/** Offset of the key that a dotted path ends in; `null` when it is not in the text. */
function offsetOf(text: string, path: string): number | null {
  let from = 0;
  let found: number | null = null;
  for (const part of path.split('.')) {
    if (/^\d+$/.test(part)) continue;
    const at = text.indexOf(`${JSON.stringify(part)}`, from);
    if (at < 0) return found;
    found = at;
    from = at + part.length;
  }
  return found;
}

/** Offset of a syntax error, from the engine's message. */
function syntaxOffset(message: string, text: string): number | null {
  const position = POSITION.exec(message)?.[1];
  if (position !== undefined) return Number(position);
  const [, token, snippet] = SNIPPET.exec(message) ?? [];
  if (token === undefined || snippet === undefined) return null;
  const from = text.indexOf(snippet);
  if (from < 0) return null;
  return text[from + SNIPPET_BEFORE] === token
    ? from + SNIPPET_BEFORE
    : from + Math.max(0, snippet.indexOf(token));
}

function excerptOf(
  text: string,
  offset: number,
): { line: number; column: number; excerpt: string } {
  const start = text.lastIndexOf('\n', offset - 1) + 1;
  const end = text.indexOf('\n', offset);
  const line = text.slice(0, start).split('\n').length;
  const column = offset - start + 1;
  // A file without line breaks is cut around the place.
  const cut = column > LONGEST_LINE ? offset - LONGEST_LINE / 2 : start;
  const shown = text.slice(cut, Math.min(end < 0 ? text.length : end, cut + LONGEST_LINE));
  return { line, column, excerpt: `${shown}\n${' '.repeat(offset - cut)}^` };
}

/** The same error with its place in the text; unchanged when it has one, is of another kind, or is nowhere to be found. */
export function withPlace(error: unknown, text: string, file: string): unknown {
  if (!AimError.is(error, 'ERR_CONFIG_INVALID') || error.at !== undefined) return error;
  const { path } = error.details;
  let offset: number | null = null;
  if (error.cause instanceof SyntaxError) offset = syntaxOffset(error.cause.message, text);
  else if (typeof path === 'string' && path !== '') offset = offsetOf(text, path);
  if (offset === null || offset > text.length) return error;
  const { line, column, excerpt } = excerptOf(text, offset);
  return new AimError({
    code: error.code,
    kind: error.kind,
    message: error.message,
    details: error.details,
    at: { file, line, column },
    excerpt,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.cause === undefined ? {} : { cause: error.cause }),
  });
}
