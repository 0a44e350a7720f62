/**
 * What lower bands leave to urgent ones that are still to come: unread prompts at an engine, and room for as many as
 * lately came at once. And that neither makes an engine idle or a band starve.
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

const PROMPT = 200;
const SEATS = 32;

let clock: ManualClock;
let qos: Qos;
let granted: AdmitRequest[];
beforeEach(() => {
  clock = createManualClock();
  granted = [];
  open();
});
afterEach(() => qos.close());

function open(options: Partial<QosOptions> = {}): void {
  const observer = { granted: (request: AdmitRequest) => void granted.push(request) };
  qos = createQos({ clock, rng: createRng(1), observer, ...options });
  qos.setModel({ name: 'm', band: 'interactive' });
  qos.setEndpoints('m', [{ id: 'e', maxSeqs: SEATS, kvCapacityTokens: 100_000, ready: true }]);
}

const request = (band: Band, promptTokens = PROMPT): AdmitRequest => ({
  tenant: 't',
  model: 'm',
  band,
  promptTokens,
  maxOutputTokens: 100,
});

function permitOf(admission: Admission | null): Permit {
  if (admission === null || !admission.ok) throw new Error(`refused: ${admission?.reason}`);
  return admission.permit;
}

/** An urgent stream from beginning to end, with its first byte after so long. */
async function urgent(firstByteMs = 90, promptTokens = PROMPT): Promise<void> {
  const permit = permitOf(await qos.admit(request('interactive', promptTokens)));
  await clock.advance(firstByteMs);
  permit.firstByte();
  permit.usage({ promptTokens, outputTokens: 10 });
  permit.done();
  granted = [];
}

/** So many requests; their permits in the order in which they were sent. */
function flood(band: Band, count: number, promptTokens = PROMPT): Permit[] {
  const sent: Permit[] = [];
  for (let index = 0; index < count; index += 1) {
    void qos.admit(request(band, promptTokens)).then((admission) => {
      if (admission.ok) sent.push(admission.permit);
    });
  }
  return sent;
}

describe('prompts of lower bands', () => {
  it.each(['standard', 'batch', 'best_effort'] as const)(
    'of %s are sent one by one, each after the first byte of the one before',
    async (band) => {
      await urgent();
      const sent = flood(band, 5);
      await clock.advance(1);
      expect(sent).toHaveLength(1);
      sent[0]?.firstByte();
      await clock.advance(1);
      expect(sent).toHaveLength(2);
      sent[1]?.firstByte();
      await clock.advance(1);
      expect(sent).toHaveLength(3);
    },
  );

  it('may together be as long as an urgent request’s', async () => {
    await urgent(90, 1_000);
    const sent = flood('batch', 8, 300);
    await clock.advance(1);
    expect(sent).toHaveLength(3);
    sent[0]?.firstByte();
    await clock.advance(1);
    expect(sent).toHaveLength(4);
  });

  it('are sent at any length when there is no other', async () => {
    await urgent();
    const sent = flood('batch', 3, 20_000);
    await clock.advance(1);
    expect(sent).toHaveLength(1);
  });

  it('are sent all at once while nobody urgent comes, and again after a minute without', async () => {
    const first = flood('batch', 10);
    await clock.advance(1);
    expect(first).toHaveLength(10);
    for (const permit of first) permit.done();
    await urgent();
    await clock.advance(60_001);
    const later = flood('batch', 10);
    await clock.advance(1);
    expect(later).toHaveLength(10);
  });

  it('do not hold urgent ones back, nor these each other', async () => {
    await urgent();
    flood('batch', 1);
    const sent = flood('interactive', 8);
    await clock.advance(1);
    expect(sent).toHaveLength(8);
  });

  it('count once an answer that failed, was given back or ended without a first byte', async () => {
    await urgent();
    const sent = flood('batch', 4);
    await clock.advance(1);
    sent[0]?.done('failed');
    await clock.advance(1);
    expect(sent).toHaveLength(2);
    sent[1]?.done('client_gone');
    await clock.advance(1);
    expect(sent).toHaveLength(3);
    const again = sent[2]?.retry();
    await clock.advance(1);
    expect((await again)?.ok).toBe(true);
    expect(sent).toHaveLength(3);
    sent[2]?.firstByte();
    await clock.advance(1);
    expect(sent).toHaveLength(4);
  });

  it('of answers that come whole are read after about as long as streams took', async () => {
    await urgent(90);
    const sent = flood('batch', 12);
    await clock.advance(1);
    sent[0]?.firstByte({ whole: true });
    sent[0]?.done();
    await clock.advance(1);
    expect(sent).toHaveLength(2);
    await clock.advance(85);
    expect(sent).toHaveLength(2);
    await clock.advance(10);
    expect(sent).toHaveLength(3);
    await clock.advance(5 * 90);
    expect(sent.length).toBeGreaterThanOrEqual(7);
  });

  it('hold nobody for longer than two seconds, whatever streams took', async () => {
    await urgent(500_000);
    permitOf(qos.tryAdmit(request('interactive')));
    const sent = flood('batch', 2);
    await clock.advance(1_990);
    expect(sent).toHaveLength(1);
    await clock.advance(20);
    expect(sent).toHaveLength(2);
  });

  it('fill an engine once those before them are read, in any number of rounds', async () => {
    await urgent();
    const sent = flood('batch', 100);
    for (let index = 0; index < 40; index += 1) {
      await clock.advance(1);
      for (const permit of sent) permit.firstByte();
    }
    expect(sent.length).toBeGreaterThanOrEqual(Math.floor(SEATS * 0.85));
  });

  it('are taken by each endpoint for itself', async () => {
    qos.setEndpoints(
      'm',
      ['e', 'f', 'g'].map((id) => ({ id, maxSeqs: 8, kvCapacityTokens: null, ready: true })),
    );
    await urgent();
    const sent = flood('batch', 9);
    await clock.advance(1);
    expect(sent.map((permit) => permit.endpoint).sort()).toEqual(['e', 'f', 'g']);
  });
});

