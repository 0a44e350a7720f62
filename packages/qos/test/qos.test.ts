/**
 * The composition on a manual clock: who gets in, who waits, who is refused and why, and that nothing is lost.
 */
import { BANDS, type Band, createRng } from '@aim-gpu/core';
import { createManualClock, createRecordingLogger, type ManualClock } from '@aim-gpu/core/testing';
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
  qos = open();
});
afterEach(() => qos.close());

function open(options: Partial<QosOptions> = {}): Qos {
  const made = createQos({ clock, rng: createRng(1), ...options });
  made.setModel({ name: 'm', band: 'standard' });
  made.setEndpoints('m', [{ id: 'e1', maxSeqs: 2, kvCapacityTokens: 10_000, ready: true }]);
  return made;
}

const request = (overrides: Partial<AdmitRequest> = {}): AdmitRequest => ({
  tenant: 't',
  model: 'm',
  band: 'standard',
  promptTokens: 100,
  maxOutputTokens: 50,
  ...overrides,
});

function permitOf(admission: Admission): Permit {
  if (!admission.ok) throw new Error(`refused: ${admission.reason}`);
  return admission.permit;
}

function finish(permit: Permit): void {
  permit.firstByte();
  permit.usage({ promptTokens: 100, outputTokens: 50 });
  permit.done('complete');
}

describe('admission', () => {
  it('is at once while there is room, and in order when there is again', async () => {
    const first = permitOf(await qos.admit(request()));
    const second = permitOf(await qos.admit(request()));
    expect(qos.tryAdmit(request())).toBeNull();
    // Without a first byte the urgent one would take a place at once.
    first.firstByte();
    second.firstByte();
    const later = qos.admit(request({ band: 'batch' }));
    const urgent = qos.admit(request({ band: 'critical' }));
    await clock.advance(5);
    expect(qos.waiting).toBe(2);
    finish(first);
    const granted = permitOf(await urgent);
    expect(granted.queueMs).toBe(5);
    finish(second);
    finish(granted);
    finish(permitOf(await later));
    expect([qos.inFlight, qos.waiting]).toEqual([0, 0]);
  });

  it('never sends more than the endpoint takes', async () => {
    const all = Array.from({ length: 20 }, () => qos.admit(request()));
    await clock.advance(1);
    expect(qos.inFlight).toBe(2);
    for (const each of all) {
      const permit = permitOf(await each);
      expect(qos.inFlight).toBeLessThanOrEqual(2);
      finish(permit);
    }
  });

  it('is refused for an unknown model', async () => {
    expect(await qos.admit(request({ model: 'none' }))).toMatchObject({
      ok: false,
      reason: 'model_unknown',
      retryAfterMs: null,
    });
    expect(qos.tryAdmit(request({ model: 'none' }))).toMatchObject({
      ok: false,
      reason: 'model_unknown',
    });
  });

  it('ends when the caller gives up', async () => {
    const permits = [permitOf(await qos.admit(request())), permitOf(await qos.admit(request()))];
    const abort = new AbortController();
    const waiting = qos.admit(request(), { signal: abort.signal });
    abort.abort();
    expect(await waiting).toMatchObject({ ok: false, reason: 'cancelled' });
    expect(await qos.admit(request(), { signal: abort.signal })).toMatchObject({
      ok: false,
      reason: 'cancelled',
    });
    permits.forEach(finish);
    expect(qos.waiting).toBe(0);
  });

  it('waits a while for a model without an endpoint', async () => {
    qos.setEndpoints('m', []);
    const waiting = qos.admit(request());
    await clock.advance(1000);
    qos.setEndpoints('m', [{ id: 'e2', maxSeqs: 2, kvCapacityTokens: null, ready: true }]);
    const permit = permitOf(await waiting);
    expect(permit.endpoint).toBe('e2');
    finish(permit);
    qos.setEndpoints('m', []);
    const late = qos.admit(request());
    await clock.advance(10_000);
    expect(await late).toMatchObject({ ok: false, reason: 'no_endpoint' });
  });

  it('times out in the queue', async () => {
    const permits = [permitOf(await qos.admit(request())), permitOf(await qos.admit(request()))];
    const waiting = qos.admit(request({ deadlineMs: 500 }));
    await clock.advance(1000);
    const refused = await waiting;
    expect(refused).toMatchObject({ ok: false });
    if (!refused.ok) expect(['queue_timeout', 'infeasible']).toContain(refused.reason);
    permits.forEach(finish);
  });

  it('is bounded: full queues refuse, higher bands displace', async () => {
    qos.close();
    qos = open({ total: { count: 1 } });
    const permits = [permitOf(await qos.admit(request())), permitOf(await qos.admit(request()))];
    const low = qos.admit(request({ band: 'batch' }));
    expect(await qos.admit(request({ band: 'batch' }))).toMatchObject({
      ok: false,
      reason: 'queue_full',
    });
    const high = qos.admit(request({ band: 'critical' }));
    expect(await low).toMatchObject({ ok: false, reason: 'displaced' });
    permits.forEach(finish);
    finish(permitOf(await high));
  });

  it('is charged to accounts, and says when to come back', async () => {
    const limits = [
      {
        account: 'a',
        limits: {
          requestsPerMinute: 1,
          inputTokensPerMinute: null,
          outputTokensPerMinute: null,
          concurrent: null,
        },
      },
    ];
    finish(permitOf(await qos.admit(request({ limits }))));
    const refused = await qos.admit(request({ limits }));
    expect(refused).toMatchObject({ ok: false, reason: 'requests_limited', account: 'a' });
    const wait = refused.ok ? 0 : (refused.retryAfterMs ?? 0);
    await clock.advance(wait * 0.9);
    expect((await qos.admit(request({ limits }))).ok).toBe(false);
    await clock.advance(wait * 0.1 + 1);
    finish(permitOf(await qos.admit(request({ limits }))));
  });
});

