/**
 * The agent's API as routes: fleet, plan, apply, instances, events, logs, drain, restart, down, health, and the OpenAPI
 * document of all that. Owns paths and the error mapping of DESIGN §5; every answer comes from the agent. The same
 * routes are served on the control socket and, when asked for, over TCP.
 */
import {
  AimError,
  httpStatusOf,
  type InstanceId,
  type Logger,
  type Plan,
  toAimError,
  toErrorDocument,
} from '@aim-gpu/core';
import { createRoute, OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { streamSSE } from 'hono/streaming';
import {
  acceptedSchema,
  appliedSchema,
  applyRequestSchema,
  errorSchema,
  eventsSchema,
  fleetSchema,
  healthSchema,
  instanceSchema,
  instancesSchema,
  logsSchema,
  planSchema,
  statusSchema,
} from './api-schema.js';
import type { ControlTarget } from './control-target.js';
import type { AgentEvent } from './event-log.js';

/** Fleet files are small; the largest of ours has 20 kB. */
const MOST_BODY_BYTES = 4 * 2 ** 20;

const json = (schema: z.ZodType, description: string) => ({
  content: { 'application/json': { schema } },
  description,
});
const failure = json(errorSchema, 'the error, by its kind');
const instanceParam = z.object({
  instance: z.string().openapi({ param: { name: 'instance', in: 'path' }, example: 'assistant-0' }),
});
const undoBody = {
  content: {
    'application/json': { schema: z.strictObject({ undo: z.boolean().optional() }) },
  },
  required: false,
};

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
export function apiDocument(): Record<string, unknown> {
  const nobody = (): never => {
    throw new Error('routes are only described here');
  };
  const target = new Proxy({}, { get: nobody }) as ControlTarget;
  const silent = (): void => undefined;
  const logger = { debug: silent, info: silent, warn: silent, error: silent };
  return toDocument(createApi({ target, logger }));
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

function addHealth(app: OpenAPIHono, target: ControlTarget): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/healthz',
      summary: 'Whether the agent answers',
      responses: { 200: json(healthSchema, 'it does'), default: failure },
    }),
    (context) => reply(context, { state: 'ok' }),
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/readyz',
      summary: 'Whether every instance serves',
      responses: {
        200: json(healthSchema, 'all of them'),
        503: json(healthSchema, 'not yet, or not all'),
        default: failure,
      },
    }),
    async (context) => {
      const { state } = await target.status();
      return reply(context, { state }, state === 'ready' ? 200 : 503);
    },
  );
}

function addDocuments(app: OpenAPIHono, target: ControlTarget): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/status',
      summary: 'The node as it is now',
      responses: { 200: json(statusSchema, 'the status document'), default: failure },
    }),
    async (context) => reply(context, await target.status()),
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/plan',
      summary: 'The plan that runs',
      responses: { 200: json(planSchema, 'the plan'), default: failure },
    }),
    (context) => {
      const plan = target.plan();
      if (plan === null) throw missing('ERR_PLAN_UNKNOWN', 'nothing was planned yet');
      return reply(context, plan);
    },
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/fleet',
      summary: 'The fleet that is served, with every default',
      responses: {
        200: json(fleetSchema, 'the fleet; keys of tenants by reference'),
        default: failure,
      },
    }),
    (context) => reply(context, target.fleet()),
  );
}

function addInstances(app: OpenAPIHono, target: ControlTarget): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/instances',
      summary: 'Every instance',
      responses: { 200: json(instancesSchema, 'the instances'), default: failure },
    }),
    async (context) => reply(context, { instances: (await target.status()).instances }),
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/instances/{instance}',
      summary: 'One instance',
      request: { params: instanceParam },
      responses: { 200: json(instanceSchema, 'the instance'), default: failure },
    }),
    async (context) => {
      const { instance } = context.req.valid('param');
      const { instances } = await target.status();
      const found = instances.find((each) => each.instance === instance);
      if (found === undefined)
        throw missing('ERR_INSTANCE_UNKNOWN', `there is no instance ${instance}`);
      return reply(context, found);
    },
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/instances/{instance}/logs',
      summary: 'The last lines an instance printed',
      request: { params: instanceParam },
      responses: { 200: json(logsSchema, 'the lines, oldest first'), default: failure },
    }),
    (context) => reply(context, { lines: target.logs(context.req.valid('param').instance) }),
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/instances/{instance}/drain',
      summary: 'Have an instance take no new requests, or take them again',
      request: { params: instanceParam, body: undoBody },
      responses: { 202: json(acceptedSchema, 'it is told so'), default: failure },
    }),
    (context) => {
      const { undo } = context.req.valid('json') ?? {};
      target.drain(context.req.valid('param').instance as InstanceId, { undo: undo === true });
      return reply(context, { accepted: true }, 202);
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/instances/{instance}/restart',
      summary: 'Replace the process of an instance, beside the old one where there is room',
      request: { params: instanceParam },
      responses: {
        202: json(acceptedSchema, 'the new one serves or is starting'),
        default: failure,
      },
    }),
    async (context) => {
      await target.restart(context.req.valid('param').instance as InstanceId);
      return reply(context, { accepted: true }, 202);
    },
  );
}

