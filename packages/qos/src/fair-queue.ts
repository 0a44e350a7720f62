/**
 * The queue of one model: bands × tenants × items, bounded by count, bytes and tokens, with expiry, displacement and
 * O(1) cancel. Owns what waits and in which order; must not know endpoints, limits or timers: the caller tells the time.
 */
import { BANDS, type Band } from '@aim-gpu/core';
import { createBandOrder } from './band-order.js';
import { bandOfRank, bandRank, toBandPolicies } from './bands.js';
import type {
  FairQueue,
  FairQueueOptions,
  OfferResult,
  QueueBounds,
} from './fair-queue-interface.js';
import { toCost } from './internal/cost.js';
import { ALL_BANDS, type CoreBounds, QueueCore } from './internal/queue-core.js';
import type { QueueItem } from './internal/queue-item.js';
import type { TenantLane } from './internal/tenant-lane.js';
import { Ticket } from './internal/ticket.js';

/** 5 minutes, as reference designs of flow control forget idle flows. */
const FORGET_AFTER_MS = 300_000;
const MAX_IDLE_TENANTS = 10_000;
/** Default bounds of one band. */
const PER_BAND: QueueBounds = { count: 2_000, bytes: 64 * 2 ** 20, tokens: 20_000_000 };
/** Default bounds of one model's queue. */
const TOTAL: QueueBounds = { count: 5_000, bytes: 256 * 2 ** 20, tokens: 50_000_000 };

function toBounds({ count, bytes, tokens }: QueueBounds): CoreBounds {
  const unbounded = Number.POSITIVE_INFINITY;
  return { count: count ?? unbounded, bytes: bytes ?? unbounded, tokens: tokens ?? unbounded };
}

/** A weight that can be divided by; whatever is none counts as 1. */
export function toWeight(weight: number | undefined): number {
  return weight !== undefined && weight > 0 && Number.isFinite(weight) ? weight : 1;
}

/** Makes what a queue and a model's pool both stand on. */
export function createQueueCore<T extends QueueItem>(options: FairQueueOptions): QueueCore<T> {
  const policies = toBandPolicies(options.bands);
  const { debtCap } = options;
  return new QueueCore<T>({
    order: createBandOrder(options.order ?? 'strict', policies),
    bands: policies.map(({ targets, ttlMs }) => ({
      deadlineAfterMs: targets.ttftMs ?? ttlMs,
      ttlMs,
    })),
    perBand: toBounds({ ...PER_BAND, ...options.perBand }),
    total: toBounds({ ...TOTAL, ...options.total }),
    forgetAfterMs: options.forgetAfterMs ?? FORGET_AFTER_MS,
    maxIdleTenants: options.maxIdleTenants ?? MAX_IDLE_TENANTS,
    debtCap: debtCap === undefined ? null : (rank, weight) => debtCap(bandOfRank(rank), weight),
  });
}

/** Makes an empty queue. Never throws for what is offered: costs that are not sane are made sane. */
export function createFairQueue<T>(options: FairQueueOptions = {}): FairQueue<T> {
  const core = createQueueCore<Ticket<T>>(options);

  const offer: FairQueue<T>['offer'] = (entry, nowMs): OfferResult<T> => {
    const cost = toCost(entry.cost);
    const tokens = entry.tokens === undefined ? cost : toCost(entry.tokens);
    const bytes = entry.bytes === undefined ? 0 : toCost(entry.bytes);
    const ticket = new Ticket<T>(entry.value, cost, tokens, bytes, nowMs);
    // NaN compares with nothing, so one such key would block the heap it stands in.
    const { deadlineMs, expiresMs } = entry;
    if (deadlineMs !== undefined && !Number.isNaN(deadlineMs)) ticket.ownDeadlineMs = deadlineMs;
    if (expiresMs !== undefined && !Number.isNaN(expiresMs)) ticket.ownExpiresMs = expiresMs;
    if (!core.offer(ticket, bandRank(entry.band), entry.tenant, toWeight(entry.weight), nowMs)) {
      return { ok: false, bound: core.refusedBy, of: core.refusedOf };
    }
    if (core.displaced.length === 0) return ticket;
    return { ok: true, ticket, displaced: gone(core.displaced) };
  };
  const gone = (tickets: readonly Ticket<T>[]): readonly Ticket<T>[] => {
    for (const ticket of tickets) ticket.state = 'gone';
    return tickets;
  };
  const laneOf = (ticket: Ticket<T>): TenantLane => ticket.lane as TenantLane;

  return {
    get size() {
      return core.count;
    },
    offer,
    next: (nowMs, allowed = ALL_BANDS) => core.next(nowMs, allowed),
    firstOf: (band, tenant) => core.firstOf(bandRank(band), tenant),
    take: (handle, nowMs) => {
      const ticket = handle as Ticket<T>;
      if (ticket.state !== 'queued') return false;
      core.take(ticket, laneOf(ticket), nowMs);
      ticket.state = 'taken';
      return true;
    },
    restore: (handle, nowMs) => {
      const ticket = handle as Ticket<T>;
      if (ticket.state !== 'taken') return false;
      ticket.state = 'queued';
      core.restore(ticket, laneOf(ticket), nowMs);
      return true;
    },
    cancel: (handle, nowMs) => {
      const ticket = handle as Ticket<T>;
      if (ticket.state !== 'queued') return false;
      core.remove(ticket, laneOf(ticket), nowMs);
      ticket.state = 'gone';
      return true;
    },
    settle: (handle, actualCost, nowMs) => {
      const ticket = handle as Ticket<T>;
      if (ticket.state !== 'taken') return;
      ticket.state = 'gone';
      core.settle(ticket, laneOf(ticket), toCost(actualCost), nowMs);
    },
    expire: (nowMs) => gone(core.expire(nowMs)),
    nextExpiryMs: () => core.nextExpiryMs(),
    scaleBound: (band, scale) => core.scaleBound(bandRank(band), scale),
    depth: (band) => {
      const { count, bytes, tokens, activeTenants } = core.band(bandRank(band));
      return { count, bytes, tokens, tenants: activeTenants };
    },
    tokensAhead: (band) => core.tokensAhead(bandRank(band)),
    tokensWithin: (band, tenant, weight) => core.band(bandRank(band)).tokensBefore(tenant, weight),
    oldestMs: (band) => core.band(bandRank(band)).oldestMs(),
    waiting: () => core.waiting(),
    lags: () => Object.fromEntries(BANDS.map((band, rank) => [band, core.band(rank).lags()])),
    restoreLags: (lags, nowMs) => {
      for (const [band, tenants] of Object.entries(lags)) {
        const rank = BANDS.indexOf(band as Band);
        if (rank < 0) continue;
        for (const [tenant, lag] of tenants) core.band(rank).restoreLag(tenant, toCost(lag), nowMs);
      }
    },
  };
}
