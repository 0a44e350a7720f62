/**
 * Talking to engines: one pool of connections for each endpoint. Owns connections and header hygiene; addresses come
 * from the directory alone, never from a request.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { EndpointAddress } from '@aim-gpu/core';
import { type Dispatcher, Pool } from 'undici';

/** An engine's answer with its body still to be read. */
export type UpstreamAnswer = Dispatcher.ResponseData;

/** Connections to every engine. */
export interface Upstreams {
  /** Sends one request. Throws when the engine cannot be reached or hangs up before its headers. */
  send(
    address: EndpointAddress,
    request: {
      readonly method: string;
      readonly path: string;
      readonly headers: IncomingHttpHeaders;
      readonly requestId: string;
      readonly body: Buffer | null;
      readonly signal: AbortSignal;
    },
  ): Promise<UpstreamAnswer>;
  close(): Promise<void>;
}

// vLLM's server drops idle connections after 5 s; a connection that is kept longer meets a reset.
const KEEP_ALIVE_MS = 4000;
/** A prompt of a million tokens may take minutes; the client's own deadline and hang-up come first. */
const HEADERS_TIMEOUT_MS = 600_000;
const CONNECT_TIMEOUT_MS = 5000;
const FORWARDED =
  /^(?:accept|content-type|user-agent|openai-.*|x-stainless-.*|traceparent|tracestate)$/;
const NOT_RETURNED =
  /^(?:connection|keep-alive|transfer-encoding|te|trailer|upgrade|proxy-.*|date|server|x-request-id)$/;

/** Makes pools on demand. */
export function createUpstreams(): Upstreams {
  const pools = new Map<string, Pool>();
  const poolOf = ({ host, port }: EndpointAddress): Pool => {
    const origin = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
    const known = pools.get(origin);
    if (known !== undefined) return known;
    const pool = new Pool(origin, {
      connections: 1024,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      bodyTimeout: 0,
      connect: { timeout: CONNECT_TIMEOUT_MS },
    });
    pools.set(origin, pool);
    return pool;
  };
  return {
    send: (address, { method, path, headers, requestId, body, signal }) =>
      poolOf(address).request({
        method: method as Dispatcher.HttpMethod,
        path,
        headers: { ...forwarded(headers), 'x-request-id': requestId },
        body,
        signal,
      }),
    close: async () => {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
      pools.clear();
    },
  };
}

/** Headers that mean something to an engine. Authorization and cookies stay here. */
function forwarded(headers: IncomingHttpHeaders): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string' && FORWARDED.test(name)) kept[name] = value;
  }
  return kept;
}

/** An engine's headers as a client may see them. */
export function returnedHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !NOT_RETURNED.test(name)) kept[name] = value;
  }
  return kept;
}
