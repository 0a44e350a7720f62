/**
 * Reading request bodies and writing answers on node:http. Owns size limits and headers; knows no route.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** More than the longest prompt of any model takes. */
const MAX_BODY_BYTES = 64 * 2 ** 20;

/** The JSON of a request's body; what it is not is said as a value. */
export async function readJson(
  request: IncomingMessage,
): Promise<
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly status: 400 | 413; readonly message: string }
> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES)
      return { ok: false, status: 413, message: 'Request Entity Too Large' };
    chunks.push(chunk);
  }
  try {
    return { ok: true, value: JSON.parse(Buffer.concat(chunks).toString('utf8')) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ok: false, status: 400, message: `JSON decode error: ${reason}` };
  }
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}

/** Starts a stream of server-sent events: the headers go out at once, as vLLM's do. */
export function startEvents(response: ServerResponse): void {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache',
  });
  response.flushHeaders();
}
