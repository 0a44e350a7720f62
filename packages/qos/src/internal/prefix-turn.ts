/**
 * Which of a tenant's first requests goes to an endpoint that has room: the one whose prompt begins like what that
 * endpoint has read already, if there is one and nobody loses much by it. Owns how far that may change the order inside
 * a tenant; between tenants and bands it changes nothing.
 */
import type { Flight } from './flight.js';

/** So many of the tenant's first are looked at; what a tenant waits for beyond them says little of what comes next. */
const FIRST = 8;
/** Share of its time to the first byte after which the first is passed no more. */
const PATIENCE = 0.5;

/**
 * The flight to send to an endpoint in place of the tenant's first: the first itself unless a close follower has the
 * endpoint's prefix and `mayGo` there. `timeMs` is how long the first has to its first byte.
 */
export function turnByPrefix(
  first: Flight,
  endpoint: string,
  { nowMs, timeMs }: { readonly nowMs: number; readonly timeMs: number },
  mayGo: (flight: Flight) => boolean,
): Flight {
  if (first.request.affinity === endpoint) return first;
  if (nowMs - first.enqueuedMs >= PATIENCE * timeMs) return first;
  // One with a deadline of its own stands in no line and has no next.
  let next = first.next as Flight | null;
  for (let looked = 1; looked < FIRST && next !== null; looked += 1) {
    if (next.request.affinity === endpoint && mayGo(next)) return next;
    next = next.next as Flight | null;
  }
  return first;
}
