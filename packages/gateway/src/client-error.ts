/**
 * The answer to what never became a request: bytes that are no HTTP, headers without measure, senders that are too slow.
 * Owns its form, OpenAI's; whether it is one is Node's parser to say.
 */
import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { MetricSink } from '@aim-gpu/core';
import { badRequest, type OpenAiError, refusalHeaders } from './openai-error.js';

const REASONS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'the headers are too large'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'the chunk extensions are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request was not sent in time'],
};

/** Makes the listener of a server's `clientError`: an answer with a body where one can still be sent, and the end. */
export function createClientErrorAnswer(
  metrics: MetricSink,
): (error: NodeJS.ErrnoException, socket: Duplex) => void {
  return (error, socket) => {
    const { code } = error;
    // Nothing can be said where no hands were shaken: it would wait for that for ever.
    const isUnshaken =
      code?.startsWith('ERR_TLS_') === true || code?.startsWith('ERR_SSL_') === true;
    if (isUnshaken || code === 'ECONNRESET' || !socket.writable || isAnswering(socket)) {
      socket.destroy();
      return;
    }
    const [status, message] = REASONS[code ?? ''] ?? [400, 'the request is no valid HTTP/1.1'];
    const answer = badRequest(message, { status });
    const labels = { code: String(status) };
    metrics.count('aim_gpu_requests_total', labels);
    metrics.count('aim_gpu_rejects_total', { ...labels, reason: 'bad_request' });
    // Not `end` alone: who sends what is no HTTP may never close its half.
    socket.end(toHttp(answer), () => socket.destroy());
  };
}

/** Whether an answer has begun on a connection; another one would become part of it. Only Node's own field tells. */
function isAnswering(socket: Duplex): boolean {
  const { _httpMessage } = socket as { _httpMessage?: ServerResponse | null };
  return _httpMessage?.headersSent === true;
}

function toHttp(answer: OpenAiError): string {
  const body = JSON.stringify(answer.body);
  const headers = ['content-type', 'application/json', 'connection', 'close'];
  headers.push('content-length', String(Buffer.byteLength(body)), ...refusalHeaders(answer));
  const lines = [`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`];
  for (let index = 0; index + 1 < headers.length; index += 2)
    lines.push(`${headers[index]}: ${headers[index + 1]}`);
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
