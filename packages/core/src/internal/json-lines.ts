/**
 * Framing of newline-delimited JSON over a byte stream. Owns the bound on a line's length, so that a peer which never
 * sends a newline cannot fill this process's memory; knows nothing of what the messages mean.
 */
import { AimError } from '../errors.js';

const NEWLINE = 0x0a;

/** Splits chunks into lines. Throws `ERR_PROTOCOL` (invalid) for a line above `maxBytes` or one that is not JSON. */
export interface LineReader {
  /** Takes the next chunk; returns the messages it completed, in order. */
  push(chunk: Buffer): readonly unknown[];
}

/** Makes a reader of one stream. */
export function createLineReader(maxBytes: number): LineReader {
  let parts: Buffer[] = [];
  let held = 0;
  const hold = (part: Buffer): void => {
    held += part.length;
    if (held > maxBytes) throw protocolError(`a line is longer than ${maxBytes} bytes`);
    if (part.length > 0) parts.push(part);
  };
  return {
    push: (chunk) => {
      const messages: unknown[] = [];
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
        hold(chunk.subarray(start, end));
        messages.push(toMessage(Buffer.concat(parts)));
        parts = [];
        held = 0;
        start = end + 1;
      }
      hold(chunk.subarray(start));
      return messages;
    },
  };
}

function toMessage(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString('utf8'));
  } catch (cause) {
    throw protocolError('a line is not JSON', cause);
  }
}

/** Makes `ERR_PROTOCOL` (invalid): the peer does not speak as agreed. */
export function protocolError(message: string, cause?: unknown): AimError {
  return new AimError({
    code: 'ERR_PROTOCOL',
    kind: 'invalid',
    message,
    hint: 'both ends must be of the same version',
    ...(cause === undefined ? {} : { cause }),
  });
}
