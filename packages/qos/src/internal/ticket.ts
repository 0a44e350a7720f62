/**
 * The handle of an item in a queue of its own. Owns the item's state; at the same time the answer to the offer that made
 * it, so that an offer makes one object.
 */
import type { QueueItem } from './queue-item.js';
import type { TenantLane } from './tenant-lane.js';

/** Waiting, handed out, or gone for another reason (cancelled, expired, displaced). */
export type TicketState = 'queued' | 'taken' | 'gone';

const NOBODY: readonly never[] = [];

/** The fields that a cancel touches come first: side by side they are fewer lines of memory to wait for. */
export class Ticket<T> implements QueueItem {
  declare state: TicketState;
  declare lane: TenantLane | null;
  declare prev: QueueItem | null;
  declare next: QueueItem | null;
  declare older: QueueItem | null;
  declare younger: QueueItem | null;
  declare ownDeadlineMs: number | null;
  declare ownExpiresMs: number | null;
  declare readonly cost: number;
  declare readonly footprint: number;
  declare readonly bytes: number;
  declare sequence: number;
  declare readonly enqueuedMs: number;
  declare readonly value: T;

  constructor(value: T, cost: number, footprint: number, bytes: number, enqueuedMs: number) {
    this.state = 'queued';
    this.lane = null;
    this.prev = null;
    this.next = null;
    this.older = null;
    this.younger = null;
    this.ownDeadlineMs = null;
    this.ownExpiresMs = null;
    this.cost = cost;
    this.footprint = footprint;
    this.bytes = bytes;
    this.sequence = 0;
    this.enqueuedMs = enqueuedMs;
    this.value = value;
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
