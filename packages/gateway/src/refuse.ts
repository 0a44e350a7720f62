/**
 * Writes an answer that says no. Owns the writing; what it says is openai-error.ts's.
 */
import type { ServerResponse } from 'node:http';
import { type OpenAiError, refusalHeaders } from './openai-error.js';

/** Sends an answer that says no; returns its status. */
export function refuse(
  response: ServerResponse,
  error: OpenAiError,
  headers: Record<string, string> = {},
): number {
  if (response.headersSent || response.destroyed) return error.status;
  response.writeHead(error.status, {
    'content-type': 'application/json',
    ...refusalHeaders(error),
    ...headers,
  });
  response.end(JSON.stringify(error.body));
  return error.status;
}
