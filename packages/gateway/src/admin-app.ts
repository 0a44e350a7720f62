/**
 * The operator's face: health, readiness, metrics, and a look at queues and endpoints, answering by DESIGN's table of
 * kinds. Not for clients of models.
 */
import { AimError, type EndpointDirectory, httpStatusOf, toErrorDocument } from '@aim-gpu/core';
import type { Qos } from '@aim-gpu/qos';
import { Hono } from 'hono';

/** What the admin face shows. */
export interface AdminSources {
  readonly directory: EndpointDirectory;
  readonly qos: Qos;
  readonly exposition: () => Promise<string>;
  readonly isDraining: () => boolean;
}

/** Makes the routes. */
export function createAdminApp(sources: AdminSources): Hono {
  const { directory, qos, exposition, isDraining } = sources;
  const app = new Hono();
  app.get('/healthz', (context) => context.text('ok\n'));
  app.get('/readyz', (context) => {
    const waiting = directory
      .models()
      .filter(
        ({ workload }) => !directory.endpoints(workload).some(({ state }) => state === 'ready'),
      );
    if (isDraining()) return context.text('draining\n', 503);
    if (waiting.length === 0) return context.text('ok\n');
    return context.text(`not ready: ${waiting.map(({ workload }) => workload).join(', ')}\n`, 503);
  });
  app.get('/metrics', async (context) => {
    const text = await exposition();
    return context.body(text, 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' });
  });
  app.get('/v1/queues', (context) =>
    context.json({ inFlight: qos.inFlight, waiting: qos.waiting, models: qos.report() }),
  );
  app.get('/v1/endpoints', (context) =>
    context.json({
      endpoints: directory.models().flatMap(({ workload }) => directory.endpoints(workload)),
    }),
  );
  app.notFound((context) => {
    const error = new AimError({
      code: 'ERR_ROUTE_UNKNOWN',
      kind: 'missing',
      message: `there is no ${context.req.method} ${context.req.path}`,
      hint: 'routes are /healthz /readyz /metrics /v1/queues /v1/endpoints',
    });
    return Response.json({ error: toErrorDocument(error) }, { status: httpStatusOf(error.kind) });
  });
  return app;
}
