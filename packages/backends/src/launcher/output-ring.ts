/**
 * The last lines of a process's output, bounded in number and length. Owns line splitting; reads no stream itself.
 */
import { StringDecoder } from 'node:string_decoder';

/** A bounded memory of lines. */
export interface OutputRing {
  /** Takes a chunk as read from a pipe; `source` keeps the half lines of two pipes apart. */
  push(source: string, chunk: Buffer): void;
  /** Lines seen, oldest first, with the unfinished last ones. */
  lines(): readonly string[];
}

// Progress bars end their lines with a bare carriage return.
const LINE_END = /\r\n|\n|\r/;

/** Makes a ring of `maxLines` lines; a line longer than `maxLineLength` keeps its beginning. */
export function createOutputRing(options: {
  readonly maxLines: number;
  readonly maxLineLength: number;
}): OutputRing {
  const complete: string[] = [];
  const partial = new Map<string, { decoder: StringDecoder; text: string }>();
  const clip = (line: string): string =>
    line.length > options.maxLineLength ? `${line.slice(0, options.maxLineLength)}…` : line;
  const keep = (line: string): void => {
    if (line === '') return;
    complete.push(clip(line));
    if (complete.length > options.maxLines) complete.shift();
  };
  return {
    push: (source, chunk) => {
      const state = partial.get(source) ?? { decoder: new StringDecoder('utf8'), text: '' };
      partial.set(source, state);
      const pieces = (state.text + state.decoder.write(chunk)).split(LINE_END);
      const rest = pieces.pop() ?? '';
      for (const line of pieces) keep(line);
      // One character more than a line may have, so that clip still marks it; the rest is never shown.
      state.text = rest.slice(0, options.maxLineLength + 1);
    },
    lines: () => {
      const open = [...partial.values()]
        .map((state) => clip(state.text))
        .filter((line) => line !== '');
      return [...complete, ...open].slice(-options.maxLines);
    },
  };
}
