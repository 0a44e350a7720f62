/**
 * Everything that waits in one band: tenants in a heap by virtual counter, items in a list by age. Owns fairness
 * between tenants (VTC: Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024); must not know other bands.
 */
import { IndexedHeap } from './indexed-heap.js';
import { TenantLane } from './tenant-lane.js';
import type { Ticket } from './ticket.js';

/** Newest items looked at for a victim; bounded so that displacement stays O(1) with a million tenants. */
const VICTIM_SAMPLE = 8;

export class BandLane<T> {
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
  oldest: Ticket<T> | null = null;
  newest: Ticket<T> | null = null;
  /** The item with the band's own time to live that expires first. */
  soonest: Ticket<T> | null = null;
  readonly #active: IndexedHeap<TenantLane<T>> = new IndexedHeap<TenantLane<T>>();
  readonly #lanes: Map<string, TenantLane<T>> = new Map();
  #idleHead: TenantLane<T> | null = null;
  #idleTail: TenantLane<T> | null = null;
  #idleCount: number = 0;
  #virtual: number = 0;
  #turn: number = 0;

  constructor(rank: number, times: { readonly deadlineAfterMs: number; readonly ttlMs: number }) {
    this.rank = rank;
    this.deadlineAfterMs = times.deadlineAfterMs;
    this.ttlMs = times.ttlMs;
  }

