/**
 * Limits against a slow oracle, and what a client is promised by retryAfterMs.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AccountLimits,
  advance,
  conformsInMs,
  createLimits,
  remaining,
  resetMs,
  toRate,
} from '../src/index.js';

const NONE: AccountLimits = {
  requestsPerMinute: null,
  inputTokensPerMinute: null,
  outputTokensPerMinute: null,
  concurrent: null,
};
const subject = (limits: Partial<AccountLimits>, account: string = 'a') => ({
  account,
  limits: { ...NONE, ...limits },
});
const cost = (inputTokens: number, outputTokens: number = 0) => ({ inputTokens, outputTokens });

/** A bucket that fills all the time and is looked at with plain arithmetic. */
class Bucket {
  private level: number;
  private atMs = 0;
  private readonly limit: number;
  constructor(limit: number) {
    this.limit = limit;
    this.level = limit;
  }
  try(n: number, nowMs: number): boolean {
    this.level = Math.min(this.limit, this.level + ((nowMs - this.atMs) * this.limit) / 60_000);
    this.atMs = nowMs;
    if (this.level + 1e-6 < n) return false;
    this.level -= n;
    return true;
  }
}

describe('rates', () => {
  it('decide as a token bucket does, over random traffic', () => {
    const traffic = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 20_000 }), fc.integer({ min: 1, max: 30 })),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), traffic, (limit, steps) => {
        const rate = toRate({ limit, periodMs: 60_000 });
        const bucket = new Bucket(limit);
        let tat = 0;
        let now = 0;
        for (const [wait, n] of steps) {
          now += wait;
          const conforms = conformsInMs(tat, now, n, rate) === 0;
          expect(conforms).toBe(bucket.try(n, now));
          if (conforms) tat = advance(tat, now, n, rate);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('promise a time at which a retry is admitted, and a tenth earlier is not', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 600 }),
        fc.integer({ min: 1, max: 50 }),
        (limit, taken) => {
          const rate = toRate({ limit, periodMs: 60_000, burst: 10 });
          let tat = 0;
          for (let index = 0; index < taken; index += 1) {
            if (conformsInMs(tat, 0, 1, rate) === 0) tat = advance(tat, 0, 1, rate);
          }
          const wait = conformsInMs(tat, 0, 1, rate);
          expect(conformsInMs(tat, wait, 1, rate)).toBe(0);
          if (wait > 1) expect(conformsInMs(tat, wait * 0.9, 1, rate)).toBeGreaterThan(0);
        },
      ),
    );
    const rate = toRate({ limit: 60, periodMs: 60_000 });
    expect(remaining(0, 0, rate)).toBe(60);
    expect(resetMs(5000, 1000)).toBe(4000);
    expect(conformsInMs(0, 0, 61, rate)).toBe(Number.POSITIVE_INFINITY);
    expect(conformsInMs(0, 0, 1, toRate({ limit: 0, periodMs: 60_000 }))).toBe(
      Number.POSITIVE_INFINITY,
    );
    expect(remaining(0, 0, toRate({ limit: 0, periodMs: 60_000 }))).toBe(0);
  });
});

describe('limits', () => {
  it('hold for an account from its first request on', () => {
    const limits = createLimits();
    const one = subject({ requestsPerMinute: 2 });
    const results = Array.from(
      { length: 4 },
      (_, index) => limits.reserve([one], cost(1), index).ok,
    );
    expect(results).toEqual([true, true, false, false]);
    expect(limits.state(one, 4).requests).toMatchObject({ limit: 2, remaining: 0 });
  });

  it('take from every account or from none', () => {
    const limits = createLimits();
    const rich = subject({ inputTokensPerMinute: 1000 }, 'rich');
    const poor = subject({ inputTokensPerMinute: 10 }, 'poor');
    expect(limits.reserve([rich, poor], cost(100), 0)).toMatchObject({
      ok: false,
      account: 'poor',
      kind: 'input_tokens',
      retryAfterMs: Number.POSITIVE_INFINITY,
    });
    expect(limits.state(rich, 0).inputTokens?.remaining).toBe(1000);
  });

  it('settle what was learned late: refund, debt, abandon', () => {
    const limits = createLimits();
    const one = subject({ outputTokensPerMinute: 1000, concurrent: 1 });
    const first = limits.reserve([one], cost(0, 800), 0);
    expect(limits.reserve([one], cost(0, 1), 0)).toMatchObject({ ok: false });
    if (first.ok) first.reservation.settle(cost(0, 100));
    if (first.ok) first.reservation.settle(cost(0, 999));
    expect(limits.state(one, 0).outputTokens?.remaining).toBe(900);
    const second = limits.reserve([one], cost(0, 500), 0);
    if (second.ok) second.reservation.cancel();
    expect(limits.state(one, 0).outputTokens?.remaining).toBe(900);
    const third = limits.reserve([one], cost(0, 500), 0);
    if (third.ok) third.reservation.abandon();
    expect(limits.state(one, 0).outputTokens?.remaining).toBe(400);
    const fourth = limits.reserve([one], cost(0, 1), 0);
    if (fourth.ok) fourth.reservation.settle(cost(0, 5000));
    expect(limits.reserve([one], cost(0, 1), 0)).toMatchObject({
      ok: false,
      kind: 'output_tokens',
    });
  });

  it('spend a budget once in its window', () => {
    const limits = createLimits();
    const one = subject({ budget: { tokens: 100, windowMs: 1000 } });
    expect(limits.reserve([one], cost(60, 30), 0).ok).toBe(true);
    expect(limits.reserve([one], cost(20), 10)).toMatchObject({
      ok: false,
      kind: 'budget',
      retryAfterMs: 990,
    });
    expect(limits.reserve([one], cost(200), 10)).toMatchObject({
      retryAfterMs: Number.POSITIVE_INFINITY,
    });
    expect(limits.reserve([one], cost(90), 1001).ok).toBe(true);
  });

  it('survive a snapshot and forget accounts at rest', () => {
    const limits = createLimits();
    const one = subject({ requestsPerMinute: 60, budget: { tokens: 1000, windowMs: 10_000 } });
    const held = limits.reserve([one], cost(10, 10), 0);
    if (held.ok) held.reservation.settle(cost(10, 10));
    const other = createLimits();
    other.restore(limits.dump(0), 500);
    expect(other.state(one, 500).requests?.remaining).toBe(
      limits.state(one, 0).requests?.remaining,
    );
    for (let index = 0; index < 12_000; index += 1) {
      const each = limits.reserve(
        [subject({ requestsPerMinute: 600 }, `t${index}`)],
        cost(0),
        1e6 + index * 1000,
      );
      if (each.ok) each.reservation.settle(cost(0));
    }
    expect(limits.size).toBeLessThan(5_000);
  });

  it('bear absurd costs', () => {
    const limits = createLimits();
    const one = subject({ inputTokensPerMinute: 100 });
    for (const value of [Number.NaN, -5, Number.POSITIVE_INFINITY, 2 ** 53]) {
      const result = limits.reserve([one], cost(value), 0);
      if (result.ok) result.reservation.settle(cost(value));
      expect(Number.isNaN(limits.state(one, 0).inputTokens?.remaining)).toBe(false);
    }
  });
});

