/**
 * The route of events: those that happened, or as a stream also those that happen. Owns its path and the stream.
 */
import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import { streamSSE } from 'hono/streaming';
import { failure, reply } from './api-route.js';
import { eventsSchema } from './api-schema.js';
import type { ControlTarget } from './control-target.js';
import type { AgentEvent } from './event-log.js';

/** Adds it. */
export function addEvents(app: OpenAPIHono, target: ControlTarget): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/events',
      summary: 'What happened; with `accept: text/event-stream` also what happens from now on',
      request: {
        query: z.object({
          after: z.coerce.number().int().min(0).optional().describe('only events after this id'),
          since: z.coerce
            .number()
            .int()
            .min(0)
            .optional()
            .describe('only events from this time on, in milliseconds since 1970'),
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
      const { after = 0, since: sinceMs = 0 } = context.req.valid('query');
      if (!(context.req.header('accept') ?? '').includes('text/event-stream')) {
        return reply(context, { events: events.after(after, { sinceMs }) });
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
        for (const event of events.after(from, { sinceMs })) queue(event);
        const unsubscribe = events.subscribe(queue);
        await gone;
        unsubscribe();
      }) as never;
    },
  );
}
