/**
 * Reads a request's body with a bound. Owns the bound and what happens at it; knows nothing of JSON.
 */
import type { IncomingMessage } from 'node:http';

/** The body, or why it was not read to its end. */
export type ReadBody =
  | { readonly kind: 'body'; readonly body: Buffer }
  | { readonly kind: 'too-large' }
  | { readonly kind: 'gone' };

/** Reads at most `maxBytes`. */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<ReadBody> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) {
      resolve({ kind: 'too-large' });
      return;
    }
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) {
        request.pause();
        resolve({ kind: 'too-large' });
        return;
      }
      chunks.push(chunk);
    });
    request.once('end', () => resolve({ kind: 'body', body: Buffer.concat(chunks) }));
    request.once('close', () => resolve({ kind: 'gone' }));
    request.once('error', () => resolve({ kind: 'gone' }));
  });
}
