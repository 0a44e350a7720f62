/**
 * The small pieces: bands, adaptive limit, drain rate, output estimate, Retry-After, endpoint capacity, SLO tracker.
 */
import type { EngineSample } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import {
  createAdaptiveLimit,
  createDrainRate,
  createEndpointCapacity,
  createOutputEstimate,
  createRetryAfterTracker,
  createSloTracker,
  explainRefusal,
  jitterRetryAfterMs,
  lowerToAllowed,
  MAX_RETRY_AFTER_MS,
  type RequestRecord,
} from '../src/index.js';

describe('lowerToAllowed', () => {
  it.each([
    ['critical', ['standard', 'batch'], 'standard', true],
    ['batch', ['standard', 'batch'], 'batch', false],
    ['best_effort', ['standard', 'batch'], 'batch', false],
    ['interactive', [], 'best_effort', true],
  ] as const)('%s of %j: %s', (wish, allowed, band, lowered) => {
    expect(lowerToAllowed(wish, allowed)).toEqual({ band, lowered });
  });
});

describe('adaptive limit', () => {
  it('falls by a tenth once a round trip and rises by one while half of it is used', () => {
    const limit = createAdaptiveLimit({ min: 4, max: 100 });
    limit.congested(0, 2000);
    limit.congested(1000, 2000);
    expect(limit.limit).toBe(90);
    limit.calm(80, 1000);
    expect(limit.limit).toBe(90);
    limit.calm(80, 2000);
    expect(limit.limit).toBe(91);
    limit.calm(3, 2000);
    expect(limit.limit).toBe(91);
    for (let at = 5000; at < 200_000; at += 1500) limit.congested(at, 0);
    expect(limit.limit).toBe(4);
  });
});

describe('drain rate', () => {
  it('counts only while others wait, and knows nothing before a second of that', () => {
    const rate = createDrainRate();
    rate.dispatched(100, false, 0);
    expect(rate.tokensPerSecond()).toBeNull();
    for (let at = 0; at <= 5000; at += 100) rate.dispatched(50, true, at);
    expect(rate.tokensPerSecond()).toBeCloseTo(500, 0);
    rate.emptied(6000);
    for (let at = 60_000; at <= 90_000; at += 100) rate.dispatched(100, true, at);
    expect(rate.tokensPerSecond()).toBeGreaterThan(900);
  });

  it('starts from a prediction when there is one', () => {
    expect(createDrainRate(300).tokensPerSecond()).toBe(300);
  });
});

describe('output estimate', () => {
  it('guesses, learns, and never exceeds what the client allows', () => {
    const estimate = createOutputEstimate(200);
    expect(estimate.expected(null, 0)).toBe(200);
    expect(estimate.expected(50, 0)).toBe(50);
    for (let index = 0; index < 500; index += 1) estimate.record(index % 10 < 9 ? 20 : 400, index);
    expect(estimate.expected(null, 2000)).toBeLessThan(200);
    expect(estimate.high(null, 4000)).toBeGreaterThanOrEqual(20);
    estimate.record(Number.NaN, 0);
    expect(Number.isFinite(estimate.expected(Number.NaN, 9000))).toBe(true);
  });
});

describe('Retry-After', () => {
  it('doubles under a storm, up to 32 s, and comes down by seconds', () => {
    const tracker = createRetryAfterTracker();
    expect(tracker.retryAfterMs(0)).toBe(1000);
    for (let at = 0; at < 400_000; at += 20) tracker.dropped(at);
    expect(tracker.retryAfterMs(400_000)).toBe(MAX_RETRY_AFTER_MS);
    expect(tracker.retryAfterMs(2_000_000)).toBe(1000);
    tracker.dropped(-5000);
    expect(tracker.retryAfterMs(-5000)).toBe(1000);
  });

  it('is jittered by a fifth and capped', () => {
    expect(jitterRetryAfterMs(1000, 0)).toBe(800);
    // Rounded up, so that a retry never comes a fraction too early.
    expect(jitterRetryAfterMs(1000, 0.5)).toBe(1000);
    expect(jitterRetryAfterMs(1e9, 0.5)).toBe(MAX_RETRY_AFTER_MS);
    expect(jitterRetryAfterMs(0, 0.5)).toBe(1);
  });
});

function aSample(overrides: Partial<EngineSample> = {}): EngineSample {
  return {
    running: 0,
    waiting: 0,
    kvUsage: 0,
    kvCapacityTokens: 1000,
    preemptionsTotal: 0,
    promptTokensTotal: 0,
    generationTokensTotal: 0,
    ...overrides,
  };
}

