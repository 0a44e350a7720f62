/**
 * Finds JSON documents in an output: several may follow one another, between prompts and messages. Owns where a
 * document begins and ends; knows nothing of what is in it. Linear in the length of the text.
 */

/** What was found. */
export interface JsonDocuments {
  readonly documents: readonly unknown[];
  /** Lines outside every document, in their places. */
  readonly rest: string;
  /** Documents that could not be read: cut off, or balanced and yet no JSON. */
  readonly broken: readonly { readonly cut: boolean; readonly line: number }[];
}

// A bracket that opens a document is followed by a value, a name or its end; a prompt or a progress bar is not.
const OPENING = /^[{[]\s{0,1000}(?:["{}\]]|\[|-?\d|true\b|false\b|null\b|$)/;

// A byte order mark counts as one.
const BLANKS: readonly string[] = [' ', '\t', '\r', '\uFEFF'];

/** Finds every document of a text. */
export function findJsonDocuments(text: string): JsonDocuments {
  const documents: unknown[] = [];
  const broken: { cut: boolean; line: number }[] = [];
  const rest: string[] = [];
  let line = 1;
  let at = 0;
  while (at < text.length) {
    const lineEnd = endOfLine(text, at);
    const start = firstNonBlank(text, at, lineEnd);
    if (OPENING.test(text.slice(start, start + 1024))) {
      const end = endOfDocument(text, start);
      const document = end === null ? undefined : parse(text.slice(start, end));
      if (document === undefined) broken.push({ cut: end === null, line });
      else documents.push(document);
      const next = end ?? text.length;
      const lines = countLines(text, start, next);
      // Keeps the numbers of the lines that follow.
      for (let count = 0; count < lines; count += 1) rest.push('');
      line += lines;
      at = next;
    } else {
      rest.push(text.slice(at, lineEnd));
      at = lineEnd + 1;
      line += 1;
    }
  }
  return { documents, rest: rest.join('\n'), broken };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Just after the bracket that closes the one at `start`, or null when the text ends before. */
function endOfDocument(text: string, start: number): number | null {
  let depth = 0;
  let quoted = false;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at];
    if (quoted) {
      if (character === '\\') at += 1;
      else if (character === '"') quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return null;
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end === -1 ? text.length : end;
}

function firstNonBlank(text: string, from: number, end: number): number {
  let at = from;
  while (at < end && BLANKS.includes(text[at] ?? '')) at += 1;
  return at;
}

function countLines(text: string, from: number, to: number): number {
  let count = 0;
  for (let at = text.indexOf('\n', from); at !== -1 && at < to; at = text.indexOf('\n', at + 1))
    count += 1;
  return count;
}
