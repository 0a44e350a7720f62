/**
 * A small engine for tests: vLLM's shapes over HTTP, with behaviours by prompt word. Made up for these tests; what the
 * shapes are checked against is the simulated engine, in the end-to-end tests.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { EndpointAddress } from '@aim-gpu/core';

/** What the engine was asked. */
interface Seen {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Record<string, unknown>;
}

/** How the engine answers. */
type Behaviour =
  | 'normal'
  | 'full'
  | 'reset'
  | 'break'
  | 'silent'
  | 'pause'
  | 'cut'
  | 'flood'
  | 'error';

/** A running fake engine. */
export interface FakeEngine {
  readonly address: EndpointAddress;
  readonly seen: Seen[];
  /** Requests whose connection the gateway dropped. */
  readonly aborted: () => number;
  behave(behaviour: Behaviour): void;
  /** Bytes that `flood` could write so far. */
  readonly flooded: () => number;
  /** Ends the streams that `pause` left open. */
  finish(): void;
  close(): Promise<void>;
}

const FLOOD_BYTES = 400_000_000;

/** Starts one on a free port. */
export async function startFakeEngine(): Promise<FakeEngine> {
  const seen: Seen[] = [];
  let behaviour: Behaviour = 'normal';
  const paused: ServerResponse[] = [];
  let aborted = 0;
  let flooded = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString() || '{}') as Record<string, unknown>;
      seen.push({ path: request.url ?? '', headers: request.headers, body });
      response.on('close', () => {
        if (!response.writableFinished) aborted += 1;
      });
      if (behaviour === 'flood') {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const event = `data: {"choices":[{"delta":{"content":"${'x'.repeat(60_000)}"}}]}\n\n`;
        const more = (): void => {
          do flooded += event.length;
          while (response.write(event) && flooded < FLOOD_BYTES);
        };
        response.on('drain', more);
        more();
        return;
      }
      if (behaviour === 'pause') paused.push(response);
      answer(response, body, behaviour);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const bound = server.address();
  return {
    address: {
      host: '127.0.0.1',
      port: typeof bound === 'object' && bound !== null ? bound.port : 0,
    },
    seen,
    aborted: () => aborted,
    behave: (next) => {
      behaviour = next;
    },
    flooded: () => flooded,
    finish: () => {
      for (const response of paused.splice(0)) response.end('data: [DONE]\n\n');
    },
    close: () => closeServer(server),
  };
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

const USAGE = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };

function answer(
  response: ServerResponse,
  body: Record<string, unknown>,
  behaviour: Behaviour,
): void {
  const model = body['model'];
  if (behaviour === 'full' || behaviour === 'error') {
    response.writeHead(behaviour === 'full' ? 503 : 400, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ error: { message: 'no', type: 'BadRequestError', code: 400 } }));
    return;
  }
  if (behaviour === 'reset') {
    response.destroy();
    return;
  }
  if (behaviour === 'cut') {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
    response.write('{"id":');
    setImmediate(() => response.destroy());
    return;
  }
  if (body['stream'] !== true) {
    response.writeHead(200, { 'content-type': 'application/json', server: 'uvicorn' });
    const message = { role: 'assistant', content: 'one two three' };
    response.end(
      JSON.stringify({
        id: 'c',
        object: 'chat.completion',
        model,
        choices: [{ index: 0, message, finish_reason: 'stop' }],
        usage: USAGE,
      }),
    );
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  const send = (document: unknown): void =>
    void response.write(`data: ${JSON.stringify(document)}\n\n`);
  const chunk = (delta: unknown, finish: string | null = null) => ({
    id: 'c',
    object: 'chat.completion.chunk',
    model,
    choices: [{ index: 0, delta, finish_reason: finish }],
  });
  send(chunk({ role: 'assistant', content: '' }));
  if (behaviour === 'silent') return;
  send(chunk({ content: 'one ' }));
  if (behaviour === 'pause') return;
  if (behaviour === 'break') {
    setImmediate(() => response.destroy());
    return;
  }
  send(chunk({ content: 'two ' }));
  send(chunk({ content: 'three' }, 'stop'));
  const options = body['stream_options'] as { include_usage?: boolean } | undefined;
  if (options?.include_usage === true)
    send({ id: 'c', object: 'chat.completion.chunk', model, choices: [], usage: USAGE });
  response.end('data: [DONE]\n\n');
}
