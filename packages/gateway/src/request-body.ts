/**
 * Reads a request's body with bounds. Owns the bounds of one body, what happens at them, and that a body takes the
 * memory of its bytes however small the pieces it comes in; knows nothing of JSON.
 */
import type { IncomingMessage } from 'node:http';
import { type HeldOver, SMALL_BODY_BYTES } from './body-budget.js';

/** The body, or why it was not read to its end. */
export type ReadBody = Buffer | 'too-large' | HeldOver;

/** Who holds the body. */
export interface BodyHolder {
  /** Counts the body as so many bytes; whose room is spent when there is none. */
  holdBody(bytes: number): HeldOver | null;
}

/**
 * Reads at most `maxBytes` and calls back once; never, when the client has gone before its end. Who cares for the
 * connection knows that already, and a request without a listener for errors keeps them to itself.
 */
export function readBody(
  request: IncomingMessage,
  { maxBytes, holder }: { readonly maxBytes: number; readonly holder: BodyHolder },
  done: (read: ReadBody) => void,
): void {
  const header = request.headers['content-length'];
  const announced = header === undefined ? null : Number(header);
  if (announced !== null) {
    const over = announced > maxBytes ? 'too-large' : holder.holdBody(announced);
    if (over !== null) {
      done(over);
      return;
    }
  }
  /** The first piece as it came; with others behind it, a buffer that has room for them. */
  let body: Buffer = NOTHING;
  let size = 0;
  let isOver = false;
  request.on('data', (chunk: Buffer) => {
    if (isOver) return;
    const start = size;
    size += chunk.length;
    let over: ReadBody | null = size > maxBytes ? 'too-large' : null;
    let room = body.length;
    if (over === null && size > room) {
      room = start === 0 ? size : (announced ?? Math.min(maxBytes, 2 * Math.max(size, LEAST_ROOM)));
      if (announced === null) over = holder.holdBody(room);
    }
    if (over !== null) {
      isOver = true;
      request.pause();
      body = NOTHING;
      done(over);
    } else if (start === 0) body = chunk;
    else {
      if (room > body.length) body = grown(body, start, room);
      body.set(chunk, start);
    }
  });
  request.on('end', () => {
    if (isOver) return;
    const read = size === body.length ? body : body.subarray(0, size);
    // The listener lives as long as the request, the body should not.
    body = NOTHING;
    done(read);
  });
}

const LEAST_ROOM = SMALL_BODY_BYTES / 2;
const NOTHING = Buffer.alloc(0);

/** Memory that nobody has touched costs nothing until it is written. */
function grown(bytes: Buffer, size: number, room: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(room);
  larger.set(bytes.subarray(0, size));
  return larger;
}
