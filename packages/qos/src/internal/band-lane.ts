/**
 * Everything that waits in one band: tenants in a heap by virtual counter, items in a list by age. Owns fairness
 * between tenants (VTC: Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024); must not know other bands.
 */
import { IdleLanes } from './idle-lanes.js';
import { IndexedHeap } from './indexed-heap.js';
import type { QueueItem } from './queue-item.js';
import { TenantLane } from './tenant-lane.js';

/** Newest items looked at for a victim; bounded so that displacement stays O(1) with a million tenants. */
const VICTIM_SAMPLE = 8;

/** Most weighted tokens a returning tenant may owe, for its weight, when tenants of so much weight wait. */
export type DebtCap = (rank: number, waitingWeight: number) => number;

export class BandLane {
  readonly rank: number;
  /** When an item's first token is due, and when it stops waiting, unless it says otherwise. */
  readonly deadlineAfterMs: number;
  readonly ttlMs: number;
  count: number = 0;
  bytes: number = 0;
  tokens: number = 0;
  cost: number = 0;
  /** Of the tenants that wait. */
  weight: number = 0;
  oldest: QueueItem | null = null;
  newest: QueueItem | null = null;
  /** The item with the band's own time to live that expires first. */
  soonest: QueueItem | null = null;
  readonly #debtCap: DebtCap | null;
  readonly #active: IndexedHeap<TenantLane> = new IndexedHeap<TenantLane>();
  readonly #lanes: Map<string, TenantLane> = new Map();
  readonly #idle: IdleLanes;
  #virtual: number = 0;
  #turn: number = 0;

