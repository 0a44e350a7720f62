// The proxies that the gateway is measured against, each as small as its author would write it: `undici-ref-llm` is
// undici's dispatch with the body parsed and tokens timed and no QoS; the others are libraries as they come.
import { Agent, createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import replyFrom from '@fastify/reply-from';
import fastify from 'fastify';
import httpProxy from 'http-proxy';
import { type Dispatcher, Pool } from 'undici';

/** A proxy on a port in front of another. */
export type StartPeer = (port: number, upstream: string) => Promise<void>;

const HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'host', 'upgrade', 'te']);
const POOL = { connections: 1024, pipelining: 1, bodyTimeout: 0, headersTimeout: 0 } as const;

function clean(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const kept: IncomingHttpHeaders = {};
  for (const name in headers) if (!HOP.has(name)) kept[name] = headers[name];
  return kept;
}

/** Times tokens into a logarithmic histogram, the least an LLM proxy must do. */
class Meter implements Dispatcher.DispatchHandler {
  static readonly histogram: Uint32Array = new Uint32Array(1024);
  tokens: number = 0;
  readonly #response: ServerResponse;
  readonly #isStream: boolean;
  #last: number = performance.now();

  constructor(response: ServerResponse, isStream: boolean) {
    this.#response = response;
    this.#isStream = isStream;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#response.on('close', () => {
      if (!this.#response.writableEnded) controller.abort(new Error('the client has gone'));
    });
    this.#response.on('drain', () => controller.resume());
  }

  onResponseStart(_: unknown, status: number, headers: IncomingHttpHeaders): void {
    this.#response.writeHead(status, clean(headers));
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isStream) {
      const now = performance.now();
      const bucket = Math.min(1023, (Math.log2((now - this.#last) * 64 + 1) * 48) | 0);
      Meter.histogram[bucket] = (Meter.histogram[bucket] ?? 0) + 1;
      this.#last = now;
      for (let at = chunk.indexOf('data:'); at >= 0; at = chunk.indexOf('data:', at + 1))
        this.tokens += 1;
    }
    if (!this.#response.write(chunk)) controller.pause();
  }

  onResponseEnd(): void {
    this.#response.end();
  }

  onResponseError(): void {
    if (!this.#response.headersSent) this.#response.statusCode = 502;
    this.#response.end();
  }
}

const undiciRefLlm: StartPeer = (port, upstream) => {
  const pool = new Pool(upstream, POOL);
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const [only] = chunks;
      const body = chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks);
      const { stream } = JSON.parse(body.toString()) as { stream?: unknown };
      pool.dispatch(
        {
          path: request.url ?? '/',
          method: (request.method ?? 'POST') as Dispatcher.HttpMethod,
          headers: clean(request.headers),
          body,
        },
        new Meter(response, stream === true),
      );
    });
  });
  return new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
};

const fastifyReplyFrom: StartPeer = async (port, upstream) => {
  const app = fastify({ logger: false });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  await app.register(replyFrom, { base: upstream, undici: POOL });
  app.all('/*', (request, reply) => reply.from(request.url));
  await app.listen({ port, host: '127.0.0.1' });
};

const plainHttpProxy: StartPeer = (port, upstream) => {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 2048, noDelay: true });
  const proxy = httpProxy.createProxyServer({ target: upstream, agent });
  proxy.on('error', (_error, _request, response) => void response.end());
  const server = createServer((request, response) => proxy.web(request, response));
  return new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
};

/** Every peer by name. */
export const PEERS: Readonly<Record<string, StartPeer>> = {
  'undici-ref-llm': undiciRefLlm,
  'fastify-reply-from': fastifyReplyFrom,
  'http-proxy': plainHttpProxy,
};
