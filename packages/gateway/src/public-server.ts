/**
 * The server that clients talk to: Node's, with its strict parser, its bounds for reading a request, and TLS where a
 * certificate is given. Owns those settings; what a request means is request-handler.ts's.
 */
import { createServer, IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Clock, Logger, MetricSink } from '@aim-gpu/core';
import { createClientErrorAnswer } from './client-error.js';
import { ClientResponse } from './client-response.js';
import type { RequestLimits } from './incoming.js';
import { readTlsPair, type TlsFiles, watchTlsPair } from './tls-files.js';

/** Makes the server, not yet listening; `stop` ends what looks after its certificate, and its connections. */
export function createPublicServer(options: {
  readonly limits: Pick<RequestLimits, 'headersMs' | 'requestMs'>;
  readonly tls: TlsFiles | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricSink;
  readonly onRequest: (request: IncomingMessage, response: ClientResponse) => void;
  /** A request that expects what no server does; nothing of its body was asked for. */
  readonly onExpectation: (request: IncomingMessage, response: ClientResponse) => void;
}): { readonly server: Server; readonly stop: () => void } {
  const { limits, tls, clock, logger, metrics, onRequest, onExpectation } = options;
  const settings = {
    ServerResponse: ClientResponse,
    IncomingMessage,
    noDelay: true,
    // Finds clients that vanished without a word.
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
    maxHeaderSize: 32 * 1024,
    requireHostHeader: true,
    insecureHTTPParser: false,
    // Node looks for slow senders that often; its own 30 s would let them stay half a minute longer.
    connectionsCheckingInterval: Math.min(5_000, limits.headersMs / 4),
  };
  let server: Server;
  let stop = (): void => undefined;
  if (tls === null) server = createServer(settings, onRequest);
  else {
    const first = readTlsPair(tls);
    const { headersMs: handshakeTimeout } = limits;
    const secure = createTlsServer(
      { ...settings, ...first, minVersion: 'TLSv1.2', handshakeTimeout },
      onRequest,
    );
    const onPair = secure.setSecureContext.bind(secure);
    const stopWatch = watchTlsPair({ files: tls, first, clock, logger, onPair });
    // Who has not shaken hands is none of HTTP's connections yet, and the server's end would wait for them.
    const sockets = new Set<Socket>();
    secure.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    stop = () => {
      stopWatch();
      for (const socket of sockets) socket.destroy();
    };
    server = secure;
  }
  server.on('checkExpectation', onExpectation);
  server.on('clientError', createClientErrorAnswer(metrics));
  // Only the reading of a request is bounded here; an answer may take as long as its band allows.
  server.headersTimeout = Math.min(limits.headersMs, limits.requestMs);
  server.requestTimeout = limits.requestMs;
  server.keepAliveTimeout = 75_000;
  return { server, stop };
}
