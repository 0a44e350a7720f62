/**
 * The admin face's routes as data, and the OpenAPI document made from them. Owns the document's form.
 */
import type { Context } from 'hono';

/** One route: what is served, and what the document says of it. */
export interface AdminRoute {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly summary: string;
  handle(context: Context): Response | Promise<Response>;
}

/** An OpenAPI 3.1 document of routes. */
export function toOpenApi(routes: readonly AdminRoute[]): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const { method, path, summary } of routes) {
    paths[path] = {
      ...paths[path],
      [method.toLowerCase()]: {
        summary,
        responses: {
          default: { description: 'See the summary; errors are {"error":{code,kind,message}}.' },
        },
      },
    };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'AIM GPU Sharing: gateway admin', version: '1' },
    components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
    security: [{ token: [] }],
    paths,
  };
}
