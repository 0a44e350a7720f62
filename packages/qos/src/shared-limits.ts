/**
 * Rates that hold for several processes together: the same two phases as `createLimits`, on a {@link CounterStore}. Owns
 * the translation of accounts into the store's rates; concurrency and budgets are each process's own and stay there.
 */
import type { CounterRate, CounterStore } from '@aim-gpu/core';
import { toCost } from './internal/cost.js';
import type { LimitCost, LimitKind, LimitSubject } from './limits-interface.js';

/** Units taken from a store, to be settled once. Every call throws `ERR_COUNTERS_UNREACHABLE` when the store is away. */
export interface SharedReservation {
  /** Replaces the expected cost by the actual one. Only the first call counts. */
  settle(actual: LimitCost): Promise<void>;
  /** Gives everything back, as if the request had never been. Only the first call counts. */
  cancel(): Promise<void>;
}

/** Whether a shared reservation was made. */
export type SharedLimitResult =
  | { readonly ok: true; readonly reservation: SharedReservation }
  | {
      readonly ok: false;
      readonly kind: LimitKind;
      readonly account: string;
      /** Milliseconds until a retry is admitted; Infinity when it never will be. */
      readonly retryAfterMs: number;
    };

/** Rates of any number of accounts, kept by a store. */
export interface SharedLimits {
  /**
   * Takes a request's expected cost from every account's rates, or from none. Throws `ERR_COUNTERS_UNREACHABLE` when
   * the store is away: whoever would rather be lenient then asks its own {@link createLimits} instead.
   */
  reserve(
    subjects: readonly LimitSubject[],
    cost: LimitCost,
    options?: { readonly signal?: AbortSignal },
  ): Promise<SharedLimitResult>;
}

const MINUTE_MS = 60_000;
const KINDS = ['requests', 'input_tokens', 'output_tokens'] as const;

/** One rate of an account in the store. */
interface Part {
  readonly account: string;
  readonly kind: (typeof KINDS)[number];
  readonly rate: CounterRate;
}

function unitsOf(kind: Part['kind'], requests: number, cost: LimitCost): number {
  if (kind === 'requests') return requests;
  return kind === 'input_tokens' ? cost.inputTokens : cost.outputTokens;
}

function toParts(subjects: readonly LimitSubject[], cost: LimitCost): readonly Part[] {
  return subjects.flatMap(({ account, limits }) => {
    const perMinute = {
      requests: limits.requestsPerMinute,
      input_tokens: limits.inputTokensPerMinute,
      output_tokens: limits.outputTokensPerMinute,
    };
    return KINDS.flatMap((kind): Part[] => {
      const limit = perMinute[kind];
      if (limit === null) return [];
      const burst = limit * (limits.burst ?? 1);
      const units = unitsOf(kind, 1, cost);
      const key = `${kind}:${account}`;
      return [{ account, kind, rate: { key, units, limit, periodMs: MINUTE_MS, burst } }];
    });
  });
}

/** Makes limits whose rates are kept by a store. */
export function createSharedLimits(options: { readonly store: CounterStore }): SharedLimits {
  const { store } = options;

  const holdOf = (parts: readonly Part[], expected: LimitCost): SharedReservation => {
    let isOpen = true;
    const give = async (requests: number, unused: LimitCost): Promise<void> => {
      if (!isOpen) return;
      isOpen = false;
      const rates = parts
        .map(({ kind, rate }) => ({ ...rate, units: unitsOf(kind, requests, unused) }))
        .filter(({ units }) => units !== 0);
      if (rates.length > 0) await store.give(rates);
    };
    return {
      settle: (actual) =>
        give(0, {
          inputTokens: expected.inputTokens - toCost(actual.inputTokens),
          outputTokens: expected.outputTokens - toCost(actual.outputTokens),
        }),
      cancel: () => give(1, expected),
    };
  };

  return {
    reserve: async (subjects, cost, { signal } = {}): Promise<SharedLimitResult> => {
      const expected = {
        inputTokens: toCost(cost.inputTokens),
        outputTokens: toCost(cost.outputTokens),
      };
      const parts = toParts(subjects, expected);
      if (parts.length > 0) {
        const rates = parts.map(({ rate }) => rate);
        const taken = await store.take(rates, signal === undefined ? {} : { signal });
        if (!taken.ok) {
          const part = parts.find(({ rate }) => rate.key === taken.key);
          const { account, kind } = part ?? (parts[0] as Part);
          return { ok: false, kind, account, retryAfterMs: taken.retryAfterMs };
        }
      }
      return { ok: true, reservation: holdOf(parts, expected) };
    },
  };
}
