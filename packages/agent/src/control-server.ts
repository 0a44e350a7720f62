/**
 * Control socket: the running agent's face to `status`, `down` and every later command, as JSON over HTTP on a unix
 * socket that only its owner may open. Owns routes and the error mapping of DESIGN §5; every answer comes from the
 * agent.
 */
import { once } from 'node:events';
import { chmod, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import {
  AimError,
  createLease,
  httpStatusOf,
  type Lease,
  type Logger,
  silentLogger,
  toAimError,
  toErrorDocument,
} from '@aim-gpu/core';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
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
  const app = createRoutes(options.target, options.logger ?? silentLogger);
  const server = createServer(getRequestListener(app.fetch));
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

function createRoutes(target: ControlTarget, logger: Logger): Hono {
  const app = new Hono();
  app.get('/v1/status', async (context) => context.json(await target.status()));
  app.get('/v1/plan', (context) => {
    const plan = target.plan();
    if (plan === null) throw missing('ERR_PLAN_UNKNOWN', 'nothing was planned yet');
    return context.json(plan);
  });
  app.get('/v1/instances/:instance/logs', (context) =>
    context.json({ lines: target.logs(context.req.param('instance')) }),
  );
  app.post('/v1/down', (context) => {
    target.down({ restoreLayout: context.req.query('restoreLayout') === 'true' });
    return context.json({ accepted: true }, 202);
  });
  app.notFound((context) => {
    const error = missing(
      'ERR_ROUTE_UNKNOWN',
      `there is no ${context.req.method} ${context.req.path}`,
    );
    return context.json({ error: toErrorDocument(error) }, 404);
  });
  app.onError((cause, context) => {
    const error = toAimError(cause);
    if (error.kind === 'internal') logger.error('control-error', { message: error.message });
    return Response.json(
      { error: toErrorDocument(error) },
      { status: httpStatusOf(error.kind), headers: context.res.headers },
    );
  });
  return app;
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

function missing(code: string, message: string): AimError {
  return new AimError({ code, kind: 'missing', message });
}
