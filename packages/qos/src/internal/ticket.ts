/**
 * One waiting item with the links of every structure it stands in. Owns no order; the lanes and the queue link and
 * unlink it, which is what makes a cancel O(1) whatever the backlog.
 */
import { IndexedHeap } from './indexed-heap.js';
import type { TenantLane } from './tenant-lane.js';

/** Waiting, handed out, or gone for another reason (cancelled, expired, displaced). */
export type TicketState = 'queued' | 'taken' | 'gone';

export class Ticket<T> {
  readonly value: T;
  readonly rank: number;
  readonly cost: number;
  readonly tokens: number;
  readonly bytes: number;
  readonly enqueuedMs: number;
  readonly deadlineMs: number;
  readonly expiresMs: number;
  readonly sequence: number;
  /** Whether the deadline is the item's own, so that FIFO does not keep it sorted. */
  readonly ownDeadline: boolean;
  /** Whether the expiry is the item's own, so that age does not keep it sorted. */
  readonly ownExpiry: boolean;
  readonly lane: TenantLane<T>;
  state: TicketState = 'queued';
  prev: Ticket<T> | null = null;
  next: Ticket<T> | null = null;
  older: Ticket<T> | null = null;
  younger: Ticket<T> | null = null;
  sooner: Ticket<T> | null = null;
  later: Ticket<T> | null = null;
  deadlineIndex: number = -1;
  expiryIndex: number = -1;

  constructor(
    value: T,
    lane: TenantLane<T>,
    facts: {
      rank: number;
      cost: number;
      tokens: number;
      bytes: number;
      enqueuedMs: number;
      deadlineMs: number;
      expiresMs: number;
      sequence: number;
      ownDeadline: boolean;
      ownExpiry: boolean;
    },
  ) {
    this.value = value;
    this.lane = lane;
    this.rank = facts.rank;
    this.cost = facts.cost;
    this.tokens = facts.tokens;
    this.bytes = facts.bytes;
    this.enqueuedMs = facts.enqueuedMs;
    this.deadlineMs = facts.deadlineMs;
    this.expiresMs = facts.expiresMs;
    this.sequence = facts.sequence;
    this.ownDeadline = facts.ownDeadline;
    this.ownExpiry = facts.ownExpiry;
  }
}

/** Tickets with deadlines of their own, earliest first. */
export class DeadlineHeap<T> extends IndexedHeap<Ticket<T>> {
  protected override place(ticket: Ticket<T>, index: number): void {
    ticket.deadlineIndex = index;
  }
}

/** Tickets with expiries of their own, earliest first. */
export class ExpiryHeap<T> extends IndexedHeap<Ticket<T>> {
  protected override place(ticket: Ticket<T>, index: number): void {
    ticket.expiryIndex = index;
  }
}
