/**
 * Reads server-sent events out of pieces of text. Owns the framing; knows nothing of what is in them.
 */

/** A reader that keeps half events until the rest comes. */
export interface EventStreamReader {
  /** The payloads of the events that `text` completes. */
  push(text: string): readonly string[];
}

/** Makes a reader for one stream (WHATWG event streams; only `data:` lines matter here). */
export function createEventStreamReader(): EventStreamReader {
  let rest = '';
  return {
    push: (text) => {
      const events = (rest + text).split(/\r?\n\r?\n/);
      rest = events.pop() ?? '';
      return events
        .map((event) =>
          event
            .split(/\r?\n/)
            .filter((line) => line.startsWith('data:'))
            .map((line) => line.slice(5).trimStart())
            .join('\n'),
        )
        .filter((payload) => payload !== '');
    },
  };
}
