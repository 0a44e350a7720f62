/**
 * Routes that change the node: apply, drain, down. Owns their paths; the agent does the work.
 */
import type { Plan } from '@aim-gpu/core';
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { failure, json, reply, undoBody } from './api-route.js';
import { acceptedSchema, appliedSchema, applyRequestSchema } from './api-schema.js';
import type { ControlTarget } from './control-target.js';

/** Adds them. */
export function addChanges(app: OpenAPIHono, target: ControlTarget): void {
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
    async (context) => {
      const { undo } = context.req.valid('json') ?? {};
      await target.drain(null, { undo: undo === true });
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
