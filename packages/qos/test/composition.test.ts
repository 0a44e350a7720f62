/**
 * What happens under pressure: refusals for good reasons, brown-out, group guards, preemption, reservations, burst pool,
 * demand. Every reason code that only pressure brings happens here.
 */
import { type Band, createRng } from '@aim-gpu/core';
import { createManualClock, type ManualClock } from '@aim-gpu/core/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Admission,
  type AdmitRequest,
  createQos,
  type Permit,
  type Qos,
  type QosOptions,
} from '../src/index.js';

let clock: ManualClock;
let qos: Qos;
beforeEach(() => {
  clock = createManualClock();
});
afterEach(() => qos.close());

function open(options: Partial<QosOptions> = {}, maxSeqs = 2): void {
  qos = createQos({ clock, rng: createRng(1), ...options });
  qos.setModel({ name: 'm', band: 'interactive' });
  qos.setEndpoints('m', [{ id: 'e', maxSeqs, kvCapacityTokens: null, ready: true, group: 'g' }]);
}

const request = (band: Band, overrides: Partial<AdmitRequest> = {}): AdmitRequest => ({
  tenant: 't',
  model: 'm',
  band,
  promptTokens: 100,
  maxOutputTokens: 100,
  ...overrides,
});

function permitOf(admission: Admission | null): Permit {
  if (admission === null || !admission.ok) throw new Error(`refused: ${admission?.reason}`);
  return admission.permit;
}

const reasonOf = async (admission: Promise<Admission>): Promise<string> => {
  const result = await admission;
  return result.ok ? 'granted' : result.reason;
};

/** Fills the endpoint with streams that nothing but time ends. */
function fill(band: Band, count: number): Permit[] {
  return Array.from({ length: count }, () => {
    const permit = permitOf(qos.tryAdmit(request(band)));
    permit.firstByte();
    return permit;
  });
}

/** A backlog that drains at one request each 100 ms until it is `left` long. */
async function backlog(count: number, left: number): Promise<void> {
  let [running] = fill('standard', 1);
  const waiting = Array.from({ length: count }, () => qos.admit(request('standard')));
  for (let index = 0; index < count - left; index += 1) {
    await clock.advance(100);
    running?.done();
    running = permitOf(await (waiting[index] as Promise<Admission>));
    running.firstByte();
  }
}

describe('infeasible', () => {
  it('is a request that would not start in time, with the wait as Retry-After', async () => {
    open({}, 1);
    await backlog(60, 30);
    const predicted = qos.report()[0]?.bands.find(({ band }) => band === 'standard');
    expect(predicted?.predictedWaitMs).toBeGreaterThan(2_500);
    expect(predicted?.predictedWaitMs).toBeLessThan(3_500);
    const refused = await qos.admit(request('standard', { deadlineMs: 1_000 }));
    expect(refused).toMatchObject({ ok: false, reason: 'infeasible' });
    expect(refused.ok ? 0 : refused.retryAfterMs).toBeGreaterThan(2_000);
    // Who can wait so long may.
    const patient = qos.admit(request('standard', { deadlineMs: 6_000 }));
    expect(qos.waiting).toBe(31);
    qos.close();
    expect(await reasonOf(patient)).toBe('draining');
  });

  it('is judged by what fairness gives the tenant, not by an elephant’s backlog', async () => {
    open({}, 1);
    await backlog(60, 30);
    const mouse = qos.admit(request('standard', { tenant: 'mouse', deadlineMs: 1_000 }));
    expect(qos.waiting).toBe(31);
    qos.close();
    expect(await reasonOf(mouse)).toBe('draining');
  });
});

