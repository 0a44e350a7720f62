/**
 * What waits for one model: the arithmetic of bounds, displacement and expiry over bands of tenants. Owns no item's
 * state: whoever calls knows which of its items wait. `createFairQueue` is this with tickets, a model's pool with permits.
 */
import { BANDS } from '@aim-gpu/core';
import type { BandOrder, BandView } from '../band-order.js';
import { BandLane, type DebtCap } from './band-lane.js';
import { ItemHeap } from './item-heap.js';
import type { QueueItem } from './queue-item.js';
import type { TenantLane } from './tenant-lane.js';

/** Bounds of a queue; Infinity is none. */
export interface CoreBounds {
  readonly count: number;
  readonly bytes: number;
  readonly tokens: number;
}

/** What a core is made of. */
export interface CoreOptions {
  readonly order: BandOrder;
  readonly bands: readonly { readonly deadlineAfterMs: number; readonly ttlMs: number }[];
  readonly perBand: CoreBounds;
  readonly total: CoreBounds;
  readonly forgetAfterMs: number;
  readonly maxIdleTenants: number;
  readonly debtCap: DebtCap | null;
}

/** A bound that was reached. */
export type Bound = 'count' | 'bytes' | 'tokens';

const NOBODY: readonly never[] = [];
/** Every band. */
export const ALL_BANDS: number = (1 << BANDS.length) - 1;

export class QueueCore<T extends QueueItem> {
  readonly bands: readonly BandLane[];
  count: number = 0;
  /** Of the last offer: whoever had to give way, and the bound that refused it, of its band or of all. */
  displaced: readonly T[] = NOBODY;
  refusedBy: Bound = 'count';
  refusedOf: 'band' | 'total' = 'band';
  readonly #order: BandOrder;
  readonly #perBand: CoreBounds;
  readonly #total: CoreBounds;
  readonly #forgetAfterMs: number;
  readonly #scales: number[] = BANDS.map(() => 1);
  readonly #expiries: ItemHeap = new ItemHeap();
  readonly #view: BandView = { oldestMs: (rank) => this.band(rank).oldestMs() };
  #mask: number = 0;
  #sequence: number = 0;
  #bytes: number = 0;
  #tokens: number = 0;

  constructor(options: CoreOptions) {
    this.#order = options.order;
    this.#perBand = options.perBand;
    this.#total = options.total;
    this.#forgetAfterMs = options.forgetAfterMs;
    const { maxIdleTenants, debtCap } = options;
    this.bands = options.bands.map(
      (times, rank) => new BandLane(rank, { ...times, maxIdleTenants, debtCap }),
    );
  }

  band(rank: number): BandLane {
    return this.bands[rank] as BandLane;
  }

