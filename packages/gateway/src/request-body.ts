/**
 * Reads a request's body with a bound. Owns the bound and what happens at it; knows nothing of JSON.
 */
import type { IncomingMessage } from 'node:http';

/** The body, or why it was not read to its end. */
export type ReadBody = Buffer | 'too-large';

/**
 * Reads at most `maxBytes` and calls back once; never, when the client has gone before its end. Who cares for the
 * connection knows that already, and a request without a listener for errors keeps them to itself.
 */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  done: (read: ReadBody) => void,
): void {
  const announced = request.headers['content-length'];
  if (announced !== undefined && Number(announced) > maxBytes) {
    done('too-large');
    return;
  }
  let body: Buffer | null = null;
  let more: Buffer[] | null = null;
  let size = 0;
  request.on('data', (chunk: Buffer) => {
    const isOver = size > maxBytes;
    size += chunk.length;
    if (size <= maxBytes) {
      if (body === null) body = chunk;
      else {
        more ??= [body];
        more.push(chunk);
      }
      return;
    }
    request.pause();
    body = null;
    more = null;
    if (!isOver) done('too-large');
  });
  request.on('end', () => {
    if (size <= maxBytes) done(more === null ? (body ?? NOTHING) : Buffer.concat(more));
  });
}

const NOTHING = Buffer.alloc(0);