  constructor(
    rank: number,
    options: {
      readonly deadlineAfterMs: number;
      readonly ttlMs: number;
      readonly maxIdleTenants: number;
      readonly debtCap: DebtCap | null;
    },
  ) {
    this.rank = rank;
    this.deadlineAfterMs = options.deadlineAfterMs;
    this.ttlMs = options.ttlMs;
    this.#debtCap = options.debtCap;
    this.#idle = new IdleLanes(options.maxIdleTenants, (lane) => {
      if (this.#lanes.get(lane.tenant) === lane) this.#lanes.delete(lane.tenant);
    });
  }

  /** Service that a tenant of weight 1 who always waited has had; never goes back. */
  get virtualTime(): number {
    return Math.max(this.#virtual, this.#active.size > 0 ? this.#active.peekKey() : 0);
  }

  get activeTenants(): number {
    return this.#active.size;
  }

  /** Tenants remembered, whether they wait or not. */
  get knownTenants(): number {
    return this.#lanes.size;
  }

  /** The tenant's lane, made when new. A new tenant starts level with those who wait, never with credit. */
  lane(tenant: string, weight: number): TenantLane {
    let lane = this.#lanes.get(tenant);
    if (lane === undefined) {
      lane = new TenantLane(tenant, this, weight);
      lane.counter = this.virtualTime;
      lane.floor = lane.counter;
      this.#lanes.set(tenant, lane);
    } else {
      lane.weight = weight;
    }
    return lane;
  }

  find(tenant: string): TenantLane | undefined {
    return this.#lanes.get(tenant);
  }

  /** Adds an item at the young end. */
  append(item: QueueItem, lane: TenantLane): void {
    const { newest } = this;
    item.older = newest;
    if (newest === null) this.oldest = item;
    else newest.younger = item;
    this.newest = item;
    if (this.soonest === null && item.ownExpiresMs === null) this.soonest = item;
    lane.append(item);
    this.#entered(item, lane);
  }

  /** Puts an item back where its age belongs. */
  restore(item: QueueItem, lane: TenantLane): void {
    let older: QueueItem | null = null;
    let younger = this.oldest;
    while (younger !== null && younger.sequence < item.sequence) {
      older = younger;
      younger = younger.younger;
    }
    item.older = older;
    item.younger = younger;
    if (older === null) this.oldest = item;
    else older.younger = item;
    if (younger === null) this.newest = item;
    else younger.older = item;
    const { soonest } = this;
    if (item.ownExpiresMs === null && (soonest === null || item.sequence < soonest.sequence)) {
      this.soonest = item;
    }
    lane.restore(item);
    this.#entered(item, lane);
  }

  /** Takes an item out of every order. */
  remove(item: QueueItem, lane: TenantLane, nowMs: number): void {
    const { older, younger } = item;
    if (item === this.soonest) {
      // Items with the band's own time to live stand in the order of their age; the others are passed over once.
      let next = younger;
      while (next !== null && next.ownExpiresMs !== null) next = next.younger;
      this.soonest = next;
    }
    if (older === null) this.oldest = younger;
    else older.younger = younger;
    if (younger === null) this.newest = older;
    else younger.older = older;
    item.older = null;
    item.younger = null;
    this.count -= 1;
    this.bytes -= item.bytes;
    this.tokens -= item.footprint;
    this.cost -= item.cost;
    lane.remove(item);
    lane.tokens -= item.footprint;
    if (lane.queued === 0) {
      this.weight = this.#active.size === 1 ? 0 : this.weight - lane.waitingWeight;
      this.#virtual = this.virtualTime;
      this.#active.removeAt(lane.heapIndex);
      this.#idle.rest(lane, nowMs);
    }
  }

  /** Charges a dispatch to a tenant at a moment when nobody in the band waits, as if it had waited for no time. */
  pass(lane: TenantLane, cost: number): void {
    this.#lift(lane, lane.weight);
    if (lane.counter > this.#virtual) this.#virtual = lane.counter;
    lane.inFlight += 1;
    lane.counter += cost / lane.weight;
  }

  /**
   * Tokens dispatched before a newcomer of a tenant of this weight. While the tenant's own items and the newcomer are
   * served, each other tenant is served as much for its weight, and first what the tenant is ahead of the others.
   */
  tokensBefore(tenant: string | undefined, weight: number = 1): number {
    if (tenant === undefined || this.count === 0) return this.tokens;
    const lane = this.#lanes.get(tenant);
    const own = lane === undefined ? 0 : lane.tokens;
    const others = this.tokens - own;
    if (others <= 0) return own;
    const mine = weight > 0 && Number.isFinite(weight) ? weight : 1;
    const otherWeight =
      this.weight - (lane !== undefined && lane.queued > 0 ? lane.waitingWeight : 0);
    // Charges are in weighted tokens; what waits says how many of those make a token.
    const perCost = this.cost > 0 ? this.tokens / this.cost : 1;
    const ahead = lane === undefined ? 0 : Math.max(0, lane.counter - this.virtualTime) * perCost;
    const mean = this.tokens / this.count;
    return own + Math.min(others, (ahead + (own + mean) / mine) * otherWeight);
  }

  /** The next item by fairness, then by deadline; null when nothing waits. */
  first(): QueueItem | null {
    const lane = this.#active.peek();
    return lane === undefined ? null : lane.first();
  }

  oldestMs(): number {
    return this.oldest === null ? Number.POSITIVE_INFINITY : this.oldest.enqueuedMs;
  }

  /** When the first item with the band's own time to live expires; Infinity without any. */
  soonestMs(): number {
    const { soonest } = this;
    return soonest === null ? Number.POSITIVE_INFINITY : soonest.enqueuedMs + this.ttlMs;
  }

  /**
   * Charges a lane; a negative charge is a refund. It stops at the level from which the tenant last began to wait, not
   * at the virtual time: that one follows the others, and would make the estimate count in place of what was used.
   */
  charge(lane: TenantLane, cost: number): void {
    const counter = lane.counter + cost / lane.weight;
    lane.counter = cost < 0 ? Math.max(counter, Math.min(lane.counter, lane.floor)) : counter;
    if (lane.heapIndex >= 0) this.#active.update(lane.heapIndex, lane.counter, this.#nextTurn());
  }

  /** Takes note that a lane's item was dispatched: virtual time moves to the lane's counter before its charge. */
  dispatched(lane: TenantLane): void {
    if (lane.counter > this.#virtual) this.#virtual = lane.counter;
    lane.inFlight += 1;
  }

  /** Takes note that a dispatched item has ended and what it took more, or less, than it was charged. */
  settle(lane: TenantLane, cost: number, nowMs: number): void {
    if (cost !== 0) this.charge(lane, cost);
    lane.inFlight = Math.max(0, lane.inFlight - 1);
    this.#idle.rest(lane, nowMs);
  }

  /** The item to give up for a higher band: of the newest few, the one whose tenant has had most. */
  victim(): QueueItem | null {
    let best = this.newest;
    let candidate = best;
    for (let seen = 0; candidate !== null && seen < VICTIM_SAMPLE; seen += 1) {
      if (counterOf(candidate) > counterOf(best)) best = candidate;
      candidate = candidate.older;
    }
    return best;
  }

  /** Forgets tenants that have rested since before a time. */
  forget(restedBeforeMs: number): void {
    this.#idle.forget(restedBeforeMs);
  }

  /** How far each tenant is ahead of the virtual time, for snapshots. */
  lags(): ReadonlyMap<string, number> {
    const now = this.virtualTime;
    const lags = new Map<string, number>();
    for (const [tenant, lane] of this.#lanes) {
      if (lane.counter > now) lags.set(tenant, lane.counter - now);
    }
    return lags;
  }

  /** Sets how far a tenant is ahead, from a snapshot. */
  restoreLag(tenant: string, lag: number, nowMs: number): void {
    const lane = this.lane(tenant, 1);
    lane.counter = this.virtualTime + lag;
    this.#idle.rest(lane, nowMs);
  }

  #nextTurn(): number {
    this.#turn += 1;
    return this.#turn;
  }

  #entered(item: QueueItem, lane: TenantLane): void {
    this.count += 1;
    this.bytes += item.bytes;
    this.tokens += item.footprint;
    this.cost += item.cost;
    lane.tokens += item.footprint;
    if (lane.heapIndex >= 0) return;
    lane.waitingWeight = lane.weight;
    this.weight += lane.weight;
    this.#lift(lane, this.weight);
    this.#active.push(lane, lane.counter, this.#nextTurn());
  }

  /** A tenant begins to wait: time it did not wait gives it no credit, and of what it owes no more than the cap counts. */
  #lift(lane: TenantLane, waitingWeight: number): void {
    this.#idle.wake(lane);
    const now = this.virtualTime;
    lane.floor = now;
    if (lane.counter <= now) lane.counter = now;
    else if (this.#debtCap !== null) {
      lane.counter = Math.min(lane.counter, now + this.#debtCap(this.rank, waitingWeight));
    }
  }
}

function counterOf(item: QueueItem | null): number {
  return item === null || item.lane === null ? 0 : item.lane.counter;
}
