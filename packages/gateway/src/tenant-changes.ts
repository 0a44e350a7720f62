/**
 * Keys and limits changed while the gateway runs, on top of what the fleet file says. Owns the changes, that they are
 * stored before they count, and that a key is seen in the clear once: in the answer to who asked for it.
 */
import { randomBytes } from 'node:crypto';
import {
  AimError,
  type Clock,
  type Logger,
  type StateStore,
  type Tenant,
  type TenantLimits,
} from '@aim-gpu/core';
import { createKeyRing, digestKey, type KeyDigest, type KeyRing } from './key-ring.js';
import { type KeyOptions, readTenantKeys } from './tenant-keys.js';
import type { ResolvedTenants } from './tenants.js';

/** One key as it is shown: never the key, and of its digest the beginning. */
export interface KeyView {
  /** The first 12 digits of its SHA-256. */
  readonly id: string;
  readonly tenant: string;
  readonly from: 'fleet' | 'admin';
  /** Milliseconds since 1970; null for those of the fleet file. */
  readonly addedAt: number | null;
}

/** One tenant as it is held to now. */
export interface TenantView {
  readonly tenant: string;
  readonly weight: number;
  readonly bands: readonly string[];
  readonly keys: number;
  readonly limits: TenantLimits;
  readonly limitsFrom: 'fleet' | 'admin';
  /** Beside them its own on single models, by the model's name; those of the fleet file. */
  readonly modelLimits: Readonly<Record<string, TenantLimits>>;
}

/** What an operator may change; each call resolves once it is stored, and rejects leaving everything as it was. */
export interface TenantAdmin {
  /** Everybody known, in the order of the fleet file. */
  tenants(): readonly TenantView[];
  /** The keys in use. */
  keys(): readonly KeyView[];
  /**
   * Gives a tenant another key; without `sha256` one is made, and this answer is the only place where it ever is.
   * Throws `ERR_TENANT_UNKNOWN` (missing), `ERR_KEY_EXISTS` (conflict).
   */
  addKey(
    tenant: string,
    sha256?: string,
  ): Promise<{ readonly view: KeyView; readonly key: string | null }>;
  /** Takes a key out of use, also one of the fleet file. Throws `ERR_KEY_UNKNOWN` (missing). */
  revokeKey(id: string): Promise<KeyView>;
  /** Changes the limits that are named; null for all of them goes back to the fleet's. Throws `ERR_TENANT_UNKNOWN`. */
  setLimits(tenant: string, limits: Partial<TenantLimits> | null): Promise<TenantView>;
}

/** Tenants that can be changed while they are looked at. */
export interface LiveTenants extends ResolvedTenants {
  readonly admin: TenantAdmin;
  /** Reads the keys of other tenants. Throws `ERR_KEY_MISSING` (invalid). */
  prepare(tenants: readonly Tenant[]): PreparedTenants;
}

/** Other tenants with their keys read, not in use yet. */
export interface PreparedTenants {
  /** Whether nobody needs a key. */
  readonly anonymous: boolean;
  /** Puts them into use. */
  take(): void;
}

