/**
 * Room that nobody uses, lent to whoever would exceed a rate: a common pool that fills by itself, open only while the
 * device is not busy. Owns the pool's level; the tenant's own limits are not touched by what is drawn here.
 */
import type { Band } from '@aim-gpu/core';
import { bandRank } from './bands.js';
import { toCost } from './internal/cost.js';

/** A common pool of tokens. Times are monotonic milliseconds. */
export interface BurstPool {
  /** Tokens in it. */
  level(nowMs: number): number;
  /** Takes tokens when the device is not busy and enough are there; all or nothing. */
  draw(
    tokens: number,
    request: { readonly band: Band; readonly saturation: number },
    nowMs: number,
  ): boolean;
  /** Gives back what a request did not use, or takes what it used more. */
  settle(unusedTokens: number, nowMs: number): void;
}

/** Above this saturation the room is not spare. */
const OPEN_BELOW = 0.7;
/** Of the pool, what only `critical` and `interactive` may take. */
const KEPT_SHARE = 0.5;

/** Makes a full pool of `capacityTokens` that refills at `tokensPerMinute`. */
export function createBurstPool(options: {
  readonly tokensPerMinute: number;
  readonly capacityTokens: number;
}): BurstPool {
  const capacity = toCost(options.capacityTokens);
  const perMs = toCost(options.tokensPerMinute) / 60_000;
  let tokens = capacity;
  let atMs = Number.NaN;

  const refill = (nowMs: number): void => {
    if (nowMs > atMs) tokens = Math.min(capacity, tokens + (nowMs - atMs) * perMs);
    // A clock that went back neither fills nor empties the pool.
    atMs = nowMs;
  };

  return {
    level: (nowMs) => {
      refill(nowMs);
      return Math.max(0, tokens);
    },
    draw: (wanted, { band, saturation }, nowMs) => {
      refill(nowMs);
      const need = toCost(wanted);
      const kept = bandRank(band) <= bandRank('interactive') ? 0 : capacity * KEPT_SHARE;
      if (!(saturation < OPEN_BELOW) || tokens - need < kept) return false;
      tokens -= need;
      return true;
    },
    settle: (unused, nowMs) => {
      refill(nowMs);
      if (Number.isFinite(unused)) tokens = Math.min(capacity, tokens + unused);
    },
  };
}
