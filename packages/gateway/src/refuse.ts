/**
 * Writes an answer that says no. Owns the writing; what it says is openai-error.ts's.
 */
import type { ClientResponse } from './client-response.js';
import { type OpenAiError, refusalHeaders } from './openai-error.js';

/** Sends an answer that says no, with further headers (names and values in turn); returns its status. */
export function refuse(
  response: ClientResponse,
  error: OpenAiError,
  headers: readonly string[],
): number {
  if (response.headersSent || response.destroyed) return error.status;
  const body = Buffer.from(JSON.stringify(error.body));
  response.begin(error.status, [
    'content-type',
    'application/json',
    'content-length',
    String(body.length),
    ...refusalHeaders(error),
    ...headers,
  ]);
  response.finish(body);
  return error.status;
}
