/**
 * Reads a request's body with a bound. Owns the bound and what happens at it; knows nothing of JSON.
 */
import type { IncomingMessage } from 'node:http';

/** The body, or why it was not read to its end. */
export type ReadBody = Buffer | 'too-large' | 'gone';

/** Reads at most `maxBytes` and calls back once. */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  done: (read: ReadBody) => void,
): void {
  let chunks: Buffer[] = [];
  let size = 0;
  let isDone = false;
  const finish = (read: ReadBody): void => {
    if (isDone) return;
    isDone = true;
    chunks = [];
    done(read);
  };
  const announced = request.headers['content-length'];
  if (announced !== undefined && Number(announced) > maxBytes) {
    finish('too-large');
    return;
  }
  request.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= maxBytes) {
      if (!isDone) chunks.push(chunk);
      return;
    }
    request.pause();
    finish('too-large');
  });
  request.on('end', () => {
    const [only] = chunks;
    finish(chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks));
  });
  request.on('close', () => finish('gone'));
  request.on('error', () => finish('gone'));
}
