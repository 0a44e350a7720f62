/**
 * Shapes that cross the agent's API, as zod: what comes in is checked, what goes out is described. Owns the wire form;
 * the typed documents are in status.ts, apply-diff.ts and event-log.ts.
 */
import { z } from '@hono/zod-openapi';

const share = z
  .object({
    node: z.string(),
    card: z.string().describe('PCI address of the card, function 0'),
    partition: z.number().int(),
    memoryBytes: z.number().int(),
  })
  .openapi('Share');

const layout = z.object({ compute: z.string().nullable(), memory: z.string().nullable() });

const reason = z.object({ code: z.string(), message: z.string() });

const trouble = z.object({ message: z.string(), hint: z.string() });

/** An error, by the table of kinds. */
export const errorSchema: z.ZodType = z
  .object({
    error: z.object({
      code: z.string(),
      kind: z.string(),
      message: z.string(),
      hint: z.string().nullable(),
      details: z.record(z.string(), z.unknown()),
    }),
  })
  .openapi('Error');

/** One instance. */
export const instanceSchema: z.ZodType = z
  .object({
    instance: z.string(),
    workload: z.string(),
    band: z.string(),
    engine: z.string(),
    state: z.enum([
      'waiting',
      'starting',
      'ready',
      'parked',
      'restarting',
      'failed',
      'stopping',
      'stopped',
    ]),
    since: z.number().describe('milliseconds since 1970'),
    pid: z.number().int().nullable(),
    endpoint: z.object({ host: z.string(), port: z.number().int() }).nullable(),
    shares: z.array(share),
    predicted: z.object({ ttftMs: z.number(), tpotMs: z.number(), aloneTpotMs: z.number() }),
    isolation: z.array(z.object({ name: z.string(), strength: z.string(), detail: z.string() })),
    restarts: z.number().int(),
    draining: z.boolean(),
    trouble: trouble.nullable(),
  })
  .openapi('Instance');

/** A list of instances. */
export const instancesSchema: z.ZodType = z.object({ instances: z.array(instanceSchema) });

/** The status document. */
export const statusSchema: z.ZodType = z
  .object({
    apiVersion: z.literal('aim-gpu/v1alpha1'),
    kind: z.literal('Status'),
    node: z.string(),
    driver: z.string(),
    fleet: z.string(),
    state: z.enum(['starting', 'ready', 'degraded', 'draining', 'stopped']),
    since: z.number(),
    pid: z.number().int(),
    plan: z.string().nullable(),
    gateway: z.object({ url: z.string(), adminUrl: z.string() }).nullable(),
    cards: z.array(
      z.object({
        id: z.string(),
        product: z.string().nullable(),
        layout,
        partitions: z.array(
          z.object({
            index: z.number().int(),
            memoryBytes: z.number().nullable(),
            reservedBytes: z.number(),
            computeUnits: z.number().int(),
            shares: z.array(z.object({ instance: z.string(), memoryBytes: z.number() })),
          }),
        ),
      }),
    ),
    instances: z.array(instanceSchema),
    unplaced: z.array(
      z.object({
        workload: z.string(),
        replicas: z.number().int(),
        reasons: z.array(reason.extend({ fix: z.string() })),
      }),
    ),
    degradations: z.array(
      z.object({ workload: z.string(), step: z.string(), message: z.string() }),
    ),
    problems: z.array(reason.extend({ where: z.string() })),
    warnings: z.array(reason),
  })
  .openapi('Status');

const layoutChange = z.looseObject({
  node: z.string(),
  card: z.string().nullable(),
  from: layout,
  to: layout,
  expectedMs: z.number(),
  stops: z.array(z.string()),
});

/** A plan as `aim-gpu plan --json` prints it. */
export const planSchema: z.ZodType = z
  .looseObject({
    apiVersion: z.literal('aim-gpu/v1alpha1'),
    kind: z.literal('Plan'),
    id: z.string(),
    observed: z.looseObject({ generation: z.string() }),
    nodes: z.array(z.looseObject({ name: z.string(), driver: z.string() })),
    placements: z.array(
      z.looseObject({ instance: z.string(), workload: z.string(), shares: z.array(share) }),
    ),
    changes: z.array(layoutChange),
    unplaced: z.array(z.looseObject({ workload: z.string() })),
  })
  .openapi('Plan');

/** The fleet that is served, with every default. */
export const fleetSchema: z.ZodType = z
  .looseObject({
    name: z.string(),
    nodes: z.array(z.looseObject({ name: z.string() })),
    models: z.array(z.looseObject({ name: z.string(), source: z.string() })),
    tenants: z.array(z.looseObject({ name: z.string() })),
  })
  .openapi('Fleet');

/** What is asked of apply, as it arrives. */
export interface ApplyRequest {
  readonly fleet?: string | undefined;
  readonly base?: string | undefined;
  readonly plan?: Record<string, unknown> | undefined;
  readonly dryRun?: boolean | undefined;
}

/** Body of apply. */
export const applyRequestSchema: z.ZodType<ApplyRequest> = z
  .strictObject({
    fleet: z
      .string()
      .optional()
      .describe('text of a fleet file; the fleet that runs when left out'),
    base: z.string().optional().describe('directory its relative paths are relative to'),
    plan: (planSchema as z.ZodType<Record<string, unknown>>)
      .optional()
      .describe('a plan made earlier, instead of a new one'),
    dryRun: z.boolean().optional().describe('say what would change and change nothing'),
  })
  .openapi('ApplyRequest');

/** Answer of apply. */
export const appliedSchema: z.ZodType = z
  .object({
    dryRun: z.boolean(),
    plan: planSchema,
    diff: z.object({
      plan: z.string(),
      layouts: z.array(layoutChange),
      instances: z.array(
        z.object({
          instance: z.string(),
          change: z.enum(['add', 'remove', 'move', 'resize', 'restart', 'keep']),
          from: z.array(share).nullable(),
          to: z.array(share).nullable(),
          downtime: z.boolean(),
        }),
      ),
      settings: z
        .array(
          z.object({
            subject: z.string().describe('tenant team-a, model assistant, gateway'),
            change: z.enum(['add', 'remove', 'change']),
            keys: z.array(z.string()),
          }),
        )
        .describe('what changes for requests besides, from the next one on'),
    }),
  })
  .openapi('Applied');

/** Events. */
export const eventsSchema: z.ZodType = z
  .object({
    events: z.array(
      z.object({
        id: z.number().int(),
        at: z.number().describe('milliseconds since 1970'),
        event: z.string(),
        subject: z.string(),
        message: z.string(),
      }),
    ),
  })
  .openapi('Events');

/** Lines of an instance's output. */
export const logsSchema: z.ZodType = z.object({ lines: z.array(z.string()) }).openapi('Logs');

/** Something that was begun. */
export const acceptedSchema: z.ZodType = z
  .object({ accepted: z.literal(true) })
  .openapi('Accepted');

/** Whether the agent serves. */
export const healthSchema: z.ZodType = z.object({ state: z.string() }).openapi('Health');
