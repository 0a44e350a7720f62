/**
 * Shapes that cross the admin face, as zod: what comes in is checked, what goes out is described. Owns the wire form.
 */
import { BANDS } from '@aim-gpu/core';
import { z } from 'zod';

const band = z.enum(BANDS);
const count = z.number().int().nonnegative();
const percentiles = z.object({
  p50: z.number().nullable(),
  p95: z.number().nullable(),
  p99: z.number().nullable(),
});
const limits = z.object({
  requestsPerMinute: z.number().nullable(),
  inputTokensPerMinute: z.number().nullable(),
  outputTokensPerMinute: z.number().nullable(),
  concurrent: z.number().nullable(),
});
const slo = z.object({
  targets: z.object({
    ttftMs: z.number().nullable(),
    tpotMs: z.number().nullable(),
    e2eMs: z.number().nullable(),
    objective: z.number(),
  }),
  ttftMs: percentiles,
  tpotMs: percentiles,
  e2eMs: percentiles,
  attainment: z.number().nullable().describe('share of good requests in the last hour'),
  goodputPerSecond: z.number(),
  budgetLeft: z.number().nullable().describe('of the last three days; negative when overspent'),
  burn: z.record(z.string(), z.number().nullable()).describe('by window, 5m to 3d'),
  alerts: z.array(z.looseObject({ severity: z.enum(['page', 'ticket']) })),
});

/** An error, by the table of kinds. */
export const errorSchema: z.ZodType = z.object({
  error: z.looseObject({ code: z.string(), kind: z.string(), message: z.string() }),
});

/** `/v1/queues`. */
export const queuesSchema: z.ZodType = z.object({
  inFlight: count,
  waiting: count,
  models: z.array(
    z.object({
      model: z.string(),
      band,
      brownout: z.boolean(),
      endpoints: z.array(
        z.object({
          id: z.string(),
          ready: z.boolean(),
          inFlight: count,
          inFlightTokens: z.number(),
          limit: z.number(),
          saturation: z.number(),
          groupCeiling: z.number(),
        }),
      ),
      bands: z.array(
        z.object({
          band,
          count,
          bytes: z.number(),
          tokens: z.number(),
          tenants: count,
          predictedWaitMs: z.number().nullable(),
          slo: slo.nullable(),
        }),
      ),
    }),
  ),
});

/** `/v1/endpoints`. */
export const endpointsSchema: z.ZodType = z.object({
  endpoints: z.array(
    z.looseObject({
      instance: z.string(),
      workload: z.string(),
      address: z.object({ host: z.string(), port: z.number().int() }),
      node: z.string(),
      card: z.string(),
      partition: z.number().int(),
      state: z.string(),
    }),
  ),
});

/** `/v1/requests`. */
export const requestsSchema: z.ZodType = z.object({
  requests: z.array(
    z.object({
      requestId: z.string(),
      tenant: z.string(),
      model: z.string(),
      band,
      state: z.enum(['waiting', 'sent', 'passing']),
      instance: z.string().nullable(),
      ageMs: z.number(),
      outputTokens: z.number(),
    }),
  ),
});

const tenant = z.object({
  tenant: z.string(),
  weight: z.number(),
  bands: z.array(band),
  keys: count,
  limits,
  limitsFrom: z.enum(['fleet', 'admin']),
  modelLimits: z.record(z.string(), limits).describe('its own on single models, by their names'),
});

/** One tenant. */
export const tenantSchema: z.ZodType = tenant;

/** `/v1/tenants`. */
export const tenantsSchema: z.ZodType = z.object({ tenants: z.array(tenant) });

/** `/v1/limits`. */
export const limitsSchema: z.ZodType = z.object({
  accounts: z.array(
    z.object({
      account: z
        .string()
        .describe(
          "a tenant's; team-a/chat is its own on one model, */chat a model's for everybody",
        ),
      aheadMs: z.array(z.number()).describe('requests, input tokens, output tokens'),
      spent: z.object({ tokens: z.number(), windowLeftMs: z.number() }).nullable(),
    }),
  ),
  tenants: z.array(tenant),
  models: z
    .array(z.object({ model: z.string(), limits }))
    .describe('what models give all tenants together; those without limits are left out'),
});

const limit = z.number().positive().nullable().optional().describe('null is unlimited');

/** What may be changed of a tenant's limits. */
export const limitsChangeSchema: z.ZodType<{
  requestsPerMinute?: number | null | undefined;
  inputTokensPerMinute?: number | null | undefined;
  outputTokensPerMinute?: number | null | undefined;
  concurrent?: number | null | undefined;
}> = z.strictObject({
  requestsPerMinute: limit,
  inputTokensPerMinute: limit,
  outputTokensPerMinute: limit,
  concurrent: limit,
});

const key = z.object({
  id: z.string().describe('first 12 digits of its SHA-256'),
  tenant: z.string(),
  from: z.enum(['fleet', 'admin']),
  addedAt: z.number().nullable().describe('milliseconds since 1970; null for those of the fleet'),
});

/** One key, never the key itself. */
export const keySchema: z.ZodType = key;

/** `/v1/keys`. */
export const keysSchema: z.ZodType = z.object({ keys: z.array(key) });

/** What is asked for a new key. */
export const newKeySchema: z.ZodType<{ tenant: string; sha256?: string | undefined }> =
  z.strictObject({
    tenant: z.string(),
    sha256: z
      .string()
      .regex(/^[0-9a-fA-F]{64}$/)
      .optional()
      .describe('of a key made elsewhere; without it one is made'),
  });

/** A new key; the only answer that ever holds one. */
export const createdKeySchema: z.ZodType = key.extend({
  key: z.string().nullable().describe('shown once; null when only its digest was given'),
});

/** `/v1/drain`. */
export const drainSchema: z.ZodType = z.object({ draining: z.literal(true), open: count });
