/**
 * The handle of an item in a queue of its own. Owns the item's state; at the same time the answer to the offer that made
 * it, so that an offer makes one object.
 */
import { QueueItem } from './queue-item.js';
import type { TenantLane } from './tenant-lane.js';

/** Waiting, handed out, or gone for another reason (cancelled, expired, displaced). */
export type TicketState = 'queued' | 'taken' | 'gone';

const NOBODY: readonly never[] = [];

export class Ticket<T> extends QueueItem {
  readonly value: T;
  state: TicketState = 'queued';

  constructor(value: T, cost: number, tokens: number, bytes: number, enqueuedMs: number) {
    super(cost, tokens, bytes, enqueuedMs);
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
