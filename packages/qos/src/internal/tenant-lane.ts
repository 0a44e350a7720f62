/**
 * One tenant's waiting items in one band: a FIFO for items whose deadline follows from their age, and a heap for
 * those with a deadline of their own. Owns the order inside the tenant (earliest deadline first, then FIFO) and the
 * tenant's virtual counter; the band decides whose turn it is.
 */
import type { BandLane } from './band-lane.js';
import { IndexedHeap } from './indexed-heap.js';
import type { Ticket } from './ticket.js';

export class TenantLane<T> {
  readonly tenant: string;
  readonly band: BandLane<T>;
  readonly rank: number;
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
  idlePrev: TenantLane<T> | null = null;
  idleNext: TenantLane<T> | null = null;
  idle: boolean = false;
  #head: Ticket<T> | null = null;
  #tail: Ticket<T> | null = null;
  #deadlines: IndexedHeap<Ticket<T>> | null = null;

  constructor(tenant: string, band: BandLane<T>, weight: number) {
    this.tenant = tenant;
    this.band = band;
    this.rank = band.rank;
    this.weight = weight;
  }

  append(ticket: Ticket<T>): void {
    this.queued += 1;
    if (ticket.ownDeadlineMs !== null) {
      this.#deadlines ??= new IndexedHeap<Ticket<T>>();
      this.#deadlines.push(ticket, ticket.ownDeadlineMs, ticket.sequence);
      return;
    }
    ticket.prev = this.#tail;
    if (this.#tail === null) this.#head = ticket;
    else this.#tail.next = ticket;
    this.#tail = ticket;
  }

  /** Puts an item back at the place its sequence gives it; it is usually the oldest, hence the walk from the head. */
  restore(ticket: Ticket<T>): void {
    if (ticket.ownDeadlineMs !== null) {
      this.append(ticket);
      return;
    }
    let after: Ticket<T> | null = null;
    let before = this.#head;
    while (before !== null && before.sequence < ticket.sequence) {
      after = before;
      before = before.next;
    }
    this.queued += 1;
    ticket.prev = after;
    ticket.next = before;
    if (after === null) this.#head = ticket;
    else after.next = ticket;
    if (before === null) this.#tail = ticket;
    else before.prev = ticket;
  }

  remove(ticket: Ticket<T>): void {
    this.queued -= 1;
    if (ticket.ownDeadlineMs !== null) {
      this.#deadlines?.removeAt(ticket.heapIndex);
      return;
    }
    if (ticket.prev === null) this.#head = ticket.next;
    else ticket.prev.next = ticket.next;
    if (ticket.next === null) this.#tail = ticket.prev;
    else ticket.next.prev = ticket.prev;
    ticket.prev = null;
    ticket.next = null;
  }

  /** The item whose turn it is. */
  first(): Ticket<T> | null {
    const heap = this.#deadlines;
    const head = this.#head;
    if (heap === null || heap.size === 0) return head;
    const own = heap.peek() as Ticket<T>;
    if (head === null) return own;
    const ownMs = heap.peekKey();
    const headMs = head.deadlineMs;
    if (ownMs < headMs) return own;
    if (ownMs > headMs) return head;
    return own.sequence < head.sequence ? own : head;
  }

  /** The item after another in FIFO order, for callers that look a few places ahead. */
  after(ticket: Ticket<T>): Ticket<T> | null {
    return ticket.next;
  }
}
