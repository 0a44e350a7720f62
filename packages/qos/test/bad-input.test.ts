/**
 * Numbers no sane caller gives, and hosts that change things under running requests: nothing may close, leak or block.
 */
import { createRng, type EngineSample } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  type Admission,
  type AdmitRequest,
  createEndpointCapacity,
  createFairQueue,
  createOutputEstimate,
  createQos,
  type Permit,
} from '../src/index.js';

const ABSURD = [Number.NaN, -5, 0, Number.POSITIVE_INFINITY, 2 ** 53] as const;

const sample: EngineSample = {
  running: 0,
  waiting: 0,
  kvUsage: 0,
  kvCapacityTokens: null,
  preemptionsTotal: 0,
  promptTokensTotal: 0,
  generationTokensTotal: 0,
};

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

describe('an engine’s sample', () => {
  it.each(['waiting', 'kvUsage', 'kvCapacityTokens', 'preemptionsTotal'] as const)(
    'without a number for %s does not close the gate',
    (name) => {
      const endpoint = createEndpointCapacity({ id: 'e', maxSeqs: 8, kvCapacityTokens: 1000 });
      endpoint.acquire(10);
      endpoint.observe({ ...sample, [name]: Number.NaN }, 0);
      expect(endpoint.fits(10, 1, 0)).toBe(true);
      expect(endpoint.saturation(0)).toBeCloseTo(1 / 8);
    },
  );

  it('an endpoint whose cache nobody knows is gated by sequences alone', () => {
    const endpoint = createEndpointCapacity({ id: 'e', maxSeqs: 2, kvCapacityTokens: Number.NaN });
    endpoint.acquire(1e6);
    expect(endpoint.couldFit(1e9)).toBe(true);
    expect(endpoint.fits(1e6, 1, 0)).toBe(true);
    expect(endpoint.saturation(0)).toBe(0.5);
  });
});

describe('a queue', () => {
  it('orders and ends items as usual beside one whose times are not numbers', () => {
    const queue = createFairQueue<string>();
    const entry = { band: 'standard', tenant: 't', cost: 1 } as const;
    queue.offer({ ...entry, value: 'odd', deadlineMs: Number.NaN, expiresMs: Number.NaN }, 0);
    queue.offer({ ...entry, value: 'late', deadlineMs: 900, expiresMs: 100 }, 0);
    queue.offer({ ...entry, value: 'early', deadlineMs: 500, expiresMs: 200 }, 0);
    expect(queue.nextExpiryMs()).toBe(100);
    expect(queue.next(1)?.value).toBe('early');
    expect(queue.expire(300).map(({ value }) => value)).toEqual(['late', 'early']);
    expect(queue.next(300)?.value).toBe('odd');
  });

  it.each(ABSURD)('bears a cost, size and weight of %d', (value) => {
    const queue = createFairQueue<number>();
    for (let index = 0; index < 3; index += 1) {
      const entry = { value: index, band: 'batch', tenant: `t${index}`, cost: value } as const;
      queue.offer({ ...entry, tokens: value, bytes: value, weight: value }, 0);
    }
    for (let ticket = queue.next(1); ticket !== null; ticket = queue.next(1)) {
      queue.take(ticket, 1);
      queue.settle(ticket, value, 2);
    }
    expect(queue.depth('batch')).toEqual({ count: 0, bytes: 0, tokens: 0, tenants: 0 });
    for (const lag of queue.lags()['batch']?.values() ?? []) expect(lag).not.toBeNaN();
  });
});

describe('an answer of 2^53 tokens', () => {
  it('is not believed: the next answers are expected as before', () => {
    const estimate = createOutputEstimate(200);
    for (let index = 0; index < 20; index += 1) estimate.record(2 ** 53, 0);
    expect([estimate.expected(null, 2000), estimate.high(null, 2000)]).toEqual([200, 200]);
  });
});

describe('admission', () => {
  it.each(ABSURD)(
    'of a request whose every number is %d ends and leaves nothing',
    async (value) => {
      const clock = createManualClock();
      using qos = createQos({ clock, rng: createRng(1) });
      qos.setModel({ name: 'm', band: 'standard' });
      qos.setEndpoints('m', [{ id: 'e', maxSeqs: 1, kvCapacityTokens: null, ready: true }]);
      const limits = [
        {
          account: 'a',
          limits: {
            requestsPerMinute: 10,
            inputTokensPerMinute: 1e12,
            outputTokensPerMinute: 1e12,
            concurrent: 3,
          },
        },
      ];
      const odd = request({
        promptTokens: value,
        maxOutputTokens: value,
        weight: value,
        bytes: value,
        ttftMs: value,
        deadlineMs: value,
        limits,
      });
      const first = permitOf(await qos.admit(request({ limits })));
      const waiting = qos.admit(odd);
      await clock.advance(1);
      first.usage({ promptTokens: value, cachedTokens: value, outputTokens: value });
      first.done();
      const admission = await waiting;
      if (admission.ok) {
        admission.permit.firstByte();
        admission.permit.usage({ promptTokens: value, cachedTokens: value, outputTokens: value });
        admission.permit.done();
      }
      permitOf(await qos.admit(request())).done();
      expect([qos.inFlight, qos.waiting]).toEqual([0, 0]);
      for (const endpoint of qos.report()[0]?.endpoints ?? []) {
        expect([endpoint.inFlight, endpoint.inFlightTokens, endpoint.saturation]).toEqual([
          0, 0, 0,
        ]);
      }
    },
  );

  it('survives a model that is removed and comes back under its running requests', async () => {
    const clock = createManualClock();
    using qos = createQos({ clock, rng: createRng(1) });
    const up = (): void => {
      qos.setModel({ name: 'm', band: 'standard' });
      qos.setEndpoints('m', [{ id: 'e', maxSeqs: 3, kvCapacityTokens: null, ready: true }]);
    };
    up();
    const running = permitOf(await qos.admit(request({ tenant: 'a' })));
    const retried = permitOf(await qos.admit(request({ tenant: 'a' })));
    qos.removeModel('m');
    up();
    // The new queue has never seen this request, so it has no place to go back to.
    expect(await retried.retry()).toMatchObject({ ok: false, reason: 'no_endpoint' });
    running.firstByte();
    running.done();
    expect([qos.inFlight, qos.waiting]).toEqual([0, 0]);
    expect(qos.report()[0]?.endpoints[0]).toMatchObject({ inFlight: 0, inFlightTokens: 0 });
  });

  it('lets a lower band have the room again once nobody above has asked for a while', async () => {
    const clock = createManualClock();
    using qos = createQos({ clock, rng: createRng(1) });
    qos.setModel({ name: 'm', band: 'standard' });
    qos.setEndpoints('m', [{ id: 'e', maxSeqs: 4, kvCapacityTokens: null, ready: true }]);
    const held = await Promise.all(Array.from({ length: 4 }, () => qos.admit(request())));
    for (const each of held) permitOf(each).firstByte();
    for (const each of held.slice(0, 2)) permitOf(each).done();
    const waiting = [0, 1].map(() => qos.admit(request({ band: 'best_effort' })));
    await clock.advance(60_000);
    expect(qos.waiting).toBe(2);
    await clock.advance(10);
    expect((await Promise.all(waiting)).every(({ ok }) => ok)).toBe(true);
  });
});