describe('endpoint capacity', () => {
  const spec = { id: 'e', maxSeqs: 8, kvCapacityTokens: 1000, group: 'g' };

  it('fits sequences and tokens, and takes any one request when idle', () => {
    const endpoint = createEndpointCapacity(spec);
    expect(endpoint.fits(5000, 1, 0)).toBe(true);
    expect(endpoint.couldFit(5000)).toBe(false);
    endpoint.acquire(800);
    expect(endpoint.fits(100, 1, 0)).toBe(true);
    expect(endpoint.fits(101, 1, 0)).toBe(false);
    expect(endpoint.saturation(0)).toBeCloseTo(800 / 900);
    endpoint.streaming();
    endpoint.release(800, true);
    expect([endpoint.inFlight, endpoint.inFlightTokens]).toEqual([0, 0]);
    endpoint.release(800, false);
    expect(endpoint.inFlight).toBe(0);
  });

  it('is held back by what the engine says, while that is fresh', () => {
    const endpoint = createEndpointCapacity(spec, { freshMs: 1000 });
    endpoint.acquire(10);
    endpoint.observe(aSample({ kvUsage: 0.95 }), 0);
    expect(endpoint.fits(1, 1, 500)).toBe(false);
    // Old news never keep an engine idle.
    expect(endpoint.fits(1, 1, 2000)).toBe(true);
    endpoint.observe(aSample({ waiting: 9 }), 3000);
    expect(endpoint.fits(1, 1, 3000)).toBe(false);
  });

  it('lowers its limit when the engine preempts, queues or slows down', () => {
    const endpoint = createEndpointCapacity({ ...spec, maxSeqs: 100 });
    endpoint.observe(aSample(), 0);
    endpoint.observe(aSample({ preemptionsTotal: 1 }), 1000);
    expect(endpoint.limit).toBe(90);
    endpoint.slow(10_000, 100);
    expect(endpoint.limit).toBe(81);
    endpoint.observe(aSample({ waiting: 5, preemptionsTotal: 1 }), 20_000);
    endpoint.observe(aSample({ waiting: 5, preemptionsTotal: 1 }), 22_000);
    expect(endpoint.limit).toBe(72);
  });

  it('is left alone while suspended', () => {
    const endpoint = createEndpointCapacity(spec);
    endpoint.suspend(1000);
    expect(endpoint.fits(1, 1, 999)).toBe(false);
    expect(endpoint.fits(1, 1, 1000)).toBe(true);
    expect(endpoint.suspendedUntilMs).toBe(1000);
  });
});

describe('SLO tracker', () => {
  const targets = { ttftMs: 1000, tpotMs: 50, e2eMs: null, objective: 0.99 };
  const good: RequestRecord = {
    outcome: 'complete',
    ttftMs: 500,
    tpotMs: 20,
    e2eMs: 3000,
    outputTokens: 100,
  };

  it.each([
    [good, 1],
    [{ ...good, ttftMs: 1500 }, 0],
    [{ ...good, tpotMs: 80 }, 0],
    [{ ...good, outcome: 'failed' }, 0],
    [{ ...good, outcome: 'preempted' }, 0],
    [{ ...good, outcome: 'refused' }, 0],
    [{ ...good, ttftMs: 1500, ttftTargetMs: 2000 }, 1],
  ] as const)('%j attains %s', (record, attainment) => {
    const tracker = createSloTracker(targets);
    tracker.record(record, 0);
    expect(tracker.report(0).attainment).toBe(attainment);
  });

  it.each(['limited', 'invalid', 'client_gone'] as const)('does not count %s', (outcome) => {
    const tracker = createSloTracker(targets);
    tracker.record({ ...good, outcome, ttftMs: null, e2eMs: 100 }, 0);
    expect(tracker.report(0).attainment).toBeNull();
  });

  it('pages when the budget burns fast in both windows, and survives a snapshot', () => {
    const tracker = createSloTracker(targets);
    for (let at = 0; at < 3_600_000; at += 10_000) {
      tracker.record(at % 20_000 === 0 ? { ...good, ttftMs: 5000 } : good, at);
    }
    const report = tracker.report(3_600_000);
    expect(report.burn['1h']).toBeCloseTo(50, 0);
    expect(report.alerts[0]).toMatchObject({ severity: 'page', long: '1h', short: '5m' });
    expect(report.budgetLeft).toBeLessThan(0);
    expect(report.ttftMs.p50).not.toBeNull();
    expect(tracker.tpotP95Ms(3_600_000)).toBeGreaterThan(0);
    const other = createSloTracker(targets);
    other.restore(tracker.dump(3_600_000), 0, 3_600_000);
    expect(other.burn('1h', 3_600_000)).toBeCloseTo(report.burn['1h'] ?? 0, 0);
    expect(other.burn('5m', 99_000_000)).toBeNull();
  });
});

describe('refusals', () => {
  it('each say what the operator can do', () => {
    expect(explainRefusal('queue_full')).toMatch(/add a replica/);
    expect(explainRefusal('model_unknown')).toMatch(/GET \/v1\/models/);
  });
});
