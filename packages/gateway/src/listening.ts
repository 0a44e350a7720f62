/**
 * Binding a server to its address and ending it. Owns the errors of both, which name the flag that helps.
 */
import type { Server } from 'node:http';
import { AimError, type EndpointAddress } from '@aim-gpu/core';

/** Binds a server; resolves to the address with the port that was taken. `flag` is named in the hint when it cannot be. */
export function listen(
  server: Server,
  { host, port }: EndpointAddress,
  flag: string,
): Promise<EndpointAddress> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(cannotListen({ host, port }, flag, cause)),
    );
    server.listen({ host, port }, () => {
      const bound = server.address();
      resolve({ host, port: typeof bound === 'object' && bound !== null ? bound.port : port });
    });
  });
}

/** Ends a server with all its connections. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function cannotListen(
  { host, port }: EndpointAddress,
  flag: string,
  cause: NodeJS.ErrnoException,
): AimError {
  const where = `${host}:${port}`;
  if (cause.code === 'EADDRINUSE') {
    return new AimError({
      code: 'ERR_PORT_IN_USE',
      kind: 'conflict',
      message: `${where} is in use by another process`,
      hint: `give another address with ${flag}, or port 0 for a free one`,
      details: { host, port },
      cause,
    });
  }
  return new AimError({
    code: 'ERR_LISTEN',
    kind: cause.code === 'EACCES' ? 'denied' : 'unavailable',
    message: `cannot listen on ${where}: ${cause.code ?? cause.message}`,
    hint: `give another address with ${flag}`,
    details: { host, port },
    cause,
  });
}
