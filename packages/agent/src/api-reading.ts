/**
 * Routes that only read: health, status, plan, fleet. Owns their paths; every answer comes from the agent.
 */
import { createRoute, type OpenAPIHono } from '@hono/zod-openapi';
import { failure, json, missing, reply } from './api-route.js';
import { fleetSchema, healthSchema, planSchema, statusSchema } from './api-schema.js';
import type { ControlTarget } from './control-target.js';

/** Adds `/healthz` and `/readyz`. */
export function addHealth(app: OpenAPIHono, target: ControlTarget): void {
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

/** Adds the documents. */
export function addDocuments(app: OpenAPIHono, target: ControlTarget): void {
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
