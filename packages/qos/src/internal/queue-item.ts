/**
 * One waiting item with the links of every structure it stands in. Owns no order; lanes and the queue link and unlink
 * it, which is what makes a cancel O(1) whatever the backlog. What waits *is* such an item, so that nothing is made for
 * it but itself; kept small, because at a million items its size is the price of every operation.
 */
import type { TenantLane } from './tenant-lane.js';

export class QueueItem {
  /** Weighted tokens its tenant is charged, tokens and bytes for the bounds. */
  cost: number;
  tokens: number;
  bytes: number;
  enqueuedMs: number;
  /** Null where the band's own does: only items that say otherwise stand in heaps. */
  ownDeadlineMs: number | null = null;
  ownExpiresMs: number | null = null;
  /** Its place in the order of arrival. */
  sequence: number = 0;
  /** The tenant that it was put to; null before. */
  lane: TenantLane | null = null;
  prev: QueueItem | null = null;
  next: QueueItem | null = null;
  older: QueueItem | null = null;
  younger: QueueItem | null = null;

  /** Figures must be sane, see `toCost`. */
  constructor(cost: number, tokens: number, bytes: number, enqueuedMs: number) {
    this.cost = cost;
    this.tokens = tokens;
    this.bytes = bytes;
    this.enqueuedMs = enqueuedMs;
  }
}
