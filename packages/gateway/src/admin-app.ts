/**
 * The operator's face: health, readiness, metrics, queues, live requests, drain, with keys and limits from
 * admin-tenants.ts; answering by DESIGN's table of kinds. Not for clients of models. One table of routes is what is
 * served and what `/openapi.json` says.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { AimError, type ErrorKind, httpStatusOf, toAimError, toErrorDocument } from '@aim-gpu/core';
import type { Qos } from '@aim-gpu/qos';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { type AdminRoute, toOpenApi } from './admin-openapi.js';
import { drainSchema, endpointsSchema, queuesSchema, requestsSchema } from './admin-schema.js';
import { tenantRoutes } from './admin-tenants.js';
import type { LiveExchanges } from './live-exchanges.js';
import { isLoopbackHost } from './loopback.js';
import type { ServedModels } from './served-models.js';
import type { TenantAdmin } from './tenant-changes.js';

/** What the admin face shows. */
export interface AdminSources {
  readonly served: ServedModels;
  readonly live: LiveExchanges;
  readonly qos: Qos;
  /** Null where tenants cannot be changed while they are served. */
  readonly tenants: TenantAdmin | null;
  /** Null asks nobody for one. */
  readonly token: string | null;
  readonly exposition: () => Promise<string>;
  readonly isDraining: () => boolean;
  readonly drain: () => void;
}

/** Makes the routes. */
export function createAdminApp(sources: AdminSources): Hono {
  const { token } = sources;
  const routes = [...toRoutes(sources), ...tenantRoutes(sources)];
  const app = new Hono();
  app.use(bodyLimit({ maxSize: MOST_BODY_BYTES, onError: () => refuse(...TOO_LARGE) }));
  app.use(async (context, next) => {
    // A page in somebody's browser must not speak for them, on loopback neither.
    if (context.req.method !== 'GET' && context.req.header('origin') !== undefined)
      return refuse('ERR_ORIGIN_REFUSED', 'denied', 'this is not for pages in browsers');
    const isOpen = OPEN.has(context.req.path);
    // Without a token it listens on loopback only, and a name of anybody's may lead there.
    if (token === null && !isOpen && !isLoopbackHost(context.req.header('host')))
      return refuse(...WRONG_HOST);
    if (token !== null && !isOpen && !isBearer(context, token))
      return refuse('ERR_TOKEN_REFUSED', 'denied', 'send the admin token as a bearer token');
    return await next();
  });
  for (const { method, path, needsToken, handle } of routes) {
    app.on(method, path, (context) =>
      needsToken === true && token === null ? refuse(...NO_TOKEN) : handle(context),
    );
  }
  app.onError((cause) => {
    const error = toAimError(cause);
    return Response.json({ error: toErrorDocument(error) }, { status: httpStatusOf(error.kind) });
  });
  const openApi = toOpenApi(routes);
  app.get('/openapi.json', (context) => context.json(openApi));
  app.notFound((context) =>
    refuse(
      'ERR_ROUTE_UNKNOWN',
      'missing',
      `there is no ${context.req.method} ${context.req.path}`,
      'routes are in /openapi.json',
    ),
  );
  return app;
}

/** Keys and limits are small. */
const MOST_BODY_BYTES = 64 * 1024;
const TOO_LARGE = ['ERR_CONFIG_INVALID', 'invalid', 'the body is larger than 64 KiB'] as const;
/** Whoever reaches loopback may look; a key opens every model for good. */
const NO_TOKEN = [
  'ERR_TOKEN_NEEDED',
  'denied',
  'keys and limits are changed with an admin token only',
  'start with AIM_GPU_ADMIN_TOKEN set',
] as const;

const WRONG_HOST = [
  'ERR_HOST_REFUSED',
  'denied',
  'without a token this answers to the names of this machine only',
  'ask 127.0.0.1 or localhost, or start with AIM_GPU_ADMIN_TOKEN set',
] as const;

/** Asked by machines that have no token. */
const OPEN: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

function toRoutes({
  served,
  live,
  qos,
  exposition,
  isDraining,
  drain,
}: AdminSources): readonly AdminRoute[] {
  return [
    {
      method: 'GET',
      path: '/healthz',
      answers: { 200: null },
      summary: 'Whether the process answers.',
      handle: (context) => context.text('ok\n'),
    },
    {
      method: 'GET',
      path: '/readyz',
      answers: { 200: null, 503: null },
      summary:
        '503 while no model at all could serve, or draining; else ok and who is missing. Parked models can.',
      handle: (context) => {
        if (isDraining()) return context.text('draining\n', 503);
        const all = served.all();
        // A parked model sleeps until somebody asks, so a gateway that got no traffic would never wake it.
        const missing = all.filter(({ ready, model }) => ready === 0 && model.parked !== true);
        const names = missing.map(({ model }) => model.workload).join(', ');
        // One model that is away must not take the others' traffic away.
        if (missing.length === all.length)
          return context.text(`not ready: ${names === '' ? 'no models' : names}\n`, 503);
        return context.text(missing.length === 0 ? 'ok\n' : `ok, without: ${names}\n`);
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      answers: { 200: null },
      summary: "Everything counted, in Prometheus' text format.",
      handle: async (context) =>
        context.body(await exposition(), 200, {
          'content-type': 'text/plain; version=0.0.4; charset=utf-8',
        }),
    },
    {
      method: 'GET',
      path: '/v1/queues',
      answers: { 200: queuesSchema },
      summary: 'Queues by model and band, with predicted waits and SLOs.',
      handle: (context) =>
        context.json({ inFlight: qos.inFlight, waiting: qos.waiting, models: qos.report() }),
    },
    {
      method: 'GET',
      path: '/v1/endpoints',
      answers: { 200: endpointsSchema },
      summary: 'Every endpoint of every model.',
      handle: (context) =>
        context.json({
          endpoints: served.all().flatMap(({ endpoints }) => [...endpoints.values()]),
        }),
    },
    {
      method: 'GET',
      path: '/v1/requests',
      answers: { 200: requestsSchema },
      summary: 'Requests under way; nothing of what is said in them.',
      handle: (context) => context.json({ requests: live.views() }),
    },
    {
      method: 'POST',
      path: '/v1/drain',
      answers: { 202: drainSchema },
      summary: 'Refuses newcomers and lets what runs end. There is no way back.',
      handle: (context) => {
        drain();
        return context.json({ draining: true, open: live.size }, 202);
      },
    },
  ];
}

function isBearer(context: Context, token: string): boolean {
  const [, given = ''] = /^Bearer +(\S+)$/i.exec(context.req.header('authorization') ?? '') ?? [];
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function refuse(code: string, kind: ErrorKind, message: string, hint?: string): Response {
  const error = new AimError({ code, kind, message, ...(hint === undefined ? {} : { hint }) });
  const status = code === 'ERR_TOKEN_REFUSED' ? 401 : httpStatusOf(kind);
  return Response.json({ error: toErrorDocument(error) }, { status });
}

/** The OpenAPI document of the admin face. */
export function adminDocument(): Record<string, unknown> {
  const nobody = (): never => {
    throw new Error('routes are only described here');
  };
  const sources = new Proxy({}, { get: () => nobody }) as AdminSources;
  return toOpenApi([...toRoutes(sources), ...tenantRoutes(sources)]);
}
