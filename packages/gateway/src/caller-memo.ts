/**
 * Who asked last on each connection, so that a client which keeps its connection is looked up once and not for each
 * request. Owns what may be remembered: a header that was found right, on the connection it came over, while the keys
 * are the same. A wrong key is looked up each time.
 */
import { type Caller, identify, type ResolvedTenants } from './tenants.js';

/** Finds callers. */
export interface CallerMemo {
  /** The caller of a request that came over a connection; null when its key is missing or wrong. */
  find(connection: object, authorization: string | undefined): Caller | null;
}

interface Known {
  readonly keys: ResolvedTenants['keys'];
  readonly authorization: string;
  readonly caller: Caller;
}

/** Makes an empty memory over tenants, whose keys may be exchanged while it runs. */
export function createCallerMemo(tenants: ResolvedTenants): CallerMemo {
  const known = new WeakMap<object, Known>();
  return {
    find: (connection, authorization) => {
      const { anonymous, keys } = tenants;
      if (anonymous || authorization === undefined) return identify(tenants, authorization);
      const last = known.get(connection);
      // Compared with what the same client sent itself, so the time this takes tells it nothing that it does not know.
      if (last !== undefined && last.keys === keys && last.authorization === authorization)
        return last.caller;
      const caller = identify(tenants, authorization);
      if (caller !== null) known.set(connection, { keys, authorization, caller });
      return caller;
    },
  };
}