describe('shed', () => {
  it('refuses lower bands’ newcomers while a higher band’s queue stands', async () => {
    open({ perBand: { count: 8 }, total: { count: 100 } }, 1);
    const running = fill('interactive', 1);
    const high = Array.from({ length: 4 }, () => qos.admit(request('interactive')));
    const low = [qos.admit(request('batch')), qos.admit(request('batch'))];
    for (let second = 0; second < 6; second += 1) {
      await clock.advance(1_100);
      qos.tryAdmit(request('interactive'));
      low.push(qos.admit(request('batch')));
    }
    expect(await reasonOf(low.at(-1) as Promise<Admission>)).toBe('shed');
    for (const permit of running) permit.done();
    qos.close();
    await Promise.all([...high, ...low]);
  });

  it('refuses best_effort in a brown-out, which ends when the budget no longer burns', async () => {
    open({}, 8);
    const miss = async (): Promise<void> => {
      const permit = permitOf(await qos.admit(request('interactive')));
      await clock.advance(1_500);
      permit.firstByte();
      permit.done();
    };
    for (let index = 0; index < 60; index += 1) await miss();
    expect(qos.report()[0]?.brownout).toBe(true);
    expect(await reasonOf(qos.admit(request('best_effort')))).toBe('shed');
    const batch = Array.from({ length: 8 }, () => {
      const admission = qos.tryAdmit(request('batch'));
      if (admission?.ok) admission.permit.firstByte();
      return admission;
    });
    expect(batch.filter((admission) => admission?.ok)).toHaveLength(4);
    for (const admission of batch) if (admission?.ok) admission.permit.done();
    await clock.advance(400_000);
    expect(qos.report()[0]?.brownout).toBe(false);
    permitOf(await qos.admit(request('best_effort'))).done();
  });
});

describe('device groups', () => {
  it('hold every member’s lower bands back while one member’s urgent tokens are slow', async () => {
    open({}, 10);
    qos.setModel({ name: 'n', band: 'batch' });
    qos.setEndpoints('n', [
      { id: 'f', maxSeqs: 10, kvCapacityTokens: null, ready: true, group: 'g' },
    ]);
    const [urgent] = fill('interactive', 1);
    const [lower] = fill('standard', 1);
    for (let index = 0; index < 400; index += 1) {
      await clock.advance(100);
      urgent?.tokens(1);
    }
    const ceilings = qos.report().map((model) => model.endpoints[0]?.groupCeiling);
    expect(ceilings[0]).toBeLessThan(0.5);
    expect(ceilings[1]).toBe(ceilings[0]);
    // Slow tokens are also a sign that the engine has too many sequences.
    expect(qos.report()[0]?.endpoints[0]?.limit).toBeLessThan(10);
    const others = Array.from({ length: 10 }, () => qos.tryAdmit(request('batch', { model: 'n' })));
    expect(others.filter((admission) => admission?.ok).length).toBeLessThan(6);
    const standard = qos.tryAdmit(request('standard', { model: 'n' }));
    expect(standard?.ok).toBe(true);
    urgent?.done();
    lower?.done();
    await clock.advance(60_000);
    expect(qos.report()[1]?.endpoints[0]?.groupCeiling).toBe(1);
  });

  it('hear the tempo from the engine’s own counters, too', async () => {
    open({}, 10);
    fill('interactive', 2);
    const sample = { running: 2, waiting: 0, kvUsage: 0.1, kvCapacityTokens: null };
    const totals = { preemptionsTotal: 0, promptTokensTotal: 0 };
    for (let second = 0; second < 10; second += 1) {
      // Two streams, twenty tokens a second together: 100 ms between a stream's tokens.
      qos.observe('e', { ...sample, ...totals, generationTokensTotal: second * 20 });
      await clock.advance(1_000);
    }
    expect(qos.report()[0]?.endpoints[0]?.groupCeiling).toBeLessThan(0.8);
  });
});

describe('the share promised to a band', () => {
  /** Tokens of batch among all, while a band asks for three times what the model can do. */
  async function batchShare(band: Band, options: Partial<QosOptions> = {}): Promise<number> {
    const served = { all: 0, batch: 0 };
    open({ observer: { ended: () => (served.all += 1) }, ...options }, 4);
    const one = async (asked: Band): Promise<void> => {
      let admission = await qos.admit(request(asked));
      for (;;) {
        if (!admission.ok) return;
        const { permit } = admission;
        await clock.sleep(20);
        if (permit.firstByte()) {
          await clock.sleep(80);
          if (asked === 'batch') served.batch += 1;
          permit.usage({ promptTokens: 100, outputTokens: 100 });
          permit.done();
          return;
        }
        admission = await permit.retry();
      }
    };
    for (let ms = 0; ms < 30_000; ms += 10) {
      void one(band);
      if (ms % 100 === 0) void one('batch');
      await clock.advance(10);
    }
    return served.batch / served.all;
  }

  it.each(['critical', 'interactive', 'standard'] as const)(
    'is kept although %s fills the model and burns its budget',
    async (band) => {
      expect(await batchShare(band)).toBeGreaterThan(0.045);
    },
  );

  it('is nothing where nothing is promised', async () => {
    const share = await batchShare('critical', { bands: { batch: { minimumShare: 0 } } });
    expect(share).toBeLessThan(0.01);
  });

  it('is not more than was promised', async () => {
    expect(await batchShare('critical')).toBeLessThan(0.06);
  });
});

