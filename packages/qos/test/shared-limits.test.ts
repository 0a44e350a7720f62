/**
 * Limits on a counter store: two processes share one rate, all accounts or none, late usage, a store that is away.
 */
import type { CounterStore } from '@aim-gpu/core';
import { createManualClock, type ManualClock } from '@aim-gpu/core/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type AccountLimits,
  createMemoryCounterStore,
  createSharedLimits,
  type SharedLimitResult,
  type SharedReservation,
} from '../src/index.js';

const PER_MINUTE: AccountLimits = {
  requestsPerMinute: 60,
  inputTokensPerMinute: 6_000,
  outputTokensPerMinute: null,
  concurrent: null,
};
const cost = (inputTokens: number, outputTokens = 0) => ({ inputTokens, outputTokens });
const account = (name: string, limits: Partial<AccountLimits> = {}) => ({
  account: name,
  limits: { ...PER_MINUTE, ...limits },
});

function heldBy(result: SharedLimitResult): SharedReservation {
  if (!result.ok) throw new Error(`refused: ${result.kind}`);
  return result.reservation;
}

let clock: ManualClock;
let store: CounterStore;
beforeEach(() => {
  clock = createManualClock();
  store = createMemoryCounterStore({ clock });
});

describe('two processes on one store', () => {
  it('share a rate, and each is told when it would be admitted', async () => {
    const [one, other] = [createSharedLimits({ store }), createSharedLimits({ store })];
    expect((await one.reserve([account('a')], cost(5_000))).ok).toBe(true);
    expect(await other.reserve([account('a')], cost(2_000))).toEqual({
      ok: false,
      kind: 'input_tokens',
      account: 'a',
      retryAfterMs: 10_000,
    });
    await clock.advance(10_000);
    expect((await other.reserve([account('a')], cost(2_000))).ok).toBe(true);
  });

  it('take from every account or from none', async () => {
    const limits = createSharedLimits({ store });
    const poor = account('poor', { requestsPerMinute: 1 });
    await limits.reserve([poor], cost(0));
    const refused = await limits.reserve([account('rich'), poor], cost(6_000));
    expect(refused).toMatchObject({ ok: false, kind: 'requests', account: 'poor' });
    expect((await limits.reserve([account('rich')], cost(6_000))).ok).toBe(true);
  });
});

describe('a shared reservation', () => {
  it.each([
    ['less was used', 1_000, 4_000],
    ['as much was used', 5_000, 0],
    ['more was used', 6_000, -1_000],
  ] as const)('is settled when %s', async (_, actual, back) => {
    const limits = createSharedLimits({ store });
    const held = heldBy(await limits.reserve([account('a')], cost(5_000)));
    await held.settle(cost(actual));
    // Only the first end counts.
    await held.cancel();
    const next = await limits.reserve([account('a')], cost(1_000 + back + 1));
    expect(next.ok).toBe(false);
    if (back >= 0) expect((await limits.reserve([account('a')], cost(1_000 + back))).ok).toBe(true);
  });

  it('that is cancelled leaves everything as it was', async () => {
    const limits = createSharedLimits({ store });
    const one = account('a', { requestsPerMinute: 1 });
    await heldBy(await limits.reserve([one], cost(6_000))).cancel();
    expect((await limits.reserve([one], cost(6_000))).ok).toBe(true);
  });

  it.each([Number.NaN, -5, 2 ** 53])('bears costs of %d', async (absurd) => {
    const limits = createSharedLimits({ store });
    const one = account('a', { inputTokensPerMinute: null });
    await heldBy(await limits.reserve([one], cost(absurd, absurd))).settle(cost(absurd, absurd));
    expect((await limits.reserve([one], cost(1))).ok).toBe(true);
  });

  it('of accounts without rates asks nobody', async () => {
    const away: CounterStore = {
      ...store,
      take: () => Promise.reject(new Error('away')),
      give: () => Promise.reject(new Error('away')),
    };
    const limits = createSharedLimits({ store: away });
    const free = account('a', { requestsPerMinute: null, inputTokensPerMinute: null });
    await heldBy(await limits.reserve([free], cost(10))).settle(cost(5));
    await expect(limits.reserve([account('a')], cost(1))).rejects.toThrow('away');
  });
});
