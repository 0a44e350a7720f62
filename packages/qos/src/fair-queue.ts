/**
 * The queue of one model: bands × tenants × items, bounded by count, bytes and tokens, with expiry, displacement and
 * O(1) cancel. Owns what waits and in which order; must not know endpoints, limits or timers: the caller tells the time.
 */
import { BANDS, type Band } from '@aim-gpu/core';
import {
  type BandOrder,
  type BandOrderName,
  type BandView,
  createBandOrder,
} from './band-order.js';
import { type BandPolicyChanges, bandRank, toBandPolicies } from './bands.js';
import { BandLane } from './internal/band-lane.js';
import { toCost } from './internal/cost.js';
import { IndexedHeap } from './internal/indexed-heap.js';
import type { TenantLane } from './internal/tenant-lane.js';
import { OwnExpiry, Ticket, type TicketState } from './internal/ticket.js';

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
  /** Most weighted tokens a returning tenant may owe for past service; asked on each return. */
  readonly debtCap?: () => number;
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

const UNBOUNDED = Number.POSITIVE_INFINITY;
/** 5 minutes, as reference designs of flow control forget idle flows. */
const FORGET_AFTER_MS = 300_000;
const MAX_IDLE_TENANTS = 10_000;
const ALL_BANDS = (1 << BANDS.length) - 1;

/** Default bounds of one band. */
const PER_BAND: QueueBounds = { count: 2_000, bytes: 64 * 2 ** 20, tokens: 20_000_000 };
/** Default bounds of one model's queue. */
const TOTAL: QueueBounds = { count: 5_000, bytes: 256 * 2 ** 20, tokens: 50_000_000 };

