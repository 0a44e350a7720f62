/**
 * What a qos object shows and keeps: reports for people, demand for the planner, snapshots for the next start. Owns the
 * reading only; restoring writes back what was read.
 */
import type { Band, BandDemand } from '@aim-gpu/core';
import { bandRank } from '../bands.js';
import type { BandDepth } from '../fair-queue-interface.js';
import type { ModelReport } from '../qos-interface.js';
import type { ModelSnapshot, QosSnapshot } from '../qos-snapshot.js';
import type { QosContext } from './context.js';
import { toCost } from './cost.js';
import { GUARDED_RANK } from './group-guards.js';
import type { ModelPool } from './model-pool.js';

export function toReport({ pools, guards }: QosContext, nowMs: number): readonly ModelReport[] {
  return [...pools.values()].map((pool) => ({
    model: pool.name,
    band: pool.band,
    brownout: pool.brownout.active(nowMs),
    endpoints: [...pool.endpoints.values()].map(({ spec, capacity, ready }) => ({
      id: spec.id,
      ready,
      inFlight: capacity.inFlight,
      inFlightTokens: capacity.inFlightTokens,
      limit: capacity.limit,
      saturation: capacity.saturation(nowMs),
      groupCeiling: guards.of(capacity).ceiling('batch', nowMs),
    })),
    bands: pool.bands.all.map((state) => ({
      band: state.band,
      ...depthOf(pool, state.rank),
      predictedWaitMs: pool.waits.predictedMs(state.rank),
      slo: state.trackerIfUsed?.report(nowMs) ?? null,
    })),
  }));
}

export function toDemand({ pools }: QosContext, nowMs: number): readonly BandDemand[] {
  const rows: BandDemand[] = [];
  for (const pool of pools.values()) {
    for (const state of pool.bands.all) {
      const reservedTokens = pool.reservations.reservedTokens(state.band);
      if (!state.isUsed && reservedTokens === 0) continue;
      const { count, tokens } = depthOf(pool, state.rank);
      rows.push({
        model: pool.name,
        band: state.band,
        requestsPerSecond: state.requests.perSecond(nowMs),
        offeredTokensPerSecond: state.offered.perSecond(nowMs),
        servedTokensPerSecond: state.served.perSecond(nowMs),
        refusedPerSecond: state.refused.perSecond(nowMs),
        queuedRequests: count,
        queuedTokens: tokens,
        predictedWaitMs: pool.waits.predictedMs(state.rank),
        inFlight: state.inFlight,
        reservedTokens,
        attainment: state.trackerIfUsed?.report(nowMs).attainment ?? null,
        burn: state.trackerIfUsed?.burn('1h', nowMs) ?? null,
      });
    }
  }
  return rows;
}

export function toSnapshot(context: QosContext, nowMs: number, epochMs: number): QosSnapshot {
  return {
    version: 1,
    takenAtMs: epochMs,
    accounts: context.limits.dump(nowMs),
    models: [...context.pools.values()].map((pool) => snapshotOf(pool, nowMs)),
  };
}

function snapshotOf(pool: ModelPool, nowMs: number): ModelSnapshot {
  const used = pool.bands.all.filter((state) => state.trackerIfUsed !== null);
  return {
    model: pool.name,
    lags: Object.fromEntries(
      pool.bands.all.flatMap(({ band, rank }) => {
        const lags = pool.queue.band(rank).lags();
        return lags.size === 0 ? [] : [[band, [...lags]]];
      }),
    ),
    slo: Object.fromEntries(used.map((state) => [state.band, state.tracker.dump(nowMs)])),
    outputs: pool.outputs.dump(),
    drainTokensPerSecond: pool.waits.drain.tokensPerSecond(),
    bandDrainTokensPerSecond: Object.fromEntries(
      pool.bands.all.flatMap((state) => {
        const rate = state.drain.tokensPerSecond();
        return rate === null ? [] : [[state.band, rate]];
      }),
    ),
    limits: [...pool.endpoints.values()].map(({ spec, capacity }) => [spec.id, capacity.limit]),
  };
}

function depthOf(pool: ModelPool, rank: number): BandDepth {
  const { count, bytes, tokens, activeTenants } = pool.queue.band(rank);
  return { count, bytes, tokens, tenants: activeTenants };
}

/** Puts a model's memory back; its endpoints' limits when they are there. */
export function restoreModel(
  pool: ModelPool,
  snapshot: ModelSnapshot,
  agoMs: number,
  nowMs: number,
): void {
  for (const [band, lags] of Object.entries(snapshot.lags)) {
    const rank = bandRank(band as Band);
    if (rank < 0) continue;
    for (const [tenant, lag] of lags) pool.queue.band(rank).restoreLag(tenant, toCost(lag), nowMs);
  }
  for (const [band, dump] of Object.entries(snapshot.slo)) {
    const rank = bandRank(band as Band);
    if (rank >= 0) pool.bands.of(rank).tracker.restore(dump, agoMs, nowMs);
  }
  pool.outputs.restore(snapshot.outputs);
  if (snapshot.drainTokensPerSecond !== null)
    pool.waits.drain.restore(snapshot.drainTokensPerSecond);
  for (const [band, rate] of Object.entries(snapshot.bandDrainTokensPerSecond)) {
    const rank = bandRank(band as Band);
    if (rank >= 0) pool.bands.of(rank).drain.restore(rate);
  }
  restoreLimits(pool, snapshot);
}

/** Gives endpoints the limits they had learned. */
export function restoreLimits(pool: ModelPool, { limits }: ModelSnapshot): void {
  for (const [endpoint, limit] of limits) {
    pool.endpoints.get(endpoint)?.capacity.restoreLimit(limit);
  }
}

/** The TPOT target that an endpoint's engine is held to: of its most urgent band that runs; null with none. */
export function guardedTpotMs(pool: ModelPool): number | null {
  for (let rank = 0; rank <= GUARDED_RANK; rank += 1) {
    const state = pool.bands.of(rank);
    if (state.inFlight > 0) return state.targets.tpotMs;
  }
  return null;
}
