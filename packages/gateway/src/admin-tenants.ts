/**
 * The admin face's routes for tenants: who there is, which keys open what, how much each may take, and how that is
 * changed. Owns these paths; the changes are tenant-changes.ts's.
 */
import { AimError, type TenantLimits } from '@aim-gpu/core';
import type { Qos } from '@aim-gpu/qos';
import type { Context } from 'hono';
import type { z } from 'zod';
import type { AdminRoute } from './admin-openapi.js';
import {
  createdKeySchema,
  keySchema,
  keysSchema,
  limitsChangeSchema,
  limitsSchema,
  newKeySchema,
  tenantSchema,
  tenantsSchema,
} from './admin-schema.js';
import { isLimited } from './limit-accounts.js';
import type { ServedModels } from './served-models.js';
import type { TenantAdmin } from './tenant-changes.js';

/** Makes the routes. */
export function tenantRoutes(sources: {
  readonly qos: Qos;
  readonly served: ServedModels;
  readonly tenants: TenantAdmin | null;
}): readonly AdminRoute[] {
  const { tenants } = sources;
  const changeable = (): TenantAdmin => {
    if (tenants !== null) return tenants;
    throw new AimError({
      code: 'ERR_TENANTS_FIXED',
      kind: 'refused',
      message: 'this gateway was made with tenants that cannot be changed',
    });
  };
  return [
    {
      method: 'GET',
      path: '/v1/tenants',
      summary: 'Every tenant with its bands and limits.',
      answers: { 200: tenantsSchema },
      handle: (context) => context.json({ tenants: tenants?.tenants() ?? [] }),
    },
    {
      method: 'GET',
      path: '/v1/limits',
      summary: "Tenants' and models' limits, and the accounts that are not at rest.",
      answers: { 200: limitsSchema },
      handle: (context) =>
        context.json({
          accounts: sources.qos.snapshot().accounts,
          tenants: tenants?.tenants() ?? [],
          models: sources.served
            .all()
            .flatMap(({ model: { workload, limits } }) =>
              isLimited(limits) ? [{ model: workload, limits }] : [],
            ),
        }),
    },
    {
      method: 'PUT',
      path: '/v1/limits/:tenant',
      summary: 'Changes the limits that are named, from the next request on.',
      needsToken: true,
      body: limitsChangeSchema,
      answers: { 200: tenantSchema },
      handle: async (context) => {
        const change = await readBody(context, limitsChangeSchema);
        const named = Object.entries(change).filter(([, value]) => value !== undefined);
        const limits = Object.fromEntries(named) as Partial<TenantLimits>;
        return context.json(await changeable().setLimits(nameIn(context, 'tenant'), limits));
      },
    },
    {
      method: 'DELETE',
      path: '/v1/limits/:tenant',
      summary: "Goes back to the fleet file's limits.",
      needsToken: true,
      answers: { 200: tenantSchema },
      handle: async (context) =>
        context.json(await changeable().setLimits(nameIn(context, 'tenant'), null)),
    },
    {
      method: 'GET',
      path: '/v1/keys',
      summary: 'Keys in use, by the beginning of their digest.',
      answers: { 200: keysSchema },
      handle: (context) => context.json({ keys: tenants?.keys() ?? [] }),
    },
    {
      method: 'POST',
      path: '/v1/keys',
      summary: 'Gives a tenant another key; a key that is made here is shown in this answer only.',
      needsToken: true,
      body: newKeySchema,
      answers: { 201: createdKeySchema },
      handle: async (context) => {
        const { tenant, sha256 } = await readBody(context, newKeySchema);
        const { view, key } = await changeable().addKey(tenant, sha256);
        return context.json({ ...view, key }, 201, { 'cache-control': 'no-store' });
      },
    },
    {
      method: 'DELETE',
      path: '/v1/keys/:id',
      summary: 'Takes a key out of use, from the next request on.',
      needsToken: true,
      answers: { 200: keySchema },
      handle: async (context) =>
        context.json(await changeable().revokeKey(nameIn(context, 'id').toLowerCase())),
    },
  ];
}

function nameIn(context: Context, name: string): string {
  return context.req.param(name) ?? '';
}

async function readBody<T>(context: Context, schema: z.ZodType<T>): Promise<T> {
  const parsed = schema.safeParse(await context.req.json().catch(() => undefined));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? 'the body' : issue.path.join('.');
  throw new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `${where}: ${issue?.message ?? 'is not as described'}`,
    hint: 'GET /openapi.json describes every request',
  });
}
