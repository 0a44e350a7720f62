/**
 * The handle of an item in a queue of its own. Owns the item's state; at the same time the answer to the offer that made
 * it, so that an offer makes one object.
 */
import type { QueueItem } from './queue-item.js';
import type { TenantLane } from './tenant-lane.js';

/** Waiting, handed out, or gone for another reason (cancelled, expired, displaced). */
export type TicketState = 'queued' | 'taken' | 'gone';

const NOBODY: readonly never[] = [];

export class Ticket<T> implements QueueItem {
  declare readonly cost: number;
  declare readonly footprint: number;
  declare readonly bytes: number;
  declare readonly enqueuedMs: number;
  declare ownDeadlineMs: number | null;
  declare ownExpiresMs: number | null;
  declare sequence: number;
  declare lane: TenantLane | null;
  declare prev: QueueItem | null;
  declare next: QueueItem | null;
  declare older: QueueItem | null;
  declare younger: QueueItem | null;
  declare readonly value: T;
  declare state: TicketState;

  constructor(value: T, cost: number, footprint: number, bytes: number, enqueuedMs: number) {
    this.cost = cost;
    this.footprint = footprint;
    this.bytes = bytes;
    this.enqueuedMs = enqueuedMs;
    this.ownDeadlineMs = null;
    this.ownExpiresMs = null;
    this.sequence = 0;
    this.lane = null;
    this.prev = null;
    this.next = null;
    this.older = null;
    this.younger = null;
    this.value = value;
    this.state = 'queued';
  }

  get ok(): true {
    return true;
  }

  get ticket(): Ticket<T> {
    return this;
  }

  /** Nobody: an offer that displaces somebody is answered by an object of its own, which the ticket does not keep. */
  get displaced(): readonly Ticket<T>[] {
    return NOBODY;
  }

  get deadlineMs(): number {
    return this.ownDeadlineMs ?? this.enqueuedMs + (this.lane as TenantLane).band.deadlineAfterMs;
  }

  get expiresMs(): number {
    return this.ownExpiresMs ?? this.enqueuedMs + (this.lane as TenantLane).band.ttlMs;
  }
}
