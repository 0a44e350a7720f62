/**
 * The agent's API over TCP, for other machines: opt-in, with a token always and TLS on every address but loopback. Owns
 * the port and who may ask; the routes are in api.ts.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  AimError,
  createLease,
  type EndpointAddress,
  type Lease,
  type Logger,
  silentLogger,
  toErrorDocument,
} from '@aim-gpu/core';
import { createApiListener } from './api-listener.js';
import type { ControlTarget } from './control-target.js';

/** Input of {@link serveApi}. */
export interface ServeApiOptions {
  readonly target: ControlTarget;
  /** Port 0 takes a free one. */
  readonly listen: EndpointAddress;
  /** What a client sends as `Authorization: Bearer …`; at least 16 characters. */
  readonly token: string;
  /** Certificate and key in PEM; null serves plain HTTP, on loopback only. */
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly logger?: Logger;
}

/** A served API. */
export interface ServedApi extends Lease {
  readonly address: EndpointAddress;
}

const LEAST_TOKEN_LENGTH = 16;
const LOOPBACK = /^(?:127\.\d+\.\d+\.\d+|::1|localhost)$/;
/** Probes of a load balancer have no token, and learn nothing but a word. */
const OPEN_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

/**
 * Serves the API until the lease is released. Throws `ERR_API_TOKEN` (invalid) for a token that is too short or has blanks,
 * `ERR_API_OPEN` (denied) without TLS on another address than loopback, `ERR_PORT_IN_USE` (conflict) and `ERR_LISTEN`
 * (unavailable).
 */
export async function serveApi(options: ServeApiOptions): Promise<ServedApi> {
  const { target, listen, token, tls, logger = silentLogger } = options;
  if (token.length < LEAST_TOKEN_LENGTH || /\s/.test(token)) throw badToken();
  if (tls === null && !LOOPBACK.test(listen.host)) throw openToAll(listen.host);
  const digest = digestOf(token);
  const answer = createApiListener({
    target,
    logger,
    refuse: (request) => {
      const mayAsk =
        OPEN_PATHS.has(new URL(request.url).pathname) ||
        isToken(request.headers.get('authorization'), digest);
      return mayAsk ? null : unauthorized();
    },
  });
  const server = tls === null ? createServer(answer) : createTlsServer(tls, answer);
  try {
    server.listen(listen.port, listen.host);
    await once(server, 'listening');
  } catch (cause) {
    throw cannotListen(listen, cause);
  }
  const { port } = server.address() as AddressInfo;
  return {
    address: { host: listen.host, port },
    ...createLease(async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    }),
  };
}

function isToken(header: string | null, digest: Buffer): boolean {
  const given = /^Bearer (\S+)$/i.exec(header ?? '')?.[1];
  return given !== undefined && timingSafeEqual(digestOf(given), digest);
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function unauthorized(): Response {
  const error = new AimError({
    code: 'ERR_API_DENIED',
    kind: 'denied',
    message: 'the token is missing or wrong',
    hint: 'send it as Authorization: Bearer …',
  });
  return Response.json({ error: toErrorDocument(error) }, { status: 403 });
}

function badToken(): AimError {
  return new AimError({
    code: 'ERR_API_TOKEN',
    kind: 'invalid',
    message: `the API's token is shorter than ${LEAST_TOKEN_LENGTH} characters, or has blanks`,
    hint: 'make one with: openssl rand -hex 32',
  });
}

function openToAll(host: string): AimError {
  return new AimError({
    code: 'ERR_API_OPEN',
    kind: 'denied',
    message: `the API would listen on ${host} without TLS`,
    hint: 'give it a certificate, or listen on 127.0.0.1',
  });
}

function cannotListen({ host, port }: EndpointAddress, cause: unknown): AimError {
  const inUse = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
  return new AimError({
    code: inUse ? 'ERR_PORT_IN_USE' : 'ERR_LISTEN',
    kind: inUse ? 'conflict' : 'unavailable',
    message: `the API cannot listen on ${host}:${port}: ${(cause as Error).message}`,
    hint: 'choose another --api-listen',
    cause,
  });
}