/** Makes an empty queue. Never throws for what is offered: costs that are not sane are made sane. */
export function createFairQueue<T>(options: FairQueueOptions = {}): FairQueue<T> {
  const policies = toBandPolicies(options.bands);
  const order: BandOrder = createBandOrder(options.order ?? 'strict', policies);
  const perBand = { ...PER_BAND, ...options.perBand };
  const total = { ...TOTAL, ...options.total };
  const forgetAfterMs = options.forgetAfterMs ?? FORGET_AFTER_MS;
  const maxIdleTenants = options.maxIdleTenants ?? MAX_IDLE_TENANTS;
  const debtCap = options.debtCap ?? (() => UNBOUNDED);
  const bands = policies.map(
    ({ targets, ttlMs }, rank) =>
      new BandLane<T>(rank, { deadlineAfterMs: targets.ttftMs ?? ttlMs, ttlMs }),
  );
  const scales = BANDS.map(() => 1);
  const expiries = new IndexedHeap<OwnExpiry<T>>();
  const maxCount = total.count ?? UNBOUNDED;
  const maxBytes = total.bytes ?? UNBOUNDED;
  const maxTokens = total.tokens ?? UNBOUNDED;
  const bandCount = perBand.count ?? UNBOUNDED;
  const bandBytes = perBand.bytes ?? UNBOUNDED;
  const bandTokens = perBand.tokens ?? UNBOUNDED;
  let mask = 0;
  let sequence = 0;
  let count = 0;
  let heldBytes = 0;
  let heldTokens = 0;

  const lane = (rank: number): BandLane<T> => bands[rank] as BandLane<T>;
  const view: BandView = {
    oldestMs: (rank) => lane(rank).oldest?.enqueuedMs ?? UNBOUNDED,
  };

  const entered = (ticket: Ticket<T>): void => {
    count += 1;
    heldBytes += ticket.bytes;
    heldTokens += ticket.tokens;
    const bit = 1 << ticket.rank;
    if ((mask & bit) === 0) {
      mask |= bit;
      order.activated(ticket.rank);
    }
    const { expiry } = ticket;
    if (expiry !== null) expiries.push(expiry, expiry.atMs, ticket.sequence);
  };
  const leave = (ticket: Ticket<T>, state: TicketState, nowMs: number): void => {
    const band = lane(ticket.rank);
    band.remove(ticket, nowMs);
    if (band.count === 0) mask &= ~(1 << ticket.rank);
    if (ticket.expiry !== null) expiries.removeAt(ticket.expiry.heapIndex);
    count -= 1;
    heldBytes -= ticket.bytes;
    heldTokens -= ticket.tokens;
    ticket.state = state;
  };

  /** Lower bands' items that must give way, or null when even all of them would not do. */
  const makeRoom = (
    rank: number,
    bytes: number,
    tokens: number,
    nowMs: number,
  ): Ticket<T>[] | null => {
    let freeCount = 0;
    let freeBytes = 0;
    let freeTokens = 0;
    for (let lower = rank + 1; lower < bands.length; lower += 1) {
      freeCount += lane(lower).count;
      freeBytes += lane(lower).bytes;
      freeTokens += lane(lower).tokens;
    }
    if (
      count - freeCount + 1 > maxCount ||
      heldBytes - freeBytes + bytes > maxBytes ||
      heldTokens - freeTokens + tokens > maxTokens
    ) {
      return null;
    }
    const victims: Ticket<T>[] = [];
    for (let lower = bands.length - 1; lower > rank; ) {
      if (
        count + 1 <= maxCount &&
        heldBytes + bytes <= maxBytes &&
        heldTokens + tokens <= maxTokens
      ) {
        break;
      }
      const victim = lane(lower).victim();
      if (victim === null) {
        lower -= 1;
        continue;
      }
      leave(victim, 'gone', nowMs);
      victims.push(victim);
    }
    return victims;
  };

  const settleLane = (owner: TenantLane<T>, rank: number, cost: number, nowMs: number): void => {
    const band = lane(rank);
    if (cost !== 0) band.charge(owner, cost);
    owner.inFlight = Math.max(0, owner.inFlight - 1);
    band.rest(owner, nowMs);
  };

  const offer = (entry: QueueEntry<T>, nowMs: number): OfferResult<T> => {
    const rank = bandRank(entry.band);
    const band = lane(rank);
    const scale = scales[rank] as number;
    const cost = toCost(entry.cost);
    const tokens = toCost(entry.tokens ?? cost);
    const bytes = toCost(entry.bytes ?? 0);
    if (band.count + 1 > Math.max(1, bandCount * scale))
      return { ok: false, bound: 'count', of: 'band' };
    if (band.bytes + bytes > bandBytes * scale) return { ok: false, bound: 'bytes', of: 'band' };
    if (band.tokens + tokens > bandTokens * scale)
      return { ok: false, bound: 'tokens', of: 'band' };
    let displaced: readonly Ticket<T>[] = NOBODY;
    if (count + 1 > maxCount || heldBytes + bytes > maxBytes || heldTokens + tokens > maxTokens) {
      const victims = makeRoom(rank, bytes, tokens, nowMs);
      if (victims === null) {
        const bound =
          count + 1 > maxCount ? 'count' : heldBytes + bytes > maxBytes ? 'bytes' : 'tokens';
        return { ok: false, bound, of: 'total' };
      }
      displaced = victims;
    }
    const weight = entry.weight ?? 1;
    const owner = band.lane(entry.tenant, weight > 0 && Number.isFinite(weight) ? weight : 1);
    sequence += 1;
    const ticket = new Ticket<T>(entry.value, owner, cost, tokens, bytes, nowMs, sequence);
    // NaN compares with nothing, so one such key would block the heap it stands in.
    const { deadlineMs, expiresMs } = entry;
    if (deadlineMs !== undefined && !Number.isNaN(deadlineMs)) {
      ticket.ownDeadlineMs = deadlineMs;
    }
    if (expiresMs !== undefined && !Number.isNaN(expiresMs)) {
      ticket.expiry = new OwnExpiry(ticket, expiresMs);
    }
    band.append(ticket, debtCap());
    entered(ticket);
    return { ok: true, ticket, displaced };
  };

  return {
    get size() {
      return count;
    },
    offer,
    next: (nowMs, allowed = ALL_BANDS) => {
      const rank = order.choose(mask & allowed, view, nowMs);
      return rank < 0 ? null : lane(rank).first();
    },
    firstOf: (band, tenant) => lane(bandRank(band)).find(tenant)?.first() ?? null,
    take: (handle, nowMs) => {
      const ticket = handle as Ticket<T>;
      if (ticket.state !== 'queued') return false;
      const band = lane(ticket.rank);
      order.dispatched(ticket.rank, ticket.cost, mask, view, nowMs);
      band.dispatched(ticket.lane);
      ticket.lane.inFlight += 1;
      leave(ticket, 'taken', nowMs);
      band.charge(ticket.lane, Math.max(1, ticket.cost));
      return true;
    },
    restore: (handle, nowMs) => {
      const ticket = handle as Ticket<T>;
      if (ticket.state !== 'taken') return false;
      const band = lane(ticket.rank);
      settleLane(ticket.lane, ticket.rank, -Math.max(1, ticket.cost), nowMs);
      ticket.state = 'queued';
      band.restore(ticket, debtCap());
      entered(ticket);
      return true;
    },
    cancel: (handle, nowMs) => {
      const ticket = handle as Ticket<T>;
      if (ticket.state !== 'queued') return false;
      leave(ticket, 'gone', nowMs);
      return true;
    },
    settle: (handle, actualCost, nowMs) => {
      const ticket = handle as Ticket<T>;
      if (ticket.state !== 'taken') return;
      ticket.state = 'gone';
      settleLane(ticket.lane, ticket.rank, toCost(actualCost) - Math.max(1, ticket.cost), nowMs);
    },
    expire: (nowMs) => {
      const gone: Ticket<T>[] = [];
      for (const band of bands) {
        // Items with the band's own time to live stand in the order of their expiry; the others are in the heap.
        for (
          let ticket = band.soonest;
          ticket !== null && ticket.expiresMs <= nowMs;
          ticket = band.soonest
        ) {
          leave(ticket, 'gone', nowMs);
          gone.push(ticket);
        }
        band.forget(nowMs - forgetAfterMs, maxIdleTenants);
      }
      while (expiries.peekKey() <= nowMs) {
        const { ticket } = expiries.peek() as OwnExpiry<T>;
        leave(ticket, 'gone', nowMs);
        gone.push(ticket);
      }
      return gone;
    },
    nextExpiryMs: () => {
      let soonest = expiries.peekKey();
      for (const band of bands) {
        const ticket = band.soonest;
        if (ticket !== null && ticket.expiresMs < soonest) soonest = ticket.expiresMs;
      }
      return soonest;
    },
    scaleBound: (band, scale) => {
      scales[bandRank(band)] = Math.min(1, Math.max(0, scale));
    },
    depth: (band) => {
      const of = lane(bandRank(band));
      return { count: of.count, bytes: of.bytes, tokens: of.tokens, tenants: of.activeTenants };
    },
    tokensAhead: (band) => {
      let tokens = 0;
      for (let rank = 0; rank <= bandRank(band); rank += 1) tokens += lane(rank).tokens;
      return tokens;
    },
    tokensWithin: (band, tenant, weight) => lane(bandRank(band)).tokensBefore(tenant, weight),
    oldestMs: (band) => view.oldestMs(bandRank(band)),
    waiting: () => {
      const items: QueueTicket<T>[] = [];
      for (const band of bands) {
        for (let ticket = band.oldest; ticket !== null; ticket = ticket.younger) items.push(ticket);
      }
      return items;
    },
    lags: () => Object.fromEntries(BANDS.map((band, rank) => [band, lane(rank).lags()])),
    restoreLags: (lags, nowMs) => {
      for (const [band, tenants] of Object.entries(lags)) {
        const rank = BANDS.indexOf(band as Band);
        if (rank < 0) continue;
        for (const [tenant, lag] of tenants) {
          const owner = lane(rank).lane(tenant, 1);
          owner.counter = lane(rank).virtualTime + toCost(lag);
          lane(rank).rest(owner, nowMs);
        }
      }
    },
  };
}

const NOBODY: readonly never[] = [];