describe('preemption', () => {
  it('before the first byte puts the victim back unnoticed, at its old place', async () => {
    const seen: string[] = [];
    open({ observer: { preempted: (victim, by) => void seen.push(`${victim.band}<${by.band}`) } });
    const victims = [
      permitOf(qos.tryAdmit(request('batch'))),
      permitOf(qos.tryAdmit(request('batch'))),
    ];
    victims[0]?.firstByte();
    const later = qos.admit(request('batch'));
    const urgent = permitOf(await qos.admit(request('critical')));
    expect(seen).toEqual(['batch<critical']);
    expect(victims.map((permit) => permit.signal.aborted)).toEqual([false, true]);
    expect(victims[1]?.firstByte()).toBe(false);
    const again = (victims[1] as Permit).retry();
    urgent.done();
    // An urgent band was just seen, so the lower one may fill less than before.
    victims[0]?.done();
    const back = permitOf(await again);
    expect([back.signal.aborted, back.firstByte()]).toEqual([false, true]);
    back.done();
    permitOf(await later).done();
    expect([qos.inFlight, qos.waiting]).toEqual([0, 0]);
  });

  it('beyond its tries is refused with `preempted`, and pays nothing', async () => {
    open({}, 1);
    const subject = {
      account: 'a',
      limits: {
        requestsPerMinute: 60,
        inputTokensPerMinute: 100_000,
        outputTokensPerMinute: null,
        concurrent: null,
      },
    };
    let permit = permitOf(qos.tryAdmit(request('batch', { limits: [subject] })));
    let last: Admission | null = null;
    for (let round = 0; round < 4 && last === null; round += 1) {
      const urgent = permitOf(await qos.admit(request('critical')));
      const again = permit.retry();
      urgent.done();
      const admission = await again;
      if (admission.ok) permit = admission.permit;
      else last = admission;
    }
    expect(last).toMatchObject({ ok: false, reason: 'preempted', retryAfterMs: 1_000 });
    expect(qos.limits.state(subject, clock.monoMs())).toMatchObject({
      requests: { remaining: 60 },
      inputTokens: { remaining: 100_000 },
    });
  });

  it('takes nobody back when that would not make room', async () => {
    open();
    qos.setEndpoints('m', [{ id: 'e', maxSeqs: 3, kvCapacityTokens: 1_000, ready: true }]);
    const big = permitOf(qos.tryAdmit(request('batch', { promptTokens: 700, maxOutputTokens: 1 })));
    big.firstByte();
    const small = permitOf(
      qos.tryAdmit(request('batch', { promptTokens: 10, maxOutputTokens: 1 })),
    );
    const urgent = qos.admit(request('critical', { promptTokens: 600 }));
    await clock.advance(1);
    expect([small.signal.aborted, big.signal.aborted]).toEqual([false, false]);
    big.done();
    permitOf(await urgent).done();
    small.done();
  });

  it('of streams happens only where both sides allow it, two at a time, stop-and-wait', async () => {
    open({ preemptStreams: true }, 4);
    const streams = fill('batch', 3);
    const [kept] = [permitOf(qos.tryAdmit(request('batch', { preemptible: false })))];
    kept?.firstByte();
    const urgent = Array.from({ length: 3 }, () => qos.admit(request('critical')));
    await clock.advance(100);
    expect(streams.filter((permit) => permit.signal.aborted)).toHaveLength(0);
    await clock.advance(500);
    const stopped = (): Permit[] => streams.filter((permit) => permit.signal.aborted);
    // One is needed for the first in line; the endpoint stays taken until its stream is closed.
    expect(stopped()).toHaveLength(1);
    expect(qos.inFlight).toBe(4);
    await clock.advance(2_000);
    expect(stopped()).toHaveLength(1);
    stopped()[0]?.done('preempted');
    permitOf(await (urgent[0] as Promise<Admission>)).firstByte();
    await clock.advance(1_000);
    expect(stopped()).toHaveLength(2);
    expect(kept?.signal.aborted).toBe(false);
    qos.close();
    await Promise.all(urgent);
  });

  it('never touches streams unless the host handles it', async () => {
    open({}, 1);
    const [stream] = fill('batch', 1);
    const urgent = qos.admit(request('critical'));
    await clock.advance(20_000);
    expect(stream?.signal.aborted).toBe(false);
    stream?.done();
    permitOf(await urgent).done();
  });
});