describe('permits', () => {
  it('end once, however often they are ended', async () => {
    const permit = permitOf(await qos.admit(request()));
    permit.done();
    permit.done();
    await permit[Symbol.asyncDispose]();
    expect(qos.inFlight).toBe(0);
    const next = permitOf(await qos.admit(request()));
    const other = permitOf(await qos.admit(request()));
    expect(qos.tryAdmit(request())).toBeNull();
    finish(next);
    finish(other);
  });

  it.each([
    [{}, 1],
    [{ maxRetries: 0 }, 0],
    [{ maxRetries: 3 }, 3],
  ])('are repeated as often as may be: %j', async (options, repeats) => {
    const own = createQos({ clock, ...options });
    own.setModel({ name: 'm', band: 'standard' });
    own.setEndpoints('m', [{ id: 'e1', maxSeqs: 2, kvCapacityTokens: null, ready: true }]);
    let tries = 0;
    for (let last = await own.admit(request()); last.ok; last = await last.permit.retry())
      tries += 1;
    expect(tries).toBe(1 + repeats);
    expect(own.inFlight).toBe(0);
  });

  it('try another endpoint before the first byte, and give up after that', async () => {
    qos.setEndpoints('m', [
      { id: 'e1', maxSeqs: 2, kvCapacityTokens: null, ready: true },
      { id: 'e2', maxSeqs: 2, kvCapacityTokens: null, ready: true },
    ]);
    const permit = permitOf(await qos.admit(request()));
    const first = permit.endpoint;
    qos.suspend(first, 10_000);
    const again = permitOf(await permit.retry());
    expect(again.endpoint).not.toBe(first);
    let last: Admission = await again.retry();
    while (last.ok) last = await last.permit.retry();
    expect(last.ok).toBe(false);
    expect(qos.inFlight).toBe(0);
  });

  it('go on where they were when a suspension ends, although a stream on that endpoint does not', async () => {
    const stream = permitOf(await qos.admit(request()));
    stream.firstByte();
    const permit = permitOf(await qos.admit(request()));
    qos.suspend('e1', 1_000);
    let again: Admission | null = null;
    const retried = permit.retry().then((admission) => {
      again = admission;
    });
    await clock.advance(999);
    expect(again).toBeNull();
    await clock.advance(1);
    await retried;
    expect(again).toMatchObject({ ok: true });
    expect(qos.inFlight).toBe(2);
  });

  it('also those that already waited when the endpoint was suspended', async () => {
    const permits = [permitOf(await qos.admit(request())), permitOf(await qos.admit(request()))];
    permits[0]?.firstByte();
    const waiting = qos.admit(request());
    await clock.advance(1);
    qos.suspend('e1', 1_000);
    permits[1]?.done();
    await clock.advance(1_000);
    expect((await waiting).ok).toBe(true);
  });

  it('go on when a sample that closed the gate has grown old', async () => {
    qos.setEndpoints('m', [{ id: 'e1', maxSeqs: 4, kvCapacityTokens: 10_000, ready: true }]);
    permitOf(await qos.admit(request())).firstByte();
    qos.observe('e1', {
      running: 4,
      waiting: 9,
      kvUsage: 0.5,
      kvCapacityTokens: null,
      preemptionsTotal: 0,
      promptTokensTotal: 0,
      generationTokensTotal: 0,
    });
    const waiting = qos.admit(request());
    await clock.advance(2_001);
    expect((await waiting).ok).toBe(true);
  });

  it('are judged by new targets from the moment these are set', async () => {
    const targetsOf = (ttftMs: number) => ({ ttftMs, tpotMs: null, e2eMs: null, objective: 0.9 });
    const standard = () => qos.report()[0]?.bands.find(({ band }) => band === 'standard')?.slo;
    const slow = async (): Promise<void> => {
      const permit = permitOf(await qos.admit(request()));
      await clock.advance(500);
      finish(permit);
    };
    qos.setModel({ name: 'm', band: 'standard', targets: targetsOf(100) });
    await slow();
    expect(standard()).toMatchObject({ attainment: 0, targets: { ttftMs: 100 } });
    qos.setModel({ name: 'm', band: 'standard', targets: targetsOf(900) });
    await slow();
    expect(standard()).toMatchObject({ attainment: 0.5, targets: { ttftMs: 900 } });
  });

  it('report TTFT, and TPOT through the SLO of the band', async () => {
    const permit = permitOf(await qos.admit(request()));
    await clock.advance(100);
    expect(permit.ttftMs).toBeNull();
    expect(permit.firstByte()).toBe(true);
    await clock.advance(490);
    expect(permit.ttftMs).toBe(100);
    permit.usage({ outputTokens: 50, cachedTokens: 10 });
    permit.done('complete');
    const band = qos.report()[0]?.bands.find((entry) => entry.band === 'standard');
    expect(band?.slo?.attainment).toBe(1);
    expect(band?.slo?.tpotMs.p50).toBeGreaterThan(5);
  });

  it('that nobody ends are taken back and reported with their origin', async () => {
    qos.close();
    const leaks: string[] = [];
    qos = open({
      leakAfterMs: 1000,
      observer: { leaked: ({ origin }) => void leaks.push(origin ?? '') },
    });
    await qos.admit(request({ origin: '/v1/chat' }));
    await qos.admit(request({ origin: '/v1/chat' }));
    const waiting = qos.admit(request());
    await clock.advance(5000);
    finish(permitOf(await waiting));
    expect(leaks).toContain('/v1/chat');
  });
});

