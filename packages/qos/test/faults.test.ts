/**
 * The fault table of the package: clocks that step, tenants without end, numbers nobody means, callbacks that throw,
 * permits that are lost or ended twice. After each of them admission goes on and nothing is held.
 */
import { createRng } from '@aim-gpu/core';
import { createManualClock, createRecordingLogger } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  type AdmitRequest,
  createBurstPool,
  createCodelGuard,
  createDeviceGroup,
  createFairQueue,
  createFeasibility,
  createLimits,
  createQos,
  createReservations,
  createSloTracker,
  type Qos,
} from '../src/index.js';

const ABSURD = [Number.NaN, -5, 0, Number.POSITIVE_INFINITY, 2 ** 53] as const;
const PER_MINUTE = {
  requestsPerMinute: 60,
  inputTokensPerMinute: 1e6,
  outputTokensPerMinute: 1e6,
  concurrent: 5,
};

function request(overrides: Partial<AdmitRequest> = {}): AdmitRequest {
  return {
    tenant: 't',
    model: 'm',
    band: 'standard',
    promptTokens: 100,
    maxOutputTokens: 50,
    ...overrides,
  };
}

/** A qos object whose clock may be set to any time. */
function openAt(start: number): { readonly qos: Qos; setMs(ms: number): void } {
  let nowMs = start;
  const clock = { ...createManualClock(), monoMs: () => nowMs as never };
  const qos = createQos({ clock, rng: createRng(1) });
  qos.setModel({ name: 'm', band: 'standard' });
  qos.setEndpoints('m', [{ id: 'e', maxSeqs: 2, kvCapacityTokens: null, ready: true }]);
  return {
    qos,
    setMs: (ms) => {
      nowMs = ms;
    },
  };
}

describe('a clock that steps', () => {
  it.each([-3_600_000, -1, 3_600_000, 30 * 86_400_000])(
    'by %d ms under running requests',
    (step) => {
      const { qos, setMs } = openAt(10_000_000);
      const limits = [{ account: 'a', limits: PER_MINUTE }];
      const run = (): void => {
        const admission = qos.tryAdmit(request({ limits }));
        if (!admission?.ok) throw new Error(`refused: ${admission?.reason}`);
        setMs(10_000_000 + step);
        admission.permit.firstByte();
        admission.permit.tokens(5);
        admission.permit.usage({ outputTokens: 10 });
        admission.permit.done();
      };
      run();
      run();
      const report = qos.report()[0];
      expect(report?.endpoints[0]).toMatchObject({ inFlight: 0, inFlightTokens: 0, saturation: 0 });
      for (const row of qos.demand()) {
        for (const value of Object.values(row))
          if (typeof value === 'number') expect(value).not.toBeNaN();
      }
      // The clock is right again: nobody is locked out for the hour it was wrong.
      setMs(10_000_000);
      run();
      qos.close();
    },
  );

  it('back, moves neither pool, guard nor queue', () => {
    const pool = createBurstPool({ tokensPerMinute: 60, capacityTokens: 100 });
    pool.draw(40, { band: 'interactive', saturation: 0 }, 10_000);
    expect(pool.level(0)).toBe(60);
    const guard = createCodelGuard({ targetMs: 100, intervalMs: 1_000 });
    guard.left(500, 10_000);
    expect(guard.level(0, 500)).toBe(0);
    const group = createDeviceGroup();
    group.tempo(100, 50, 10_000);
    expect(group.tempo(100, 50, 0)).toBe(true);
    expect(group.ceiling('batch', 0)).toBeCloseTo(0.8);
    const queue = createFairQueue<number>();
    queue.offer({ value: 1, band: 'batch', tenant: 't', cost: 1 }, 10_000);
    expect(queue.expire(0)).toEqual([]);
    expect(queue.next(0)?.value).toBe(1);
  });
});

describe('tenants without end', () => {
  it('leave limits, queue and SLO of bounded size', () => {
    const limits = createLimits();
    const queue = createFairQueue<number>();
    for (let index = 0; index < 200_000; index += 1) {
      const nowMs = index * 10;
      const account = `t${index}`;
      const result = limits.reserve(
        [{ account, limits: PER_MINUTE }],
        { inputTokens: 10, outputTokens: 10 },
        nowMs,
      );
      if (result.ok) result.reservation.settle({ inputTokens: 10, outputTokens: 10 });
      const offer = queue.offer(
        { value: index, band: 'standard', tenant: account, cost: 10 },
        nowMs,
      );
      if (!offer.ok) throw new Error('the queue should be empty');
      queue.take(offer.ticket, nowMs);
      queue.settle(offer.ticket, 10, nowMs);
      if (index % 1_000 === 0) queue.expire(nowMs);
    }
    // What was taken flows back within a second or two: a few hundred are not at rest, and a few thousand are kept.
    expect(limits.size).toBeLessThan(6_000);
    const remembered = queue.lags()['standard']?.size ?? 0;
    expect(remembered).toBeLessThanOrEqual(11_000);
  });
});

