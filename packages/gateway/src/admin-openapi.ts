/**
 * The admin face's routes as data, and the OpenAPI document made from them. Owns the document's form.
 */
import type { Context } from 'hono';
import { z } from 'zod';
import { errorSchema } from './admin-schema.js';

/** One route: what is served, and what the document says of it. */
export interface AdminRoute {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** As hono has it: `/v1/keys/:id`. */
  readonly path: string;
  readonly summary: string;
  /** What the body must be. */
  readonly body?: z.ZodType;
  /** Answers by status; a schema for JSON, null for text. */
  readonly answers: Readonly<Record<number, z.ZodType | null>>;
  /** Whether it is served to those only who have the admin token, on loopback too. */
  readonly needsToken?: boolean;
  handle(context: Context): Response | Promise<Response>;
}

function toSchema(schema: z.ZodType): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' });
  return rest;
}

function toContent(schema: z.ZodType | null): object {
  return schema === null
    ? { 'text/plain': { schema: { type: 'string' } } }
    : { 'application/json': { schema: toSchema(schema) } };
}

function toOperation({ path, summary, body, answers }: AdminRoute): object {
  const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name);
  const responses = Object.entries(answers).map(([status, schema]) => [
    status,
    { description: summary, content: toContent(schema) },
  ]);
  const failure = {
    description: 'the error, by its kind',
    content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
  };
  return {
    summary,
    ...(names.length === 0
      ? {}
      : {
          parameters: names.map((name) => ({
            name,
            in: 'path',
            required: true,
            schema: { type: 'string' },
          })),
        }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: toContent(body) } }),
    responses: { ...Object.fromEntries(responses), default: failure },
  };
}

/** An OpenAPI 3.1 document of routes. */
export function toOpenApi(routes: readonly AdminRoute[]): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: toOperation(route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'AIM GPU Sharing gateway admin',
      version: 'v1alpha1',
      description: 'Health, queues, keys and limits of one gateway.',
      license: { name: 'MIT' },
    },
    components: {
      schemas: { Error: toSchema(errorSchema) },
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
    },
    security: [{ token: [] }],
    paths,
  };
}