function addChanges(app: OpenAPIHono, target: ControlTarget): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/apply',
      summary: 'Bring the node to a fleet, or say what that would change',
      request: {
        body: { content: { 'application/json': { schema: applyRequestSchema } }, required: true },
      },
      responses: { 200: json(appliedSchema, 'what was changed, or would be'), default: failure },
    }),
    async (context) => {
      const { fleet: text, base, plan, dryRun } = context.req.valid('json');
      const fleet =
        text === undefined ? target.fleet() : await target.readFleet(text, { base: base ?? null });
      const applied = await target.applyFleet(fleet, {
        dryRun: dryRun === true,
        ...(plan === undefined ? {} : { plan: plan as unknown as Plan }),
      });
      return reply(context, applied);
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/drain',
      summary: 'Have every instance take no new requests, or take them again',
      request: { body: undoBody },
      responses: { 202: json(acceptedSchema, 'they are told so'), default: failure },
    }),
    (context) => {
      const { undo } = context.req.valid('json') ?? {};
      target.drain(null, { undo: undo === true });
      return reply(context, { accepted: true }, 202);
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/down',
      summary: 'Stop the engines and the agent',
      request: { query: z.object({ restoreLayout: z.enum(['true', 'false']).optional() }) },
      responses: { 202: json(acceptedSchema, 'it has begun'), default: failure },
    }),
    (context) => {
      target.down({ restoreLayout: context.req.valid('query').restoreLayout === 'true' });
      return reply(context, { accepted: true }, 202);
    },
  );
}

function addEvents(app: OpenAPIHono, target: ControlTarget): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/events',
      summary: 'What happened; with `accept: text/event-stream` also what happens from now on',
      request: {
        query: z.object({
          after: z.coerce.number().int().min(0).optional().describe('only events after this id'),
        }),
      },
      responses: {
        200: {
          description: 'the events, oldest first',
          content: {
            'application/json': { schema: eventsSchema },
            'text/event-stream': { schema: z.string() },
          },
        },
        default: failure,
      },
    }),
    (context) => {
      const { events } = target;
      const after = context.req.valid('query').after ?? 0;
      if (!(context.req.header('accept') ?? '').includes('text/event-stream')) {
        return reply(context, { events: events.after(after) });
      }
      const from = Number(context.req.header('last-event-id') ?? after);
      return streamSSE(context, async (stream): Promise<void> => {
        const send = (event: AgentEvent): Promise<void> =>
          stream.writeSSE({
            id: String(event.id),
            event: event.event,
            data: JSON.stringify(event),
          });
        // Subscribed first: what happens while the past is sent comes after it.
        const gone = new Promise<void>((resolve) => stream.onAbort(resolve));
        let sent: Promise<void> = Promise.resolve();
        const queue = (event: AgentEvent): void => {
          sent = sent.then(() => send(event)).catch(() => undefined);
        };
        for (const event of events.after(from)) queue(event);
        const unsubscribe = events.subscribe(queue);
        await gone;
        unsubscribe();
      }) as never;
    },
  );
}

/** Documents have types where they are made; zod's descriptions of them here are for the reader of the API. */
function reply(context: Context, document: object, status: 200 | 202 | 503 = 200): never {
  return context.json(document, status) as never;
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

function missing(code: string, message: string): AimError {
  return new AimError({ code, kind: 'missing', message });
}
