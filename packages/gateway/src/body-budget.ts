/**
 * How many bytes of bodies the gateway holds, from the moment one is announced until no engine can need it any more:
 * being read, waiting for a model, queued, at an engine. Owns the sum, each tenant's share of it and the order in which
 * newcomers are refused: large ones first. Small ones are neither counted nor refused; how many there are is bounded by
 * the requests that a tenant may have open.
 */

/** Bounds of the bytes; looked at for each body, they may be changed. */
export interface BodyBounds {
  /** Of all tenants together. */
  readonly maxHeldBytes: number;
  /** Of one tenant. */
  readonly maxHeldBytesPerTenant: number;
}

/** Whose room is spent. */
export type HeldOver = 'all' | 'tenant';

/** The bytes that are held. */
export interface BodyBudget {
  /**
   * Counts a body of a tenant's as `to` bytes that counted as `from` before, 0 at its begin and its end. Not counted
   * when there is no room: the answer says whose is spent then.
   */
  resize(tenant: string, from: number, to: number): HeldOver | null;
  readonly heldBytes: number;
}

/** Bodies up to that size cost about what their connection costs. */
export const SMALL_BODY_BYTES: number = 16 * 1024;
/** Larger ones leave a quarter of the room to those that are not: conversations pass while documents wait. */
const LARGE_BODY_BYTES = 256 * 1024;
const LARGE_SHARE = 0.75;

/** Makes a budget of which nothing is taken. */
export function createBodyBudget(bounds: BodyBounds): BodyBudget {
  const byTenant = new Map<string, number>();
  let heldBytes = 0;
  return {
    resize: (tenant, from, to) => {
      const more = to - from;
      const ofTenant = byTenant.get(tenant) ?? 0;
      if (more > 0) {
        const others = heldBytes - from;
        const room = bounds.maxHeldBytes * (to > LARGE_BODY_BYTES ? LARGE_SHARE : 1);
        // A body beside which there is no other is let in: how large one may be is not for this to say.
        if (ofTenant > from && ofTenant + more > bounds.maxHeldBytesPerTenant) return 'tenant';
        if (others > 0 && others + to > room) return 'all';
      }
      heldBytes += more;
      const left = ofTenant + more;
      if (left > 0) byTenant.set(tenant, left);
      else byTenant.delete(tenant);
      return null;
    },
    get heldBytes() {
      return heldBytes;
    },
  };
}
