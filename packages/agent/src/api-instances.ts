/**
 * Routes of instances: what they are, what they printed, drain, restart. Owns their paths; the agent does the work.
 */
import type { InstanceId } from '@aim-gpu/core';
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { failure, json, missing, reply, undoBody } from './api-route.js';
import { acceptedSchema, instanceSchema, instancesSchema, logsSchema } from './api-schema.js';
import type { ControlTarget } from './control-target.js';

const instanceParam = z.object({
  instance: z.string().openapi({ param: { name: 'instance', in: 'path' }, example: 'assistant-0' }),
});
/** Adds them. */
export function addInstances(app: OpenAPIHono, target: ControlTarget): void {
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
    async (context) => {
      const { undo } = context.req.valid('json') ?? {};
      await target.drain(context.req.valid('param').instance as InstanceId, {
        undo: undo === true,
      });
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