describe('two phases', () => {
  it('say the wait of the slowest account, so that a retry then is admitted everywhere', () => {
    const limits = createLimits();
    const quick = subject({ requestsPerMinute: 60, burst: 1 / 60 }, 'quick');
    const slow = subject({ requestsPerMinute: 6, burst: 1 / 6 }, 'slow');
    expect(limits.reserve([quick, slow], cost(0), 0).ok).toBe(true);
    const refused = limits.reserve([quick, slow], cost(0), 0);
    expect(refused).toMatchObject({ ok: false, account: 'slow', retryAfterMs: 10_000 });
    expect(limits.reserve([quick, slow], cost(0), 9_000).ok).toBe(false);
    expect(limits.reserve([quick, slow], cost(0), 10_000).ok).toBe(true);
  });

  it('refund a budget only in the window it was spent in', () => {
    const limits = createLimits();
    const one = subject({ budget: { tokens: 100, windowMs: 1000 } });
    const old = limits.reserve([one], cost(90), 0);
    expect(limits.reserve([one], cost(90), 1001).ok).toBe(true);
    if (old.ok) old.reservation.settle(cost(0));
    expect(limits.reserve([one], cost(20), 1002)).toMatchObject({ ok: false, kind: 'budget' });
    const late = limits.reserve([one], cost(10), 1003);
    // What was used beyond the reservation is owed, also when its window has ended.
    expect(limits.reserve([one], cost(40), 2002).ok).toBe(true);
    if (late.ok) late.reservation.settle(cost(50));
    expect(limits.reserve([one], cost(30), 2003)).toMatchObject({ ok: false, kind: 'budget' });
  });

  it('refund nothing that has already flowed back: cancelled late is as if never been', () => {
    const limits = createLimits();
    const one = subject({ outputTokensPerMinute: 1000 });
    const early = limits.reserve([one], cost(0, 800), 0);
    // The bucket is full again here, with or without the first request.
    expect(limits.reserve([one], cost(0, 1000), 60_000).ok).toBe(true);
    if (early.ok) early.reservation.cancel();
    expect(limits.state(one, 60_000).outputTokens?.remaining).toBe(0);
  });

  it('give back at once exactly what they took, and never more than a burst', () => {
    const traffic = fc.array(
      fc.record({
        waitMs: fc.integer({ min: 0, max: 30_000 }),
        tokens: fc.integer({ min: 0, max: 400 }),
        end: fc.constantFrom('settle', 'cancel', 'abandon', 'keep'),
        actual: fc.integer({ min: 0, max: 600 }),
      }),
      { maxLength: 100 },
    );
    fc.assert(
      fc.property(traffic, (steps) => {
        const limits = createLimits();
        const one = subject({ inputTokensPerMinute: 1000, requestsPerMinute: 30, concurrent: 5 });
        const held: (() => void)[] = [];
        let now = 0;
        for (const { waitMs, tokens, end, actual } of steps) {
          now += waitMs;
          const before = limits.state(one, now);
          const result = limits.reserve([one], cost(tokens), now);
          if (!result.ok) {
            expect(limits.state(one, now)).toEqual(before);
            // Only concurrency waits for something that is not time.
            if (result.kind === 'concurrency') held.shift()?.();
            else if (held.length < 5) {
              const again = createLimits();
              again.restore(limits.dump(now), now);
              expect(again.reserve([one], cost(tokens), now + result.retryAfterMs).ok).toBe(true);
            }
            continue;
          }
          const { reservation } = result;
          if (end === 'cancel') {
            reservation.cancel();
            const after = limits.state(one, now);
            expect(after.inputTokens?.remaining).toBe(before.inputTokens?.remaining);
            expect(after.requests?.remaining).toBe(before.requests?.remaining);
          } else if (end === 'keep') held.push(() => reservation.settle(cost(actual)));
          else if (end === 'settle') reservation.settle(cost(actual));
          else reservation.abandon();
          const left = limits.state(one, now).inputTokens?.remaining ?? Number.NaN;
          expect(left).toBeGreaterThanOrEqual(0);
          expect(left).toBeLessThanOrEqual(1000);
        }
      }),
      { numRuns: 200 },
    );
  });
});
