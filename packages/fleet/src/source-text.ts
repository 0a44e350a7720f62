/**
 * The text of a fleet file and the places in it. Owns decoding (UTF-8 only), line and column of an offset, and the
 * excerpt with its caret; it must not know YAML or what a fleet is.
 */
import type { SourcePlace } from '@aim-gpu/core';

/** Half-open range of offsets (UTF-16 code units) in a text. */
export interface TextRange {
  readonly start: number;
  readonly end: number;
}

/** The user's text, where it came from, and where its lines begin. */
export interface SourceText {
  readonly file: string;
  readonly text: string;
  readonly lineStarts: readonly number[];
}

/** Why bytes are not a text that can be parsed, and how much of them was read before that. */
export interface UnreadableText {
  readonly reason: 'encoding' | 'too-large' | 'binary';
  readonly message: string;
  readonly hint: string;
  readonly offset: number;
}

/** Largest file that is parsed; a fleet of a thousand models is a tenth of it. */
const LARGEST_FILE_BYTES = 4 * 2 ** 20;
/** A line is shown no wider than this. */
const EXCERPT_WIDTH = 160;

/** Indexes a text that is already decoded. A leading byte-order mark is dropped, as every editor hides it. */
function sourceText(file: string, raw: string): SourceText {
  const text = raw.startsWith('\uFEFF') ? raw.slice(1) : raw;
  const lineStarts = [0];
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1))
    lineStarts.push(at + 1);
  return { file, text, lineStarts };
}

/** The longest prefix of the bytes that is UTF-8, found by halving: a strict decoder says no more than yes or no. */
function validPrefix(data: Uint8Array): string {
  const decodes = (length: number): string | null => {
    try {
      const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
      return decoder.decode(data.subarray(0, length), { stream: true });
    } catch {
      return null;
    }
  };
  let good = 0;
  let bad = data.length;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (decodes(middle) === null) bad = middle;
    else good = middle;
  }
  return decodes(good) ?? '';
}

/** Decodes a fleet file given as text or as bytes; says why when it is not UTF-8 text of a sane size. */
export function decodeSource(
  file: string,
  input: string | Uint8Array,
): { readonly source: SourceText; readonly problem: UnreadableText | null } {
  if (input.length > LARGEST_FILE_BYTES) {
    const message = `the file has more than ${LARGEST_FILE_BYTES / 2 ** 20} MiB, which no fleet needs`;
    const hint = 'name the fleet file, not a model or a log';
    return {
      source: sourceText(file, ''),
      problem: { reason: 'too-large', message, hint, offset: 0 },
    };
  }
  const decoded = typeof input === 'string' ? { text: input, problem: null } : decodeBytes(input);
  const source = sourceText(file, decoded.text);
  if (decoded.problem !== null) return { source, problem: decoded.problem };
  const nul = source.text.indexOf('\0');
  if (nul === -1) return { source, problem: null };
  const message = 'the file contains a NUL character, so it is not text';
  const hint = 'name a YAML file';
  return { source, problem: { reason: 'binary', message, hint, offset: nul } };
}

function decodeBytes(data: Uint8Array): { text: string; problem: UnreadableText | null } {
  const hint = 'save the file as UTF-8';
  const wide = (data[0] === 0xff && data[1] === 0xfe) || (data[0] === 0xfe && data[1] === 0xff);
  if (wide)
    return {
      text: '',
      problem: { reason: 'encoding', message: 'the file is UTF-16, not UTF-8', hint, offset: 0 },
    };
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
    return { text, problem: null };
  } catch {
    const prefix = validPrefix(data);
    // What follows is decoded loosely, so that the user's own line can be shown.
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(data);
    const offset = prefix.length - (prefix.startsWith('\uFEFF') ? 1 : 0);
    const message = 'the file is not UTF-8: here is a byte that UTF-8 does not allow';
    return { text, problem: { reason: 'encoding', message, hint, offset } };
  }
}

function lineIndexAt(source: SourceText, offset: number): number {
  let low = 0;
  let high = source.lineStarts.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((source.lineStarts[middle] ?? 0) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The place of an offset: line and column from 1, columns in UTF-16 code units as editors count them. */
export function placeAt(source: SourceText, offset: number): SourcePlace {
  const line = lineIndexAt(source, offset);
  return { file: source.file, line: line + 1, column: offset - (source.lineStarts[line] ?? 0) + 1 };
}

/** The offset just behind the last character that is not white space: where a cut-off file ends. */
export function endOfText(source: SourceText): number {
  return source.text.trimEnd().length;
}

/**
 * The user's line and below it carets under a range, ready to print. Ranges to mask (secrets) are starred; control
 * characters are replaced, so that a file cannot drive the terminal; a long line is cut around the place.
 */
export function excerptAt(
  source: SourceText,
  range: TextRange,
  masked: readonly TextRange[],
): string {
  const index = lineIndexAt(source, range.start);
  const lineStart = source.lineStarts[index] ?? 0;
  const next = source.lineStarts[index + 1];
  const lineEnd = next === undefined ? source.text.length : next - 1;
  let line = source.text.slice(lineStart, lineEnd).replace(/\r$/, '');
  for (const mask of masked) {
    const from = Math.max(mask.start - lineStart, 0);
    const to = Math.min(mask.end - lineStart, line.length);
    if (from < to) line = `${line.slice(0, from)}${'*'.repeat(to - from)}${line.slice(to)}`;
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this removes
  line = line.replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f]/g, '\uFFFD');
  const column = range.start - lineStart;
  const carets = Math.max(1, Math.min(range.end - lineStart, line.length) - column);
  const cut = Math.max(0, column - EXCERPT_WIDTH / 2);
  const shown = line.slice(cut, cut + EXCERPT_WIDTH);
  // Tabs are kept under tabs, whatever width the terminal gives them.
  const indent = line.slice(cut, column).replace(/[^\t]/g, ' ');
  return `${shown}\n${indent}${'^'.repeat(Math.min(carets, EXCERPT_WIDTH - (column - cut)))}`;
}
