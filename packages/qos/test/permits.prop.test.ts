/**
 * Conservation: over 50,000 random operations every request ends exactly once, endpoints are never overfilled, and
 * when all is over nothing is held, waiting or charged.
 */
import { BANDS, type Band, createRng, type Rng } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import { type Admission, createQos, type Permit, type RequestOutcome } from '../src/index.js';

const OPERATIONS = 50_000;
const MAX_SEQS = 3;
const ENDPOINTS = ['e1', 'e2', 'e3'] as const;
const OUTCOMES: readonly RequestOutcome[] = ['complete', 'failed', 'client_gone', 'invalid'];

function pickOf<T>(rng: Rng, list: readonly T[]): T {
  return list[Math.floor(rng.next() * list.length)] as T;
}

describe('permits', () => {
  it(`are conserved over ${OPERATIONS} random operations`, { timeout: 60_000 }, async () => {
    const rng = createRng(11);
    const clock = createManualClock();
    const ends = new Map<string, number>();
    const end = (origin: string | undefined): void => {
      const key = origin ?? '';
      ends.set(key, (ends.get(key) ?? 0) + 1);
    };
    const qos = createQos({
      clock,
      rng: createRng(2),
      total: { count: 40 },
      leakAfterMs: 1e9,
      observer: {
        refused: (request) => end(request.origin),
        ended: (request) => end(request.origin),
      },
    });
    qos.setModel({ name: 'm', band: 'standard' });
    const endpoints = (ready: readonly string[]): void =>
      qos.setEndpoints(
        'm',
        ENDPOINTS.map((id) => ({
          id,
          maxSeqs: MAX_SEQS,
          kvCapacityTokens: 4_000,
          ready: ready.includes(id),
        })),
      );
    endpoints(ENDPOINTS);
    const limits = {
      requestsPerMinute: null,
      inputTokensPerMinute: null,
      outputTokensPerMinute: null,
      concurrent: 10,
    };
    const running: Permit[] = [];
    const open: Promise<void>[] = [];
    const aborts: AbortController[] = [];
    let admitted = 0;
    const keep = (admission: Admission): void => {
      if (admission.ok) running.push(admission.permit);
    };
    const drawn = (): Permit | undefined =>
      running.splice(Math.floor(rng.next() * running.length), 1)[0];

    for (let step = 0; step < OPERATIONS; step += 1) {
      const action = rng.next();
      if (action < 0.4) {
        const abort = new AbortController();
        const tenant = `t${Math.floor(rng.next() * 6)}`;
        aborts.push(abort);
        if (aborts.length > 20) aborts.shift();
        const origin = `r${admitted}`;
        admitted += 1;
        open.push(
          qos
            .admit(
              {
                tenant,
                model: 'm',
                band: pickOf<Band>(rng, BANDS),
                promptTokens: Math.floor(rng.next() * 1_500),
                limits: [{ account: tenant, limits }],
                origin,
                deadlineMs: rng.next() < 0.2 ? 50 : null,
                affinity: rng.next() < 0.2 ? pickOf(rng, ENDPOINTS) : null,
              },
              { signal: abort.signal },
            )
            .then(keep),
        );
      } else if (action < 0.75) {
        const permit = drawn();
        if (permit !== undefined) {
          if (rng.next() < 0.8) permit.firstByte();
          permit.usage({ outputTokens: Math.floor(rng.next() * 300) });
          permit.done(pickOf(rng, OUTCOMES));
          if (rng.next() < 0.2) permit.done();
          if (rng.next() < 0.2) await permit[Symbol.asyncDispose]();
        }
      } else if (action < 0.85) {
        const permit = drawn();
        if (permit !== undefined && permit.ttftMs === null) open.push(permit.retry().then(keep));
        else if (permit !== undefined) running.push(permit);
      } else if (action < 0.92)
        pickOf(rng, aborts.length > 0 ? aborts : [new AbortController()]).abort();
      else if (action < 0.94) qos.suspend(pickOf(rng, ENDPOINTS), 20);
      else if (action < 0.95) endpoints(ENDPOINTS.filter(() => rng.next() < 0.7));
      else await clock.advance(Math.floor(rng.next() * 30));
      if (step % 50 === 0) {
        for (const endpoint of qos.report()[0]?.endpoints ?? []) {
          expect(endpoint.inFlight).toBeLessThanOrEqual(MAX_SEQS);
          expect(endpoint.inFlightTokens).toBeLessThanOrEqual(4_000);
        }
      }
    }
    endpoints(ENDPOINTS);
    for (let round = 0; round < 1_000 && qos.inFlight + qos.waiting > 0; round += 1) {
      for (const permit of running.splice(0)) permit.done();
      await clock.advance(50);
    }
    await Promise.all(open);
    for (const permit of running.splice(0)) permit.done();

    expect([qos.inFlight, qos.waiting]).toEqual([0, 0]);
    expect(ends.size).toBe(admitted);
    expect([...ends].filter(([, times]) => times !== 1)).toEqual([]);
    for (const endpoint of qos.report()[0]?.endpoints ?? [])
      expect([endpoint.inFlight, endpoint.inFlightTokens]).toEqual([0, 0]);
    // Every slot of every account is free again: ten more get in, and the eleventh does not.
    for (let tenant = 0; tenant < 6; tenant += 1) {
      const subject = { account: `t${tenant}`, limits };
      const tries = Array.from(
        { length: 11 },
        () => qos.limits.reserve([subject], { inputTokens: 0, outputTokens: 0 }, clock.monoMs()).ok,
      );
      expect(tries.filter(Boolean)).toHaveLength(10);
    }
    qos.close();
  });
});
