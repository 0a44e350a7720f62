/**
 * The {@link CounterStore} of one process: the same law and the same answers as a shared store gives, without a
 * server. For one replica, for tests, and as the last resort when the shared store is away.
 */
import type { Clock, CounterRate, CounterStore, CounterTake } from '@aim-gpu/core';
import { advance, conformsInMs, type Rate, toRate } from './gcra.js';
import { toCost } from './internal/cost.js';

/** Makes an empty store; keys at rest are forgotten as new ones come. */
export function createMemoryCounterStore(options: { readonly clock: Clock }): CounterStore {
  const { clock } = options;
  const tats = new Map<string, number>();
  const sums = new Map<string, { readonly endsMs: number; sum: number }>();

  /** Looks at two old keys for each call that may add one. */
  const forget = (nowMs: number): void => {
    let looked = 0;
    for (const [key, tat] of tats) {
      if (looked >= 2) break;
      looked += 1;
      tats.delete(key);
      // Put back at the end, so that the next look is at others.
      if (tat > nowMs) tats.set(key, tat);
    }
    looked = 0;
    for (const [key, entry] of sums) {
      if (looked >= 2) break;
      looked += 1;
      sums.delete(key);
      if (entry.endsMs > nowMs) sums.set(key, entry);
    }
  };
  const rateOf = ({ limit, periodMs, burst }: CounterRate): Rate =>
    toRate({ limit, periodMs, burst });

  return {
    specVersion: 1,
    take: async (rates, { signal } = {}): Promise<CounterTake> => {
      signal?.throwIfAborted();
      const nowMs = clock.monoMs();
      forget(nowMs);
      let slowest: Extract<CounterTake, { ok: false }> | null = null;
      for (const rate of rates) {
        const tat = tats.get(rate.key) ?? nowMs;
        const retryAfterMs = conformsInMs(tat, nowMs, toCost(rate.units), rateOf(rate));
        if (retryAfterMs > (slowest?.retryAfterMs ?? 0)) {
          slowest = { ok: false, key: rate.key, retryAfterMs };
        }
      }
      if (slowest !== null) return slowest;
      for (const rate of rates) {
        const tat = tats.get(rate.key) ?? nowMs;
        tats.set(rate.key, advance(tat, nowMs, toCost(rate.units), rateOf(rate)));
      }
      return { ok: true };
    },
    give: async (rates, { signal } = {}): Promise<void> => {
      signal?.throwIfAborted();
      const nowMs = clock.monoMs();
      for (const rate of rates) {
        const units = Number.isFinite(rate.units) ? rate.units : 0;
        const tat = advance(tats.get(rate.key) ?? nowMs, nowMs, -units, rateOf(rate));
        if (tat > nowMs) tats.set(rate.key, tat);
        else tats.delete(rate.key);
      }
    },
    add: async (key, amount, { ttlMs, signal }): Promise<number> => {
      signal?.throwIfAborted();
      const nowMs = clock.monoMs();
      forget(nowMs);
      const old = sums.get(key);
      const entry =
        old !== undefined && old.endsMs > nowMs ? old : { endsMs: nowMs + toCost(ttlMs), sum: 0 };
      if (Number.isFinite(amount)) entry.sum += amount;
      sums.set(key, entry);
      return entry.sum;
    },
  };
}