describe('room for urgent bands', () => {
  /** So many urgent streams at any time, for a while. */
  async function steady(count: number): Promise<void> {
    const running: Permit[] = [];
    for (let index = 0; index < 200; index += 1) {
      const permit = permitOf(await qos.admit(request('interactive')));
      permit.firstByte();
      running.push(permit);
      if (running.length >= count) running.shift()?.done();
      await clock.advance(50);
    }
    for (const permit of running) permit.done();
    granted = [];
  }

  /** How many of a flood run when each had its first byte at once. */
  async function taken(band: Band): Promise<number> {
    const sent = flood(band, SEATS + 8);
    for (let index = 0; index < SEATS + 8; index += 1) {
      await clock.advance(1);
      for (const permit of sent) permit.firstByte();
    }
    return sent.length;
  }

  it('is as much as they lately had at once', async () => {
    await steady(2);
    expect(await taken('batch')).toBe(SEATS - 2);
  });

  it('is no more than the band’s ceiling leaves', async () => {
    await steady(20);
    expect(await taken('batch')).toBe(Math.floor(SEATS * 0.85));
  });

  it('is less by what they have now', async () => {
    await steady(3);
    const held = permitOf(qos.tryAdmit(request('interactive')));
    held.firstByte();
    expect(await taken('batch')).toBe(SEATS - 3);
    expect(qos.inFlight).toBe(SEATS - 2);
  });

  it('follows how much their number varies', async () => {
    for (let index = 0; index < 60; index += 1) {
      const burst = flood('interactive', index % 4 === 0 ? 4 : 1);
      await clock.advance(50);
      for (const permit of burst) {
        permit.firstByte();
        permit.done();
      }
    }
    const sent = await taken('batch');
    expect(sent).toBeLessThan(SEATS - 2);
    expect(sent).toBeGreaterThanOrEqual(Math.floor(SEATS * 0.85));
  });

  it('is also kept of the cache', async () => {
    qos.setEndpoints('m', [{ id: 'e', maxSeqs: 1_000, kvCapacityTokens: 10_000, ready: true }]);
    for (let index = 0; index < 200; index += 1) {
      const permit = permitOf(qos.tryAdmit(request('interactive', 700)));
      permit.firstByte();
      permit.done();
      await clock.advance(50);
    }
    const sent = await taken('batch');
    expect(sent).toBe(Math.floor((10_000 * 0.9 - 800) / 300));
  });
});

/** Random arrivals, first bytes and ends; what was granted when, and whether an endpoint idled before a queue. */
async function shake(seed: number): Promise<{ readonly trace: string; readonly idled: number }> {
  const rng = createRng(seed);
  open();
  const names = ['e', 'f'];
  qos.setEndpoints(
    'm',
    names.map((id) => ({ id, maxSeqs: 4, kvCapacityTokens: null, ready: true })),
  );
  const running: Permit[] = [];
  const bands = ['interactive', 'standard', 'batch', 'best_effort'] as const;
  const trace: string[] = [];
  let idled = 0;
  for (let index = 0; index < 2_000; index += 1) {
    const [permit] = running.splice(Math.floor(rng.next() * running.length), 1);
    const roll = rng.next();
    if (roll < 0.6) {
      const band = bands[Math.floor(rng.next() * bands.length)] as Band;
      void qos.admit(request(band, 1 + Math.floor(rng.next() * 2_000))).then((admission) => {
        if (!admission.ok) return;
        trace.push(`${index}:${band}:${admission.permit.endpoint}`);
        running.push(admission.permit);
      });
      if (permit !== undefined) running.push(permit);
    } else if (roll < 0.75 && permit !== undefined) {
      permit.firstByte({ whole: rng.next() < 0.3 });
      running.push(permit);
    } else permit?.done(rng.next() < 0.2 ? 'failed' : 'complete');
    await clock.advance(rng.next() * 20);
    const isIdle = qos.report()[0]?.endpoints.some(({ inFlight }) => inFlight === 0) ?? false;
    if (isIdle && qos.waiting > 0) idled += 1;
  }
  // With nobody new, all that waits is served.
  for (let index = 0; index < 10_000 && qos.waiting + running.length > 0; index += 1) {
    running.shift()?.done();
    await clock.advance(1);
  }
  expect([qos.waiting, qos.inFlight]).toEqual([0, 0]);
  return { trace: trace.join(' '), idled };
}

describe('work', () => {
  it.each([1, 2, 3, 4])(
    'never waits before an idle endpoint, nor for ever (seed %i)',
    async (seed) => {
      const first = await shake(seed);
      expect(first.idled).toBe(0);
      expect(first.trace.length).toBeGreaterThan(1_000);
      qos.close();
      expect((await shake(seed)).trace).toBe(first.trace);
    },
  );

  it.each(['standard', 'batch', 'best_effort'] as const)(
    'of %s is always taken by an endpoint that has none',
    async (band) => {
      for (let index = 0; index < 50; index += 1) await urgent();
      for (let index = 0; index < 50; index += 1) {
        const permit = permitOf(qos.tryAdmit(request(band, 50_000)));
        if (index % 2 === 0) permit.firstByte();
        permit.done(index % 3 === 0 ? 'failed' : 'complete');
      }
      expect(qos.inFlight).toBe(0);
    },
  );
});
