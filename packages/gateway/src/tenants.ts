/**
 * Who asks: from an Authorization header to the tenant with its bands, weight and accounts. Owns anonymous access: with
 * no tenants everybody is one tenant without limits but the models' own.
 */
import { BANDS, type Band, type ServedModel, type Tenant } from '@aim-gpu/core';
import type { LimitSubject } from '@aim-gpu/qos';
import { bearerKey, createKeyRing, type KeyRing } from './key-ring.js';
import { createAccounts } from './limit-accounts.js';
import type { TenantAdmin } from './tenant-changes.js';
import { type KeyOptions, readTenantKeys } from './tenant-keys.js';

/** Tenants whose keys were read; made by {@link resolveTenants}. */
export interface ResolvedTenants {
  readonly keys: KeyRing;
  /** No tenants in the fleet: everybody may ask. */
  readonly anonymous: boolean;
  /** Changes them while they are served; cannot be done unless given. */
  readonly admin?: TenantAdmin;
}

/** The one who asks. */
export interface Caller {
  readonly name: string;
  readonly weight: number;
  /** Bands it may ask for. */
  readonly bands: readonly Band[];
  /** Whether a model's own band holds even when it may not be asked for. */
  readonly ownBand: boolean;
  /** Accounts a request for a model is charged to; the same ones each time. */
  accounts(model: ServedModel): readonly LimitSubject[];
}

/**
 * Reads the keys of every tenant; only their digests are kept. Throws `ERR_KEY_MISSING` (invalid) naming the tenant and
 * the variable or file, never a key.
 */
export async function resolveTenants(
  tenants: readonly Tenant[],
  options: KeyOptions = {},
): Promise<ResolvedTenants> {
  return { keys: createKeyRing(readTenantKeys(tenants, options)), anonymous: tenants.length === 0 };
}

const EVERYBODY: Caller = {
  name: 'anonymous',
  weight: 1,
  bands: BANDS.slice(BANDS.indexOf('standard')),
  ownBand: true,
  accounts: createAccounts(null),
};

/** The caller of a request; null when its key is missing or wrong. */
export function identify(
  tenants: ResolvedTenants,
  authorization: string | undefined,
): Caller | null {
  if (tenants.anonymous) return EVERYBODY;
  const key = bearerKey(authorization);
  const tenant = key === null ? null : tenants.keys.find(key);
  return tenant === null ? null : toCaller(tenant);
}

/** Made once for a tenant: who compares or remembers an account by its object finds the same one each time. */
const callers = new WeakMap<Tenant, Caller>();

function toCaller(tenant: Tenant): Caller {
  const known = callers.get(tenant);
  if (known !== undefined) return known;
  const caller: Caller = {
    name: tenant.name,
    weight: tenant.weight,
    bands: tenant.bands,
    ownBand: false,
    accounts: createAccounts(tenant),
  };
  callers.set(tenant, caller);
  return caller;
}