  /** Adds an item; false when a bound is reached, see {@link refusedBy}. */
  offer(item: T, rank: number, tenant: string, weight: number, nowMs: number): boolean {
    if (!this.#hasRoom(rank, item.bytes, item.footprint, nowMs)) return false;
    const band = this.band(rank);
    const lane = band.lane(tenant, weight);
    this.#sequence += 1;
    item.sequence = this.#sequence;
    item.lane = lane;
    band.append(item, lane);
    this.#entered(item, rank);
    return true;
  }

  /** Puts an item that was taken back at its old place and refunds its charge. */
  restore(item: T, lane: TenantLane, nowMs: number): void {
    const { band } = lane;
    band.settle(lane, -Math.max(1, item.cost), nowMs);
    band.restore(item, lane);
    this.#entered(item, band.rank);
  }

  /** Charges an item that is dispatched while nothing waits; false when it is larger than a bound. */
  pass(item: T, rank: number, tenant: string, weight: number, nowMs: number): boolean {
    if (!this.#hasRoom(rank, item.bytes, item.footprint, nowMs)) return false;
    const band = this.band(rank);
    const lane = band.lane(tenant, weight);
    this.#sequence += 1;
    item.sequence = this.#sequence;
    item.lane = lane;
    this.#order.activated(rank);
    this.#order.dispatched(rank, item.cost, 1 << rank, this.#view, nowMs);
    band.pass(lane, Math.max(1, item.cost));
    return true;
  }

  /** The item whose turn it is among the bands allowed; changes nothing. */
  next(nowMs: number, allowed: number): T | null {
    const rank = this.#order.choose(this.#mask & allowed, this.#view, nowMs);
    return rank < 0 ? null : (this.band(rank).first() as T | null);
  }

  /** The rank whose turn a band has: its own, or the most urgent that waits while it is owed its promised share. */
  turnOf(rank: number): number {
    if (!this.#order.owes(rank)) return rank;
    return Math.min(rank, 31 - Math.clz32(this.#mask & -this.#mask));
  }

  /** The item whose turn it is among one tenant's in a band; changes nothing. */
  firstOf(rank: number, tenant: string): T | null {
    const lane = this.band(rank).find(tenant);
    return lane === undefined ? null : (lane.first() as T | null);
  }

  /** Ends an item that was taken: its tenant pays `actualCost` instead of the item's cost. */
  settle(item: T, lane: TenantLane, actualCost: number, nowMs: number): void {
    lane.band.settle(lane, actualCost - Math.max(1, item.cost), nowMs);
  }

  /** Removes an item for dispatch and charges its tenant. */
  take(item: T, lane: TenantLane, nowMs: number): void {
    const { band } = lane;
    this.#order.dispatched(band.rank, item.cost, this.#mask, this.#view, nowMs);
    band.dispatched(lane);
    this.remove(item, lane, nowMs);
    band.charge(lane, Math.max(1, item.cost));
  }

  /** Removes an item without charge. */
  remove(item: T, lane: TenantLane, nowMs: number): T {
    const { band } = lane;
    band.remove(item, lane, nowMs);
    if (band.count === 0) this.#mask &= ~(1 << band.rank);
    if (item.ownExpiresMs !== null) this.#expiries.remove(item);
    this.count -= 1;
    this.#bytes -= item.bytes;
    this.#tokens -= item.footprint;
    return item;
  }

  /** Removes and returns what has waited too long, and forgets tenants long idle. */
  expire(nowMs: number): readonly T[] {
    const gone: T[] = [];
    for (const band of this.bands) {
      // Items with the band's own time to live stand in the order of their expiry; the others are in the heap.
      while (band.soonest !== null && band.soonestMs() <= nowMs) {
        gone.push(this.#drop(band.soonest, nowMs));
      }
      band.forget(nowMs - this.#forgetAfterMs);
    }
    for (let item = this.#expiries.first(); item !== null; item = this.#expiries.first()) {
      if (this.#expiries.firstKey() > nowMs) break;
      gone.push(this.#drop(item, nowMs));
    }
    return gone;
  }

  nextExpiryMs(): number {
    let soonest = this.#expiries.firstKey();
    for (const band of this.bands) soonest = Math.min(soonest, band.soonestMs());
    return soonest;
  }

  /** Scales a band's own bounds, 0 to 1; what already waits stays. */
  scaleBound(rank: number, scale: number): void {
    this.#scales[rank] = Math.min(1, Math.max(0, scale));
  }

  /** Tokens that wait in a band and all bands above it. */
  tokensAhead(rank: number): number {
    let tokens = 0;
    for (let above = 0; above <= rank; above += 1) tokens += this.band(above).tokens;
    return tokens;
  }

  /** Every waiting item, oldest first within its band. */
  waiting(): readonly T[] {
    const items: T[] = [];
    for (const { oldest } of this.bands) {
      for (let item = oldest; item !== null; item = item.younger) items.push(item as T);
    }
    return items;
  }

  #drop(item: QueueItem, nowMs: number): T {
    return this.remove(item as T, item.lane as TenantLane, nowMs);
  }

  #entered(item: T, rank: number): void {
    this.count += 1;
    this.#bytes += item.bytes;
    this.#tokens += item.footprint;
    const bit = 1 << rank;
    if ((this.#mask & bit) === 0) {
      this.#mask |= bit;
      this.#order.activated(rank);
    }
    if (item.ownExpiresMs !== null) this.#expiries.push(item, item.ownExpiresMs);
  }

  /** Whether an item finds room, if need be by displacing lower bands. */
  #hasRoom(rank: number, bytes: number, tokens: number, nowMs: number): boolean {
    const band = this.band(rank);
    const scale = this.#scales[rank] as number;
    const { count: bandCount, bytes: bandBytes, tokens: bandTokens } = this.#perBand;
    this.displaced = NOBODY;
    this.refusedOf = 'band';
    if (band.count + 1 > Math.max(1, bandCount * scale)) return this.#refuse('count');
    if (band.bytes + bytes > bandBytes * scale) return this.#refuse('bytes');
    if (band.tokens + tokens > bandTokens * scale) return this.#refuse('tokens');
    const bound = this.#overrun(bytes, tokens, 0, 0, 0);
    if (bound === null) return true;
    this.refusedOf = 'total';
    return this.#makeRoom(rank, bytes, tokens, nowMs) || this.#refuse(bound);
  }

  #refuse(bound: Bound): false {
    this.refusedBy = bound;
    return false;
  }

  /** The total bound that one more item would exceed if so much were gone. */
  #overrun(
    bytes: number,
    tokens: number,
    goneCount: number,
    goneBytes: number,
    goneTokens: number,
  ): Bound | null {
    const total = this.#total;
    if (this.count - goneCount + 1 > total.count) return 'count';
    if (this.#bytes - goneBytes + bytes > total.bytes) return 'bytes';
    return this.#tokens - goneTokens + tokens > total.tokens ? 'tokens' : null;
  }

  /** Removes lower bands' items until there is room; removes none when even all of them would not do. */
  #makeRoom(rank: number, bytes: number, tokens: number, nowMs: number): boolean {
    let goneCount = 0;
    let goneBytes = 0;
    let goneTokens = 0;
    for (let lower = rank + 1; lower < this.bands.length; lower += 1) {
      goneCount += this.band(lower).count;
      goneBytes += this.band(lower).bytes;
      goneTokens += this.band(lower).tokens;
    }
    if (this.#overrun(bytes, tokens, goneCount, goneBytes, goneTokens) !== null) return false;
    const victims: T[] = [];
    for (let lower = this.bands.length - 1; lower > rank; ) {
      if (this.#overrun(bytes, tokens, 0, 0, 0) === null) break;
      const victim = this.band(lower).victim();
      if (victim === null) lower -= 1;
      else victims.push(this.#drop(victim, nowMs));
    }
    this.displaced = victims;
    return true;
  }
}