/** What {@link createLiveTenants} needs. */
export interface LiveTenantsOptions extends KeyOptions {
  readonly tenants: readonly Tenant[];
  /** Where changes are kept; without it they end with the process. */
  readonly store?: StateStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface AddedKey {
  readonly tenant: string;
  readonly digest: string;
  readonly addedAt: number;
}

/** What is stored: digests, never keys. */
interface Changes {
  readonly added: readonly AddedKey[];
  readonly revoked: readonly string[];
  readonly limits: Readonly<Record<string, Partial<TenantLimits>>>;
}

const NONE: Changes = { added: [], revoked: [], limits: {} };
const ID_DIGITS = 12;
const KEY_BYTES = 32;

/** Reads keys and earlier changes. Throws `ERR_KEY_MISSING` (invalid), and what the store throws. */
export async function createLiveTenants(options: LiveTenantsOptions): Promise<LiveTenants> {
  const { store, clock, logger } = options;
  const stored = store?.snapshot<Changes>('gateway-tenants');
  let tenants = options.tenants;
  let fleetKeys = readTenantKeys(tenants, options);
  let changes: Changes = (await stored?.read()) ?? NONE;
  let ring: KeyRing = createKeyRing([]);
  let current: readonly Tenant[] = [];
  let turn: Promise<unknown> = Promise.resolve();

  const keysInUse = (): readonly (KeyDigest & { readonly addedAt: number | null })[] => {
    const byName = new Map<string, Tenant>(current.map((tenant) => [tenant.name, tenant]));
    const revoked = new Set(changes.revoked);
    const fleet = fleetKeys.map(({ tenant, digest }) => ({
      name: tenant.name,
      digest,
      addedAt: null,
    }));
    const added = changes.added.map(({ tenant, digest, addedAt }) => ({
      name: tenant,
      digest,
      addedAt,
    }));
    return [...fleet, ...added].flatMap(({ name, digest, addedAt }) => {
      const tenant = byName.get(name);
      return tenant === undefined || revoked.has(digest) ? [] : [{ tenant, digest, addedAt }];
    });
  };
  const rebuild = (): void => {
    current = tenants.map((tenant) => {
      const limits = changes.limits[tenant.name];
      return limits === undefined ? tenant : { ...tenant, limits: { ...tenant.limits, ...limits } };
    });
    // Another ring each time: whoever remembers callers looks at that.
    ring = createKeyRing(keysInUse());
  };
  rebuild();

  /** One change after the other, each stored before it counts. */
  const change = <T>(
    make: () => { readonly next: Changes; readonly result: () => T },
  ): Promise<T> => {
    const done = turn.then(async () => {
      const { next, result } = make();
      await stored?.write(next);
      changes = next;
      rebuild();
      return result();
    });
    turn = done.catch(() => undefined);
    return done;
  };
  const toView = ({
    tenant,
    digest,
    addedAt,
  }: KeyDigest & { addedAt: number | null }): KeyView => ({
    id: digest.slice(0, ID_DIGITS),
    tenant: tenant.name,
    from: addedAt === null ? 'fleet' : 'admin',
    addedAt,
  });
  const tenantViews = (): readonly TenantView[] => {
    const keys = keysInUse();
    return current.map(({ name, weight, bands, limits, modelLimits = {} }) => ({
      tenant: name,
      weight,
      bands,
      keys: keys.filter(({ tenant }) => tenant.name === name).length,
      limits,
      limitsFrom: changes.limits[name] === undefined ? 'fleet' : 'admin',
      modelLimits,
    }));
  };
  const tenantNamed = (name: string): TenantView => {
    const found = tenantViews().find(({ tenant }) => tenant === name);
    if (found !== undefined) return found;
    throw new AimError({
      code: 'ERR_TENANT_UNKNOWN',
      kind: 'missing',
      message: `there is no tenant ${JSON.stringify(name)}`,
      hint: 'tenants are in the fleet file; GET /v1/tenants lists them',
    });
  };

  const admin: TenantAdmin = {
    tenants: tenantViews,
    keys: () => keysInUse().map(toView),
    addKey: (tenant, sha256) =>
      change(() => {
        tenantNamed(tenant);
        const key =
          sha256 === undefined ? `sk-aim-${randomBytes(KEY_BYTES).toString('base64url')}` : null;
        const digest = (key === null ? (sha256 ?? '') : digestKey(key)).toLowerCase();
        const id = digest.slice(0, ID_DIGITS);
        if (keysInUse().some((each) => each.digest.startsWith(id))) throw keyExists(id);
        const added = { tenant, digest, addedAt: clock.epochMs() };
        const next = {
          ...changes,
          added: [...changes.added.filter((each) => each.digest !== digest), added],
          revoked: changes.revoked.filter((each) => each !== digest),
        };
        return {
          next,
          result: () => {
            logger.info('key-added', { tenant, id });
            return { view: { id, tenant, from: 'admin', addedAt: added.addedAt }, key };
          },
        };
      }),
    revokeKey: (id) =>
      change(() => {
        const found = keysInUse().find(({ digest }) => digest.startsWith(id));
        if (id.length !== ID_DIGITS || found === undefined) throw keyUnknown(id);
        const { digest } = found;
        const next = {
          ...changes,
          added: changes.added.filter((each) => each.digest !== digest),
          // A key of the file comes back with the file, so its going is remembered.
          revoked: found.addedAt === null ? [...changes.revoked, digest] : changes.revoked,
        };
        return {
          next,
          result: () => {
            logger.info('key-revoked', { tenant: found.tenant.name, id });
            return toView(found);
          },
        };
      }),
    setLimits: (tenant, limits) =>
      change(() => {
        tenantNamed(tenant);
        const { [tenant]: before, ...others } = changes.limits;
        const next = {
          ...changes,
          limits: limits === null ? others : { ...others, [tenant]: { ...before, ...limits } },
        };
        return {
          next,
          result: () => {
            logger.info('limits-changed', { tenant, limits });
            return tenantNamed(tenant);
          },
        };
      }),
  };
  return {
    get keys() {
      return ring;
    },
    get anonymous() {
      return tenants.length === 0;
    },
    admin,
    prepare: (others) => {
      const keys = readTenantKeys(others, options);
      return {
        anonymous: others.length === 0,
        take: () => {
          tenants = others;
          fleetKeys = keys;
          rebuild();
        },
      };
    },
  };
}

function keyExists(id: string): AimError {
  return new AimError({
    code: 'ERR_KEY_EXISTS',
    kind: 'conflict',
    message: `a key with the id ${id} is in use already`,
    hint: 'take it out of use first: DELETE /v1/keys/{id}',
  });
}

function keyUnknown(id: string): AimError {
  return new AimError({
    code: 'ERR_KEY_UNKNOWN',
    kind: 'missing',
    message: `there is no key with the id ${JSON.stringify(id)}`,
    hint: 'GET /v1/keys lists them',
  });
}
