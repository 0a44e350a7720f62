/**
 * One waiting item with the links of every structure it stands in. Owns no order; the lanes and the queue link and
 * unlink it, which is what makes a cancel O(1) whatever the backlog. Kept small: at a million items its size is the
 * price of every operation.
 */
import type { TenantLane } from './tenant-lane.js';

/** Waiting, handed out, or gone for another reason (cancelled, expired, displaced). */
export type TicketState = 'queued' | 'taken' | 'gone';

/** An expiry of the item's own, where its band's would not do: only those stand in a heap. */
export class OwnExpiry<T> {
  readonly ticket: Ticket<T>;
  readonly atMs: number;
  heapIndex: number = -1;

  constructor(ticket: Ticket<T>, atMs: number) {
    this.ticket = ticket;
    this.atMs = atMs;
  }
}

export class Ticket<T> {
  readonly value: T;
  readonly lane: TenantLane<T>;
  readonly cost: number;
  readonly tokens: number;
  readonly bytes: number;
  readonly enqueuedMs: number;
  readonly sequence: number;
  state: TicketState = 'queued';
  /** Its own deadline and the place in its lane's heap; without one, FIFO keeps it in order. */
  ownDeadlineMs: number | null = null;
  heapIndex: number = -1;
  expiry: OwnExpiry<T> | null = null;
  prev: Ticket<T> | null = null;
  next: Ticket<T> | null = null;
  older: Ticket<T> | null = null;
  younger: Ticket<T> | null = null;

  constructor(
    value: T,
    lane: TenantLane<T>,
    cost: number,
    tokens: number,
    bytes: number,
    enqueuedMs: number,
    sequence: number,
  ) {
    this.value = value;
    this.lane = lane;
    this.cost = cost;
    this.tokens = tokens;
    this.bytes = bytes;
    this.enqueuedMs = enqueuedMs;
    this.sequence = sequence;
  }

  get rank(): number {
    return this.lane.rank;
  }

  get deadlineMs(): number {
    return this.ownDeadlineMs ?? this.enqueuedMs + this.lane.band.deadlineAfterMs;
  }

  get expiresMs(): number {
    return this.expiry === null ? this.enqueuedMs + this.lane.band.ttlMs : this.expiry.atMs;
  }
}
