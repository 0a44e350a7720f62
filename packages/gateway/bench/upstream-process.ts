// An engine that costs nothing: a fixed answer, or tokens at a pace, each with the time it was written.
import { createServer, type ServerResponse } from 'node:http';

const ANSWER = Buffer.from(
  JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 1,
    model: 'm',
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 'Hello! '.repeat(30) },
        finish_reason: 'stop',
      },
    ],
    usage: { prompt_tokens: 12, completion_tokens: 60, total_tokens: 72 },
  }),
);
const TOKEN =
  'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}],"t":"';
const USAGE =
  'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":60,"total_tokens":72}}\n\n';

interface Asked {
  readonly stream?: boolean;
  readonly max_tokens?: number;
  readonly interval?: number;
  readonly stream_options?: { readonly include_usage?: boolean };
}

function stream(response: ServerResponse, asked: Asked): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const tokens = asked.max_tokens ?? 200;
  const everyMs = asked.interval ?? 20;
  let sent = 0;
  let timer: NodeJS.Timeout | undefined;
  const begin = setTimeout(() => {
    timer = setInterval(() => {
      sent += 1;
      response.write(`${TOKEN}${process.hrtime.bigint()}"}\n\n`);
      if (sent < tokens) return;
      clearInterval(timer);
      if (asked.stream_options?.include_usage === true) response.write(USAGE);
      response.end('data: [DONE]\n\n');
    }, everyMs);
  }, Math.random() * everyMs);
  response.on('close', () => {
    clearTimeout(begin);
    clearInterval(timer);
  });
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const asked = JSON.parse(Buffer.concat(chunks).toString() || '{}') as Asked;
    if (asked.stream === true) return stream(response, asked);
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': ANSWER.length,
    });
    response.end(ANSWER);
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.send?.('up'));