  /** Service that a tenant of weight 1 who always waited has had; never goes back. */
  get virtualTime(): number {
    return Math.max(this.#virtual, this.#active.size > 0 ? this.#active.peekKey() : 0);
  }

  get tenants(): number {
    return this.#lanes.size;
  }

  get activeTenants(): number {
    return this.#active.size;
  }

  /** The tenant's lane, made when new. A new tenant starts level with those who wait, never with credit. */
  lane(tenant: string, weight: number): TenantLane<T> {
    let lane = this.#lanes.get(tenant);
    if (lane === undefined) {
      lane = new TenantLane<T>(tenant, this, weight);
      lane.counter = this.virtualTime;
      lane.floor = lane.counter;
      this.#lanes.set(tenant, lane);
    } else {
      lane.weight = weight;
    }
    return lane;
  }

  find(tenant: string): TenantLane<T> | undefined {
    return this.#lanes.get(tenant);
  }

  /** Adds an item at the young end. `debtCap` is the most weighted tokens a returning tenant may owe. */
  append(ticket: Ticket<T>, debtCap: number): void {
    const lane = ticket.lane;
    ticket.older = this.newest;
    if (this.newest === null) this.oldest = ticket;
    else this.newest.younger = ticket;
    this.newest = ticket;
    if (this.soonest === null && ticket.expiry === null) this.soonest = ticket;
    lane.append(ticket);
    this.#entered(ticket, lane, debtCap);
  }

  /** Puts an item back where its age belongs. */
  restore(ticket: Ticket<T>, debtCap: number): void {
    let older: Ticket<T> | null = null;
    let younger = this.oldest;
    while (younger !== null && younger.sequence < ticket.sequence) {
      older = younger;
      younger = younger.younger;
    }
    ticket.older = older;
    ticket.younger = younger;
    if (older === null) this.oldest = ticket;
    else older.younger = ticket;
    if (younger === null) this.newest = ticket;
    else younger.older = ticket;
    if (
      ticket.expiry === null &&
      (this.soonest === null || ticket.sequence < this.soonest.sequence)
    ) {
      this.soonest = ticket;
    }
    ticket.lane.restore(ticket);
    this.#entered(ticket, ticket.lane, debtCap);
  }

  remove(ticket: Ticket<T>, nowMs: number): void {
    const lane = ticket.lane;
    if (ticket === this.soonest) {
      // Items with the band's own time to live stand in the order of their age; the others are passed over once.
      let next = ticket.younger;
      while (next !== null && next.expiry !== null) next = next.younger;
      this.soonest = next;
    }
    if (ticket.older === null) this.oldest = ticket.younger;
    else ticket.older.younger = ticket.younger;
    if (ticket.younger === null) this.newest = ticket.older;
    else ticket.younger.older = ticket.older;
    ticket.older = null;
    ticket.younger = null;
    this.count -= 1;
    this.bytes -= ticket.bytes;
    this.tokens -= ticket.tokens;
    this.cost -= ticket.cost;
    lane.remove(ticket);
    lane.tokens -= ticket.tokens;
    if (lane.queued === 0) {
      this.weight = this.#active.size === 1 ? 0 : this.weight - lane.waitingWeight;
      this.#virtual = this.virtualTime;
      this.#active.removeAt(lane.heapIndex);
      this.rest(lane, nowMs);
    }
  }

  /**
   * Tokens dispatched before a newcomer of a tenant of this weight. While the tenant's own items and the newcomer are
   * served, each other tenant is served as much for its weight, and first what the tenant is ahead of the others.
   */
  tokensBefore(tenant: string | undefined, weight: number = 1): number {
    if (tenant === undefined || this.count === 0) return this.tokens;
    const lane = this.#lanes.get(tenant);
    const own = lane?.tokens ?? 0;
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
  first(): Ticket<T> | null {
    const lane = this.#active.peek();
    return lane === undefined ? null : lane.first();
  }

  /**
   * Charges a lane; a negative charge is a refund. It stops at the level from which the tenant last began to wait, not
   * at the virtual time: that one follows the others, and would make the estimate count in place of what was used.
   */
  charge(lane: TenantLane<T>, cost: number): void {
    const counter = lane.counter + cost / lane.weight;
    lane.counter = cost < 0 ? Math.max(counter, Math.min(lane.counter, lane.floor)) : counter;
    if (lane.heapIndex >= 0) this.#active.update(lane.heapIndex, lane.counter, this.#nextTurn());
  }

  /** Takes note that a lane's item was dispatched: virtual time moves to the lane's counter before its charge. */
  dispatched(lane: TenantLane<T>): void {
    if (lane.counter > this.#virtual) this.#virtual = lane.counter;
  }

  /** The item to give up for a higher band: of the newest few, the one whose tenant has had most. */
  victim(): Ticket<T> | null {
    let best = this.newest;
    let candidate = this.newest;
    for (let seen = 0; candidate !== null && seen < VICTIM_SAMPLE; seen += 1) {
      if (best === null || candidate.lane.counter > best.lane.counter) best = candidate;
      candidate = candidate.older;
    }
    return best;
  }

  /** Marks a lane idle when it neither waits nor runs, so that it can be forgotten later. */
  rest(lane: TenantLane<T>, nowMs: number): void {
    if (lane.idle || lane.queued > 0 || lane.inFlight > 0) return;
    lane.idle = true;
    lane.idleSinceMs = nowMs;
    lane.idlePrev = this.#idleTail;
    if (this.#idleTail === null) this.#idleHead = lane;
    else this.#idleTail.idleNext = lane;
    this.#idleTail = lane;
    this.#idleCount += 1;
  }

  /** Takes a lane back from the idle ones. */
  wake(lane: TenantLane<T>): void {
    if (!lane.idle) return;
    lane.idle = false;
    if (lane.idlePrev === null) this.#idleHead = lane.idleNext;
    else lane.idlePrev.idleNext = lane.idleNext;
    if (lane.idleNext === null) this.#idleTail = lane.idlePrev;
    else lane.idleNext.idlePrev = lane.idlePrev;
    lane.idlePrev = null;
    lane.idleNext = null;
    this.#idleCount -= 1;
  }

  /** Forgets lanes idle since before a time, and the longest idle ones beyond a number. */
  forget(idleBeforeMs: number, maxIdle: number): void {
    let lane = this.#idleHead;
    while (lane !== null && (lane.idleSinceMs <= idleBeforeMs || this.#idleCount > maxIdle)) {
      const next: TenantLane<T> | null = lane.idleNext;
      this.wake(lane);
      this.#lanes.delete(lane.tenant);
      lane = next;
    }
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

  #nextTurn(): number {
    this.#turn += 1;
    return this.#turn;
  }

  #entered(ticket: Ticket<T>, lane: TenantLane<T>, debtCap: number): void {
    this.count += 1;
    this.bytes += ticket.bytes;
    this.tokens += ticket.tokens;
    this.cost += ticket.cost;
    lane.tokens += ticket.tokens;
    if (lane.heapIndex >= 0) return;
    lane.waitingWeight = lane.weight;
    this.weight += lane.weight;
    this.wake(lane);
    const now = this.virtualTime;
    lane.floor = now;
    lane.counter = Math.min(Math.max(lane.counter, now), now + debtCap);
    this.#active.push(lane, lane.counter, this.#nextTurn());
  }
}
