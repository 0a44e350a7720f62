/**
 * Reads server-sent events out of pieces of text. Owns the framing; knows nothing of what is in them.
 */

/** A reader that keeps half events until the rest comes. */
export interface EventStreamReader {
  /** The payloads of the events that `text` completes. Throws when an event grows beyond a million characters. */
  push(text: string): readonly string[];
}

/** No event of a chat completion comes near it; a stream without ends of events must not fill the memory. */
const MOST_CHARACTERS = 1_048_576;

/** Makes a reader for one stream (WHATWG event streams; only `data:` lines matter here). */
export function createEventStreamReader(): EventStreamReader {
  let rest = '';
  return {
    push: (text) => {
      const events = (rest + text).split(/\r?\n\r?\n/);
      rest = events.pop() ?? '';
      if (rest.length > MOST_CHARACTERS) throw new Error('an event of the stream has no end');
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
