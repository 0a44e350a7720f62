/**
 * One waiting item with the links of every structure it stands in. Owns no order; lanes and the queue link and unlink
 * it, which is what makes a cancel O(1) whatever the backlog. What waits *is* such an item, so that nothing is made for
 * it but itself; kept small, because at a million items its size is the price of every operation.
 *
 * A shape and not a base class, and its classes declare their fields and assign them in one constructor: an object of a
 * derived class, or with field initialisers, takes several times as long to make, and one is made for every request.
 */
import type { TenantLane } from './tenant-lane.js';

export interface QueueItem {
  /** Weighted tokens its tenant is charged. Figures must be sane, see `toCost`. */
  readonly cost: number;
  /** Tokens and bytes that it stands for in the bounds. */
  readonly footprint: number;
  readonly bytes: number;
  readonly enqueuedMs: number;
  /** Null where the band's own does: only items that say otherwise stand in heaps. */
  ownDeadlineMs: number | null;
  ownExpiresMs: number | null;
  /** Its place in the order of arrival. */
  sequence: number;
  /** The tenant that it was put to; null before. */
  lane: TenantLane | null;
  prev: QueueItem | null;
  next: QueueItem | null;
  older: QueueItem | null;
  younger: QueueItem | null;
}
