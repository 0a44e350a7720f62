/**
 * What a YAML syntax error means and what to do about it. Owns the wording for each code of the parser; it must not
 * parse anything itself.
 */
import type { ErrorCode, YAMLParseError } from 'yaml';
import type { Issue } from './issue.js';
import { endOfText, type SourceText, type TextRange } from './source-text.js';

interface Explanation {
  readonly message: string;
  readonly hint: string;
}

const EXPLANATIONS: Partial<Record<ErrorCode, Explanation>> = {
  TAB_AS_INDENT: {
    message: 'a tab is used as indentation, which YAML does not allow',
    hint: 'indent with spaces',
  },
  BAD_INDENT: {
    message: 'this does not stand in the column of its neighbours',
    hint: 'align it with the lines above',
  },
  BAD_SCALAR_START: {
    message: 'a plain value cannot begin with this character',
    hint: 'put the value in quotes',
  },
  BLOCK_AS_IMPLICIT_KEY: {
    message: 'a value with ": " in it needs quotes, and an inner key a line of its own',
    hint: 'put the value in quotes',
  },
  MULTILINE_IMPLICIT_KEY: {
    message: 'this is neither a key with a colon nor the continuation of a value',
    hint: 'end the key with a colon and a space',
  },
  MISSING_CHAR: {
    message: 'here is a key without a colon',
    hint: 'end the key with a colon and a space',
  },
  BAD_DQ_ESCAPE: {
    message: 'this is not an escape sequence of a double-quoted text',
    hint: 'use single quotes',
  },
  BAD_ALIAS: { message: 'an alias is a star and a name', hint: 'put the value in quotes' },
  UNEXPECTED_TOKEN: {
    message: 'this cannot stand here',
    hint: 'check the indentation and the brackets of this line',
  },
};

/** How the parser ends its message when brackets are open; it names the closing one there. */
const OPEN_BRACKET = /end with a ([\]}])$/;
const OPEN_QUOTE = /^Missing closing (['"])quote/;

function unclosed(message: string): { what: string; closing: string } | null {
  const bracket = OPEN_BRACKET.exec(message)?.[1];
  if (bracket !== undefined)
    return {
      what: bracket === ']' ? 'the list in brackets' : 'the mapping in braces',
      closing: bracket,
    };
  const quote = OPEN_QUOTE.exec(message)?.[1];
  return quote === undefined ? null : { what: 'the quoted text', closing: quote };
}

/**
 * Makes issues of the syntax errors of the parser. A line that is indented too deep comes as two errors at the value
 * before it; it is told once, at the line itself.
 */
export function explainSyntaxErrors(
  source: SourceText,
  errors: readonly YAMLParseError[],
): readonly Issue[] {
  const tooDeep = errors.find(
    (error) =>
      error.code === 'MULTILINE_IMPLICIT_KEY' &&
      source.text.slice(...error.pos).includes('\n') &&
      errors.some(
        (other) => other.code === 'BLOCK_AS_IMPLICIT_KEY' && other.pos[0] === error.pos[0],
      ),
  );
  if (tooDeep === undefined) return errors.map((error) => explainSyntax(source, error));
  const line = source.text.indexOf('\n', tooDeep.pos[0]) + 1;
  const start = line + source.text.slice(line).search(/\S/);
  return [
    {
      path: '',
      message: 'this line is indented deeper than the one above allows',
      hint: 'align it with the line above',
      allowed: [],
      nearest: null,
      range: { start, end: Math.max(start + 1, tooDeep.pos[1]) },
    },
  ];
}

function explainSyntax(source: SourceText, error: YAMLParseError): Issue {
  const end = endOfText(source);
  const range: TextRange =
    error.pos[0] >= end ? { start: end, end: end + 1 } : { start: error.pos[0], end: error.pos[1] };
  const open = unclosed(error.message);
  const base = { path: '', allowed: [], nearest: null, range };
  if (open !== null && range.start === end) {
    const message = `the file ends before ${open.what} is closed with ${open.closing}: it looks cut off`;
    return {
      ...base,
      message,
      hint: `restore what is missing at the end, from ${open.closing} on`,
    };
  }
  if (open !== null) {
    const message = `${open.what} is not closed before this`;
    return { ...base, message, hint: `close it with ${open.closing}` };
  }
  const known = EXPLANATIONS[error.code];
  return {
    ...base,
    message: known?.message ?? `this is not YAML: ${error.message}`,
    hint: known?.hint ?? 'check the indentation and the quotes of this line',
  };
}
