/**
 * Control socket: the agent's API on a unix socket that only its owner may open, for `status`, `apply`, `down` and
 * every other command. Owns the socket; the routes are in api.ts.
 */
import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { AimError, createLease, type Lease, type Logger, silentLogger } from '@aim-gpu/core';
import { createApiListener } from './api-listener.js';
import { isListening } from './control-client.js';
import type { ControlTarget } from './control-target.js';

/** Input of {@link serveControl}. */
export interface ServeControlOptions {
  readonly target: ControlTarget;
  readonly socketPath: string;
  readonly logger?: Logger;
}

/**
 * Serves the control socket until the lease is released. Throws `ERR_STATE_LOCKED` (conflict) when another agent
 * answers on it; a socket left by a dead one is replaced. Throws `ERR_SOCKET_FAILED` (unavailable) when it cannot be
 * made.
 */
export async function serveControl(options: ServeControlOptions): Promise<Lease> {
  const { socketPath } = options;
  if (await isListening(socketPath)) {
    throw new AimError({
      code: 'ERR_STATE_LOCKED',
      kind: 'conflict',
      message: `another agent answers on ${socketPath}`,
      hint: 'stop it with `aim-gpu down`, or use another --state-dir',
    });
  }
  await rm(socketPath, { force: true });
  const { target, logger = silentLogger } = options;
  const server = createServer(createApiListener({ target, logger }));
  try {
    server.listen(socketPath);
    await once(server, 'listening');
    await chmod(socketPath, 0o600);
  } catch (cause) {
    server.close();
    throw socketFailed(socketPath, cause);
  }
  return createLease(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
    await rm(socketPath, { force: true });
  });
}

function socketFailed(socketPath: string, cause: unknown): AimError {
  return new AimError({
    code: 'ERR_SOCKET_FAILED',
    kind: 'unavailable',
    message: `cannot listen on ${socketPath}: ${cause instanceof Error ? cause.message : cause}`,
    hint: 'its directory must exist, be yours, and have a path below 100 characters',
    cause,
  });
}
