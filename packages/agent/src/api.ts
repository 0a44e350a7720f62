/**
 * The agent's API: its routes together, their failures by the table of DESIGN §5, and its OpenAPI document. The same
 * routes are served on the control socket and, when asked for, over TCP. Owns no path; those are in api-*.ts.
 */
import {
  AimError,
  httpStatusOf,
  type Logger,
  silentLogger,
  toAimError,
  toErrorDocument,
} from '@aim-gpu/core';
import { OpenAPIHono } from '@hono/zod-openapi';
import { bodyLimit } from 'hono/body-limit';
import { addChanges } from './api-changes.js';
import { addEvents } from './api-events.js';
import { addInstances } from './api-instances.js';
import { addDocuments, addHealth } from './api-reading.js';
import { missing } from './api-route.js';
import type { ControlTarget } from './control-target.js';

/** Fleet files are small; the largest of ours has 20 kB. */
const MOST_BODY_BYTES = 4 * 2 ** 20;

/** What {@link createApi} serves. */
export interface ApiOptions {
  readonly target: ControlTarget;
  readonly logger: Logger;
}

/** Makes the routes. */
export function createApi(options: ApiOptions): OpenAPIHono {
  const { target, logger } = options;
  const app = new OpenAPIHono({
    defaultHook: (result) => {
      if (!result.success) throw badRequest(result.error);
    },
  });
  app.use(
    bodyLimit({
      maxSize: MOST_BODY_BYTES,
      onError: () => {
        throw new AimError({
          code: 'ERR_CONFIG_INVALID',
          kind: 'invalid',
          message: `the body is larger than ${MOST_BODY_BYTES} bytes`,
        });
      },
    }),
  );
  addHealth(app, target);
  addDocuments(app, target);
  addInstances(app, target);
  addChanges(app, target);
  addEvents(app, target);
  app.get('/openapi.json', (context) => context.json(toDocument(app)));
  app.notFound((context) => {
    const error = missing(
      'ERR_ROUTE_UNKNOWN',
      `there is no ${context.req.method} ${context.req.path}`,
    );
    return context.json({ error: toErrorDocument(error) }, 404);
  });
  app.onError((cause, context) => {
    const error = isMalformed(cause) ? malformedBody() : toAimError(cause);
    if (error.kind === 'internal') logger.error('control-error', { message: error.message });
    return Response.json(
      { error: toErrorDocument(error) },
      { status: httpStatusOf(error.kind), headers: context.res.headers },
    );
  });
  return app;
}

/** The OpenAPI document of the API. */
export function describeApi(): Record<string, unknown> {
  const nobody = (): never => {
    throw new Error('routes are only described here');
  };
  const target = new Proxy({}, { get: nobody }) as ControlTarget;
  return toDocument(createApi({ target, logger: silentLogger }));
}

function toDocument(app: OpenAPIHono): Record<string, unknown> {
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'AIM GPU Sharing agent',
      version: 'v1alpha1',
      description: 'One node under care: what runs, what is wanted, and how to change it.',
      license: { name: 'MIT' },
    },
  }) as unknown as Record<string, unknown>;
}

function badRequest(error: {
  readonly issues: readonly { path: PropertyKey[]; message: string }[];
}) {
  const [issue] = error.issues;
  const where =
    issue === undefined || issue.path.length === 0 ? 'the request' : issue.path.join('.');
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `${where}: ${issue?.message ?? 'is not as described'}`,
    hint: 'GET /openapi.json describes every request',
  });
}

/** What hono throws for a body that is no JSON. */
function isMalformed(cause: unknown): boolean {
  return cause instanceof Error && 'status' in cause && cause.status === 400;
}

function malformedBody(): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: 'the body is not JSON',
  });
}
