/**
 * One tenant's waiting items in one band: a FIFO for items whose deadline follows from their age, and a heap for
 * those with a deadline of their own. Owns the order inside the tenant (earliest deadline first, then FIFO) and the
 * tenant's virtual counter; the band decides whose turn it is.
 */
import type { BandLane } from './band-lane.js';
import { ItemHeap } from './item-heap.js';
import type { QueueItem } from './queue-item.js';

export class TenantLane {
  readonly tenant: string;
  readonly band: BandLane;
  weight: number;
  /** Service received in weighted tokens (the virtual counter of VTC). */
  counter: number = 0;
  /** Virtual time when the tenant last began to wait: service before it is no longer owed to anybody. */
  floor: number = 0;
  /** Place in the band's heap; -1 while nothing waits. */
  heapIndex: number = -1;
  queued: number = 0;
  /** Tokens that wait. */
  tokens: number = 0;
  /** Weight with which it began to wait. */
  waitingWeight: number = 0;
  /** Dispatched and not yet settled; keeps the lane from being forgotten. */
  inFlight: number = 0;
  idleSinceMs: number = 0;
  idlePrev: TenantLane | null = null;
  idleNext: TenantLane | null = null;
  idle: boolean = false;
  #head: QueueItem | null = null;
  #tail: QueueItem | null = null;
  #deadlines: ItemHeap | null = null;

  constructor(tenant: string, band: BandLane, weight: number) {
    this.tenant = tenant;
    this.band = band;
    this.weight = weight;
  }

  append(item: QueueItem): void {
    this.queued += 1;
    if (item.ownDeadlineMs !== null) {
      this.#pushTimed(item, item.ownDeadlineMs);
      return;
    }
    const tail = this.#tail;
    item.prev = tail;
    if (tail === null) this.#head = item;
    else tail.next = item;
    this.#tail = item;
  }

  /** Puts an item back at the place its sequence gives it; it is usually the oldest, hence the walk from the head. */
  restore(item: QueueItem): void {
    this.queued += 1;
    if (item.ownDeadlineMs !== null) {
      this.#pushTimed(item, item.ownDeadlineMs);
      return;
    }
    let after: QueueItem | null = null;
    let before = this.#head;
    while (before !== null && before.sequence < item.sequence) {
      after = before;
      before = before.next;
    }
    item.prev = after;
    item.next = before;
    if (after === null) this.#head = item;
    else after.next = item;
    if (before === null) this.#tail = item;
    else before.prev = item;
  }

  remove(item: QueueItem): void {
    this.queued -= 1;
    if (item.ownDeadlineMs !== null) {
      this.#deadlines?.remove(item);
      return;
    }
    const { prev, next } = item;
    if (prev === null) this.#head = next;
    else prev.next = next;
    if (next === null) this.#tail = prev;
    else next.prev = prev;
    item.prev = null;
    item.next = null;
  }

  /** The item whose turn it is. */
  first(): QueueItem | null {
    const heap = this.#deadlines;
    const head = this.#head;
    if (heap === null || heap.live === 0) return head;
    const own = heap.first() as QueueItem;
    if (head === null) return own;
    const ownMs = heap.firstKey();
    const headMs = head.enqueuedMs + this.band.deadlineAfterMs;
    if (ownMs < headMs) return own;
    if (ownMs > headMs) return head;
    return own.sequence < head.sequence ? own : head;
  }

  #pushTimed(item: QueueItem, deadlineMs: number): void {
    this.#deadlines ??= new ItemHeap();
    this.#deadlines.push(item, deadlineMs);
  }
}