describe('what the engine says', () => {
  const sample = {
    running: 1,
    waiting: 0,
    kvUsage: 0.2,
    kvCapacityTokens: 10_000,
    preemptionsTotal: 0,
    promptTokensTotal: 0,
    generationTokensTotal: 0,
  };

  it('is heard, also of an endpoint that is gone', async () => {
    qos.observe('e1', sample);
    qos.observe('none', sample);
    qos.suspend('none', 10);
    const [model] = qos.report();
    expect(model?.endpoints[0]).toMatchObject({ id: 'e1', ready: true, inFlight: 0 });
    expect(model?.endpoints[0]?.saturation).toBeGreaterThan(0);
  });

  it('an observer that throws breaks nothing', async () => {
    qos.close();
    const logger = createRecordingLogger();
    const boom = (): never => {
      throw new Error('boom');
    };
    qos = open({ logger, observer: { granted: boom, refused: boom, ended: boom } });
    finish(permitOf(await qos.admit(request())));
    await qos.admit(request({ model: 'none' }));
    expect(qos.inFlight).toBe(0);
  });
});

describe('end', () => {
  it('drains: refuses newcomers, lets the rest end', async () => {
    const permit = permitOf(await qos.admit(request()));
    const drained = qos.drain();
    expect(await qos.admit(request())).toMatchObject({ ok: false, reason: 'draining' });
    finish(permit);
    await drained;
    await qos.drain();
  });

  it('closes: refuses what waits', async () => {
    const permits = [permitOf(await qos.admit(request())), permitOf(await qos.admit(request()))];
    const waiting = qos.admit(request());
    qos.close();
    expect((await waiting).ok).toBe(false);
    permits.forEach(finish);
    expect(clock.pending()).toBe(0);
  });

  it('forgets a model: what waits is refused', async () => {
    const permits = [permitOf(await qos.admit(request())), permitOf(await qos.admit(request()))];
    const waiting = qos.admit(request());
    qos.removeModel('m');
    expect(await waiting).toMatchObject({ ok: false, reason: 'model_unknown' });
    permits.forEach(finish);
    expect(qos.inFlight).toBe(0);
  });
});

