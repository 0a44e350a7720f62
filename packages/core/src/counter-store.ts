/**
 * Port: counters that several processes share, for limits that hold for all of them together. In memory for one process
 * (`@aim-gpu/qos`), Redis or Valkey for many. Only the store's own clock counts, so that processes need not agree on
 * the time.
 */
import type { CallOptions } from './abort.js';

/** A rate kept by a store: `limit` units a period, `burst` of them available at once. */
export interface CounterRate {
  readonly key: string;
  readonly units: number;
  readonly limit: number;
  readonly periodMs: number;
  readonly burst: number;
}

/** What became of {@link CounterStore.take}. */
export type CounterTake =
  | { readonly ok: true }
  | {
      readonly ok: false;
      /** The key that refused, the slowest when several did. */
      readonly key: string;
      /** Milliseconds until the same units can be taken; Infinity when they exceed the burst. */
      readonly retryAfterMs: number;
    };

/** Counters shared between processes. Every call is atomic. Throws `ERR_COUNTERS_UNREACHABLE` (unavailable). */
export interface CounterStore {
  readonly specVersion: 1;
  /** Takes the units of every rate, or of none. */
  take(rates: readonly CounterRate[], options?: CallOptions): Promise<CounterTake>;
  /** Gives units back (or, negative, takes more without asking), at most to where the rate rests. */
  give(rates: readonly CounterRate[], options?: CallOptions): Promise<void>;
  /** Adds to a sum that is forgotten `ttlMs` after its first addition; resolves to the sum. */
  add(
    key: string,
    amount: number,
    options: CallOptions & { readonly ttlMs: number },
  ): Promise<number>;
}
