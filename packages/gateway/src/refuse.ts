/**
 * Writes an answer that says no. Owns the writing; what it says is openai-error.ts's.
 */
import type { ServerResponse } from 'node:http';
import { type OpenAiError, refusalHeaders } from './openai-error.js';

/** Sends an answer that says no, with further headers (names and values in turn); returns its status. */
export function refuse(
  response: ServerResponse,
  error: OpenAiError,
  headers: readonly string[],
): number {
  if (response.headersSent || response.destroyed) return error.status;
  const body = Buffer.from(JSON.stringify(error.body));
  response.writeHead(error.status, [
    'content-type',
    'application/json',
    'content-length',
    String(body.length),
    ...refusalHeaders(error),
    ...headers,
  ]);
  response.end(body);
  return error.status;
}
