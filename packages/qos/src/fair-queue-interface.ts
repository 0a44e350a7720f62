/**
 * The words of the queue: what is offered, what a ticket is, which bounds hold. Types only; fair-queue.ts makes queues.
 */
import type { Band } from '@aim-gpu/core';
import type { BandOrderName } from './band-order.js';
import type { BandPolicyChanges } from './bands.js';

/** Most that may wait; null is unlimited. */
export interface QueueBounds {
  readonly count: number | null;
  readonly bytes: number | null;
  readonly tokens: number | null;
}

/** What a queue is made of. */
export interface FairQueueOptions {
  /** How bands take turns; `strict` unless said otherwise. */
  readonly order?: BandOrderName;
  readonly bands?: BandPolicyChanges;
  /** Most that may wait in one band. */
  readonly perBand?: Partial<QueueBounds>;
  /** Most that may wait altogether; when it is reached, items of lower bands give way. */
  readonly total?: Partial<QueueBounds>;
  /** Tenants that neither wait nor run are forgotten after this long, in milliseconds. */
  readonly forgetAfterMs?: number;
  /** Most idle tenants remembered a band. */
  readonly maxIdleTenants?: number;
  /**
   * Most a returning tenant may owe for past service, in weighted tokens for a weight of 1; no bound unless given. Asked
   * on each return of a tenant that owes, with the band and the weight of all tenants that wait in it.
   */
  readonly debtCap?: (band: Band, waitingWeight: number) => number;
}

/** One item to wait. */
export interface QueueEntry<T> {
  readonly value: T;
  readonly band: Band;
  readonly tenant: string;
  /** Share of the tenant against others in the band; 1 unless said otherwise. */
  readonly weight?: number;
  /** Weighted tokens the tenant is charged when the item is dispatched. */
  readonly cost: number;
  /** Tokens the item stands for in the bounds; `cost` unless said otherwise. */
  readonly tokens?: number;
  /** Bytes the item holds in memory while it waits. */
  readonly bytes?: number;
  /** When its first token is due, in monotonic milliseconds; the band's own target unless given. */
  readonly deadlineMs?: number | undefined;
  /** When it stops waiting, in monotonic milliseconds; the band's time to live unless given. */
  readonly expiresMs?: number | undefined;
}

/** An item that waits or waited. */
export interface QueueTicket<T> {
  readonly value: T;
  readonly enqueuedMs: number;
  readonly expiresMs: number;
  readonly deadlineMs: number;
  readonly cost: number;
  readonly state: 'queued' | 'taken' | 'gone';
}

/** What became of an offer: the ticket and whoever had to give way, or the bound that was reached. */
export type OfferResult<T> =
  | {
      readonly ok: true;
      readonly ticket: QueueTicket<T>;
      readonly displaced: readonly QueueTicket<T>[];
    }
  | {
      readonly ok: false;
      readonly bound: 'count' | 'bytes' | 'tokens';
      readonly of: 'band' | 'total';
    };

/** How much waits in one band. */
export interface BandDepth {
  readonly count: number;
  readonly bytes: number;
  readonly tokens: number;
  readonly tenants: number;
}

/** A queue of bands, tenants and items. */
export interface FairQueue<T> {
  readonly size: number;
  /** Adds an item, displacing strictly lower bands when the total bound is reached. */
  offer(entry: QueueEntry<T>, nowMs: number): OfferResult<T>;
  /** The item whose turn it is among the bands allowed (a mask of ranks); changes nothing. */
  next(nowMs: number, allowed?: number): QueueTicket<T> | null;
  /** The item whose turn it is among one tenant's in a band; changes nothing. */
  firstOf(band: Band, tenant: string): QueueTicket<T> | null;
  /** Removes an item for dispatch and charges its tenant. False when it no longer waits. */
  take(ticket: QueueTicket<T>, nowMs: number): boolean;
  /** Puts a taken item back at its old place, refunding its charge. False when it was not taken. */
  restore(ticket: QueueTicket<T>, nowMs: number): boolean;
  /** Removes an item without charge. False when it no longer waits. O(1), or O(log n) with a deadline of its own. */
  cancel(ticket: QueueTicket<T>, nowMs: number): boolean;
  /** Ends a taken item: the tenant is charged `actualCost` instead of the item's cost. */
  settle(ticket: QueueTicket<T>, actualCost: number, nowMs: number): void;
  /** Removes and returns what has waited too long. */
  expire(nowMs: number): readonly QueueTicket<T>[];
  /** When the next item expires; Infinity when none will. */
  nextExpiryMs(): number;
  /** Scales a band's own bounds, 0 to 1; what already waits stays. */
  scaleBound(band: Band, scale: number): void;
  /** What waits in a band. */
  depth(band: Band): BandDepth;
  /** Tokens that wait in a band and all bands above it. */
  tokensAhead(band: Band): number;
  /**
   * Tokens of a band that will be dispatched before a newcomer of a tenant: its own, and of the others what fairness
   * gives them meanwhile. Without a tenant all that waits in the band.
   */
  tokensWithin(band: Band, tenant?: string, weight?: number): number;
  /** When a band's oldest item came; Infinity when nothing waits. */
  oldestMs(band: Band): number;
  /** Every waiting item, oldest first within its band. */
  waiting(): readonly QueueTicket<T>[];
  /** How far each tenant is ahead of its band's virtual time, for snapshots. */
  lags(): Readonly<Record<string, ReadonlyMap<string, number>>>;
  /** Sets tenants' lags from a snapshot. */
  restoreLags(lags: Readonly<Record<string, ReadonlyMap<string, number>>>, nowMs: number): void;
}