describe('under random traffic', () => {
  it.each([1, 2, 3])('seed %i: every request ends exactly once, nothing leaks', async (seed) => {
    const rng = createRng(seed);
    qos.close();
    qos = open({ total: { count: 30 } });
    qos.setEndpoints('m', [
      { id: 'e1', maxSeqs: 3, kvCapacityTokens: 2000, ready: true, group: 'g' },
      { id: 'e2', maxSeqs: 3, kvCapacityTokens: 2000, ready: true, group: 'g' },
    ]);
    let asked = 0;
    let ended = 0;
    const running: Permit[] = [];
    const all: Promise<void>[] = [];
    for (let step = 0; step < 3000; step += 1) {
      if (rng.next() < 0.6) {
        asked += 1;
        const abort = new AbortController();
        const admitted = qos.admit(
          request({
            tenant: `t${Math.floor(rng.next() * 5)}`,
            band: BANDS[Math.floor(rng.next() * BANDS.length)] as Band,
            promptTokens: Math.floor(rng.next() * 500),
            weight: 1 + Math.floor(rng.next() * 3),
            ttftMs: rng.next() < 0.2 ? 500 : null,
          }),
          { signal: abort.signal },
        );
        all.push(
          admitted.then((admission) => {
            if (admission.ok) running.push(admission.permit);
            else ended += 1;
          }),
        );
        if (rng.next() < 0.1) abort.abort();
      }
      if (rng.next() < 0.55 && running.length > 0) {
        const [permit] = running.splice(Math.floor(rng.next() * running.length), 1);
        if (permit !== undefined) {
          if (rng.next() < 0.1) {
            all.push(
              permit.retry().then((admission) => {
                if (admission.ok) running.push(admission.permit);
                else ended += 1;
              }),
            );
          } else {
            finish(permit);
            ended += 1;
          }
        }
      }
      await clock.advance(Math.floor(rng.next() * 20));
    }
    for (let round = 0; round < 2000 && (running.length > 0 || qos.waiting > 0); round += 1) {
      for (const permit of running.splice(0)) {
        finish(permit);
        ended += 1;
      }
      await clock.advance(50);
    }
    await Promise.all(all);
    for (const permit of running.splice(0)) {
      finish(permit);
      ended += 1;
    }
    expect([qos.inFlight, qos.waiting]).toEqual([0, 0]);
    expect(ended).toBe(asked);
  });
});
