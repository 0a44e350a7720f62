/**
 * The tenants of a running gateway, exchanged when another fleet is applied. Owns the exchange and its refusals; keys
 * are read, and changed at run time, by the gateway's own code.
 */
import { AimError, type Clock, type Fleet, type Logger, type StateStore } from '@aim-gpu/core';
import { createLiveTenants as createGatewayTenants, type ResolvedTenants } from '@aim-gpu/gateway';

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
  /** Where changes of keys and limits are kept. */
  readonly store: StateStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Reads the tenants of the first fleet. Throws `ERR_KEY_MISSING` (invalid). */
export async function createLiveTenants(options: LiveTenantsOptions): Promise<LiveTenants> {
  const { fleet, env, mayBeAnonymous, store, clock, logger } = options;
  const { tenants } = fleet;
  const live = await createGatewayTenants({ tenants, env, store, clock, logger });
  return {
    tenants: live,
    prepare: async (next) => {
      const { anonymous, take } = live.prepare(next.tenants);
      if (anonymous && !live.anonymous && !mayBeAnonymous) throw openToAll(next);
      return take;
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