describe('numbers nobody means', () => {
  it.each(ABSURD)('%d leaves every piece as it was', (value) => {
    const reservations = createReservations();
    reservations.set([
      { name: 'r', tenant: 'a', seqs: value, tokens: value, lendable: value, borrowSeqs: 2 },
    ]);
    const room = { seqs: 10, tokens: 100, usedSeqs: 0, usedTokens: 0 };
    expect(typeof reservations.mayStart({ tenant: 'b', band: 'batch' }, value, room, 0)).toBe(
      'boolean',
    );
    reservations.hold({ tenant: 'a', band: 'batch' }, value)?.end();
    const pool = createBurstPool({ tokensPerMinute: value, capacityTokens: value });
    pool.settle(value, 0);
    expect(pool.level(1_000)).toBeGreaterThanOrEqual(0);
    pool.draw(value, { band: 'critical', saturation: value }, 2_000);
    expect(pool.level(3_000)).not.toBeNaN();
    const guard = createCodelGuard({ targetMs: value, intervalMs: value });
    guard.left(value, 0);
    expect(guard.level(5_000, value)).not.toBeNaN();
    const group = createDeviceGroup();
    group.tempo(value, value, 0);
    group.tempo(value, 50, 5_000);
    expect(group.ceiling('batch', 6_000)).toBeGreaterThan(0);
    const feasibility = createFeasibility();
    expect(
      typeof feasibility.allows({ band: 'batch', waitMs: value, patienceMs: value, own: true }),
    ).toBe('boolean');
    const tracker = createSloTracker({ ttftMs: value, tpotMs: value, e2eMs: null, objective: 0.9 });
    tracker.record(
      { outcome: 'complete', ttftMs: value, tpotMs: value, e2eMs: value, outputTokens: value },
      0,
    );
    expect(tracker.report(0).attainment).not.toBeNaN();
    const limits = createLimits();
    const subject = { account: 'a', limits: PER_MINUTE };
    const cost = { inputTokens: value, outputTokens: value };
    const result = limits.reserve([subject], cost, 0);
    if (result.ok) result.reservation.settle(cost);
    expect(limits.state(subject, 0).requests?.remaining).not.toBeNaN();
  });
});

describe('callbacks that throw', () => {
  it('are logged and forgotten, every one of them', async () => {
    const clock = createManualClock();
    const logger = createRecordingLogger();
    const boom = (): never => {
      throw new Error('boom');
    };
    const observer = { granted: boom, refused: boom, ended: boom, leaked: boom, preempted: boom };
    using qos = createQos({ clock, rng: createRng(1), logger, observer, leakAfterMs: 1_000 });
    qos.setModel({ name: 'm', band: 'standard' });
    qos.setEndpoints('m', [{ id: 'e', maxSeqs: 1, kvCapacityTokens: null, ready: true }]);
    const low = qos.tryAdmit(request({ band: 'batch' }));
    const high = await qos.admit(request({ band: 'critical' }));
    expect([low?.ok, high.ok]).toEqual([true, true]);
    if (low?.ok)
      expect(await low.permit.retry({ signal: AbortSignal.abort() })).toMatchObject({
        reason: 'cancelled',
      });
    // The second is never ended: it is taken back when the next one comes.
    await clock.advance(5_000);
    const next = await qos.admit(request());
    expect(next.ok).toBe(true);
    if (next.ok) next.permit.done();
    expect(qos.inFlight).toBe(0);
    const failures = logger.records.filter(({ event }) => event === 'observer-failed');
    expect(failures.length).toBeGreaterThanOrEqual(6);
  });
});

describe('permits', () => {
  it('ended twice, or used after their end, change nothing', async () => {
    const { qos } = openAt(0);
    const limits = [{ account: 'a', limits: PER_MINUTE }];
    const admission = qos.tryAdmit(request({ limits }));
    if (!admission?.ok) throw new Error('refused');
    const { permit } = admission;
    permit.done();
    const before = JSON.stringify([qos.report(), qos.limits.state(limits[0] as never, 0)]);
    permit.done('failed');
    permit.tokens(100);
    permit.usage({ outputTokens: 1e6 });
    expect(permit.firstByte()).toBe(false);
    expect(await permit.retry()).toMatchObject({ ok: false });
    await permit[Symbol.asyncDispose]();
    expect(JSON.stringify([qos.report(), qos.limits.state(limits[0] as never, 0)])).toBe(before);
    qos.close();
  });
});
