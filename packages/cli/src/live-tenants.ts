/**
 * The tenants of a running gateway, exchanged when another fleet is applied. Owns the exchange and its refusals; keys
 * are read by the gateway's own code.
 */
import { AimError, type Fleet } from '@aim-gpu/core';
import { type ResolvedTenants, resolveTenants } from '@aim-gpu/gateway';

/** Tenants that can be exchanged. */
export interface LiveTenants {
  /** What the gateway looks at for each request. */
  readonly tenants: ResolvedTenants;
  /** Reads the keys of another fleet; the function it resolves to takes them into use. */
  prepare(fleet: Fleet): Promise<() => void>;
}

/** What an exchange needs to know. */
export interface LiveTenantsOptions {
  readonly fleet: Fleet;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether a fleet without tenants may be served where the gateway listens. */
  readonly mayBeAnonymous: boolean;
}

/** Reads the tenants of the first fleet. Throws `ERR_KEY_MISSING` (invalid). */
export async function createLiveTenants(options: LiveTenantsOptions): Promise<LiveTenants> {
  const { env, mayBeAnonymous } = options;
  let current = await resolveTenants(options.fleet.tenants, { env });
  return {
    tenants: {
      get keys() {
        return current.keys;
      },
      get anonymous() {
        return current.anonymous;
      },
    },
    prepare: async (fleet) => {
      const next = await resolveTenants(fleet.tenants, { env });
      if (next.anonymous && !current.anonymous && !mayBeAnonymous) throw openToAll(fleet);
      return () => {
        current = next;
      };
    },
  };
}

function openToAll(fleet: Fleet): AimError {
  return new AimError({
    code: 'ERR_ANONYMOUS_REFUSED',
    kind: 'denied',
    message: `fleet ${fleet.name} has no tenants, and the gateway listens on more than loopback`,
    hint: 'add tenants, or start the agent with --allow-anonymous',
  });
}
