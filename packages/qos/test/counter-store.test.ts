/**
 * The counter store in memory: all or nothing, exact retry times, sums that end.
 */
import { createManualClock } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import { createMemoryCounterStore } from '../src/index.js';

const rate = (key: string, units: number, limit = 60) => ({
  key,
  units,
  limit,
  periodMs: 60_000,
  burst: limit,
});

describe('take', () => {
  it('takes from all keys or from none, and says when the slowest would do', async () => {
    const clock = createManualClock();
    const store = createMemoryCounterStore({ clock });
    expect(await store.take([rate('r', 1), rate('t', 60)])).toEqual({ ok: true });
    const refused = await store.take([rate('r', 1), rate('t', 30)]);
    expect(refused).toEqual({ ok: false, key: 't', retryAfterMs: 30_000 });
    await clock.advance(27_000);
    expect((await store.take([rate('t', 30)])).ok).toBe(false);
    await clock.advance(3_000);
    // The refusals took nothing of the other key: 59 and what came back are there.
    expect(await store.take([rate('r', 60), rate('t', 30)])).toEqual({ ok: true });
    expect(await store.take([rate('r', 61)])).toMatchObject({ ok: false, retryAfterMs: Infinity });
  });

  it('gives back what was not used, never more than the burst', async () => {
    const store = createMemoryCounterStore({ clock: createManualClock() });
    await store.take([rate('t', 60)]);
    await store.give([rate('t', 20)]);
    expect((await store.take([rate('t', 21)])).ok).toBe(false);
    expect((await store.take([rate('t', 20)])).ok).toBe(true);
    await store.give([rate('t', 1_000)]);
    expect((await store.take([rate('t', 61)])).ok).toBe(false);
    expect((await store.take([rate('t', 60)])).ok).toBe(true);
    await store.give([rate('t', -30), rate('t', Number.NaN)]);
    expect(await store.take([rate('t', 1)])).toMatchObject({ ok: false, retryAfterMs: 31_000 });
  });

  it('listens to its signal', async () => {
    const store = createMemoryCounterStore({ clock: createManualClock() });
    const signal = AbortSignal.abort(new Error('gone'));
    await expect(store.take([rate('a', 1)], { signal })).rejects.toThrow('gone');
    await expect(store.add('a', 1, { ttlMs: 1, signal })).rejects.toThrow('gone');
  });
});

describe('add', () => {
  it('sums until the time of the first addition is over', async () => {
    const clock = createManualClock();
    const store = createMemoryCounterStore({ clock });
    expect(await store.add('k', 2, { ttlMs: 1_000 })).toBe(2);
    await clock.advance(999);
    expect(await store.add('k', -5, { ttlMs: 1_000 })).toBe(-3);
    await clock.advance(1);
    expect(await store.add('k', Number.NaN, { ttlMs: 1_000 })).toBe(0);
  });
});
