/**
 * Finds a TCP port nobody listens on. Effects: binds for a moment. Another process may take the port before it is
 * used; the engine then fails to bind, and its restart gets another one.
 */
import { createServer } from 'node:net';

/** A free TCP port of a host. */
export function findFreePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port: 0, exclusive: true }, () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