describe('reservations', () => {
  it('keep room for their owner, lend the rest, and bound what it borrows', async () => {
    open({}, 10);
    qos.setReservations('m', [
      { name: 'gold', tenant: 'gold', seqs: 4, lendable: 0.5, borrowSeqs: 1 },
    ]);
    const other = fill('standard', 8);
    expect(qos.tryAdmit(request('standard'))).toBeNull();
    const gold = Array.from({ length: 2 }, () =>
      permitOf(qos.tryAdmit(request('standard', { tenant: 'gold' }))),
    );
    const third = qos.admit(request('standard', { tenant: 'gold' }));
    const poor = qos.admit(request('standard'));
    await clock.advance(1);
    expect(qos.waiting).toBe(2);
    // It asked, so the first place that comes free is its own again.
    other[0]?.done();
    gold.push(permitOf(await third));
    other[1]?.done();
    gold.push(permitOf(await qos.admit(request('standard', { tenant: 'gold' }))));
    other[2]?.done();
    permitOf(await poor);
    for (const permit of other) permit.done();
    gold.push(permitOf(await qos.admit(request('standard', { tenant: 'gold' }))));
    expect(qos.tryAdmit(request('standard', { tenant: 'gold' }))).toBeNull();
    expect(permitOf(qos.tryAdmit(request('standard'))).endpoint).toBe('e');
  });
});

describe('the burst pool', () => {
  it('lets a tenant exceed its rate while the model is not busy, and only then', async () => {
    open({ burstPool: { tokensPerMinute: 60, capacityTokens: 400 } }, 4);
    const limits = [
      {
        account: 'a',
        limits: {
          requestsPerMinute: 1,
          inputTokensPerMinute: null,
          outputTokensPerMinute: null,
          concurrent: 3,
        },
      },
    ];
    const ask = (): Admission | null => qos.tryAdmit(request('interactive', { limits }));
    const first = permitOf(ask());
    const second = permitOf(ask());
    // Saturation is 0.5; two more draw the pool empty or make the model busy.
    const third = permitOf(ask());
    expect(ask()).toMatchObject({ ok: false, reason: 'requests_limited' });
    for (const permit of [first, second, third]) {
      permit.firstByte();
      permit.usage({ promptTokens: 100, outputTokens: 100 });
      permit.done();
    }
    expect(ask()).toMatchObject({ ok: false, reason: 'requests_limited' });
  });
});

describe('demand', () => {
  it('tells the planner what is asked, served, refused and waiting', async () => {
    open({ perBand: { count: 2 } }, 1);
    for (let second = 0; second < 20; second += 1) {
      void qos.admit(request('batch'));
      await clock.advance(500);
    }
    const row = qos.demand().find(({ band }) => band === 'batch');
    expect(row).toMatchObject({ model: 'm', queuedRequests: 2, inFlight: 1, attainment: 0 });
    expect(row?.requestsPerSecond).toBeGreaterThan(1.5);
    expect(row?.requestsPerSecond).toBeLessThan(2.5);
    expect(row?.offeredTokensPerSecond).toBeGreaterThan(300);
    expect(row?.refusedPerSecond).toBeGreaterThan(1);
    expect(qos.demand().map(({ band }) => band)).toEqual(['batch']);
  });
});
