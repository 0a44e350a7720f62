/** A gateway in front of a small engine that answers in vLLM's shapes: text, tools, embeddings. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import {
  cardId,
  type EndpointDirectory,
  type InstanceId,
  nodeName,
  silentLogger,
  silentMetrics,
  systemClock,
  systemIds,
  tenantName,
  workloadName,
} from '@aim-gpu/core';
import { aTenant } from '@aim-gpu/core/testing';
import { createGateway, resolveTenants } from '@aim-gpu/gateway';

/** What the engine was asked. */
interface Asked {
  readonly path: string;
  readonly body: Record<string, unknown>;
}

/** A running pair. */
export interface Served {
  readonly url: string;
  readonly key: string;
  readonly asked: Asked[];
  readonly aborted: () => number;
  close(): Promise<void>;
}

const USAGE = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };
const TOOL = {
  id: 'call_1',
  type: 'function',
  function: { name: 'weather', arguments: '{"city":"Oslo"}' },
};

/** Starts both on free ports. The tenant may send `requestsPerMinute`, all of them at once. */
export async function serve(requestsPerMinute: number | null = null): Promise<Served> {
  const asked: Asked[] = [];
  let aborted = 0;
  const engine = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
      const path = request.url ?? '';
      asked.push({ path, body });
      response.on('close', () => {
        if (!response.writableFinished) aborted += 1;
      });
      answer(response, path, body);
    });
  });
  const workload = workloadName('chat');
  const port = await listen(engine);
  const directory: EndpointDirectory = {
    models: () => [
      {
        workload,
        aliases: ['gpt-4o-mini', 'text-embedding-3-small'],
        adapters: ['chat-legal'],
        band: 'interactive',
        fallback: null,
        maxModelLen: 4096,
      },
    ],
    endpoints: () => [
      {
        instance: 'chat-0' as InstanceId,
        workload,
        address: { host: '127.0.0.1', port },
        node: nodeName('node-a'),
        card: cardId('0000:0c:00.0'),
        partition: 0,
        state: 'ready',
        maxNumSeqs: 8,
        kvCapacityTokens: 100_000,
      },
    ],
    request: () => Promise.resolve(),
    subscribe: () => () => undefined,
  };
  const key = 'sk-test';
  const tenant = aTenant({
    name: tenantName('team'),
    keys: [{ kind: 'env', name: 'KEY' }],
    bands: ['interactive', 'standard'],
    limits: {
      requestsPerMinute,
      inputTokensPerMinute: null,
      outputTokensPerMinute: null,
      concurrent: null,
    },
  });
  const local = { host: '127.0.0.1', port: 0 };
  const gateway = createGateway({
    directory,
    tenants: await resolveTenants([tenant], { env: { KEY: key } }),
    clock: systemClock,
    ids: systemIds,
    logger: silentLogger,
    metrics: silentMetrics,
    exposition: () => Promise.resolve(''),
    listen: local,
    adminListen: local,
  });
  await gateway.start();
  return {
    url: `http://127.0.0.1:${gateway.address.port}/v1`,
    key,
    asked,
    aborted: () => aborted,
    close: async () => {
      await gateway.close();
      engine.closeAllConnections();
      await new Promise<void>((resolve) => engine.close(() => resolve()));
    },
  };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const bound = server.address();
      resolve(typeof bound === 'object' && bound !== null ? bound.port : 0);
    });
  });
}

function answer(response: ServerResponse, path: string, body: Record<string, unknown>): void {
  if (path === '/v1/embeddings') {
    const vector = [0.25, -0.5, 1];
    const embedding =
      body['encoding_format'] === 'base64'
        ? Buffer.from(new Float32Array(vector).buffer).toString('base64')
        : vector;
    const data = [body['input']]
      .flat()
      .map((_, index) => ({ object: 'embedding', index, embedding }));
    json(response, { object: 'list', model: body['model'], data, usage: USAGE });
    return;
  }
  const messages = body['messages'] as { content: unknown }[] | undefined;
  if (messages?.some(({ content }) => content === 'too long')) {
    response.writeHead(400, { 'content-type': 'application/json' });
    const message = 'This model has a context of 4096 tokens.';
    response.end(JSON.stringify({ error: { message, type: 'BadRequestError', code: 400 } }));
    return;
  }
  const forever = messages?.some(({ content }) => content === 'for ever') === true;
  if (body['stream'] === true) stream(response, body, forever);
  else whole(response, body);
}

function json(response: ServerResponse, document: object): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(document));
}

function whole(response: ServerResponse, body: Record<string, unknown>): void {
  const message =
    body['tools'] === undefined
      ? { role: 'assistant', content: 'one two three' }
      : { role: 'assistant', content: null, tool_calls: [TOOL] };
  const finish = body['tools'] === undefined ? 'stop' : 'tool_calls';
  const choices = [{ index: 0, message, finish_reason: finish, logprobs: null }];
  json(response, {
    id: 'c',
    object: 'chat.completion',
    created: 1,
    model: body['model'],
    choices,
    usage: USAGE,
  });
}

function stream(response: ServerResponse, body: Record<string, unknown>, forever: boolean): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const frame = { id: 'c', object: 'chat.completion.chunk', created: 1, model: body['model'] };
  const send = (document: object): void =>
    void response.write(`data: ${JSON.stringify({ ...frame, ...document })}\n\n`);
  const delta = (content: object, finish: string | null = null): void =>
    send({ choices: [{ index: 0, delta: content, finish_reason: finish }] });
  delta({ role: 'assistant', content: '' });
  if (forever) {
    const timer = setInterval(() => delta({ content: 'x ' }), 5);
    response.on('close', () => clearInterval(timer));
    return;
  }
  if (body['tools'] === undefined) {
    for (const content of ['one ', 'two ', 'three']) delta({ content });
    delta({}, 'stop');
  } else {
    delta({ tool_calls: [{ index: 0, ...TOOL }] });
    delta({}, 'tool_calls');
  }
  const options = body['stream_options'] as { include_usage?: boolean } | undefined;
  if (options?.include_usage === true) send({ choices: [], usage: USAGE });
  response.end('data: [DONE]\n\n');
}
