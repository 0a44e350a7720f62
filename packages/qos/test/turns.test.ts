/**
 * Turns: equally full endpoints share what comes, and what a tenant owes is not held against it for ever.
 */
import { createRng } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';
import { describe, expect, it } from 'vitest';
import {
  type Admission,
  type AdmitRequest,
  createQos,
  type Permit,
  type Qos,
} from '../src/index.js';

const request = (overrides: Partial<AdmitRequest> = {}): AdmitRequest => ({
  tenant: 't',
  model: 'm',
  band: 'standard',
  promptTokens: 100,
  maxOutputTokens: 100,
  ...overrides,
});

function permitOf(admission: Admission | null): Permit {
  if (admission === null || !admission.ok) throw new Error(`refused: ${admission?.reason}`);
  return admission.permit;
}

describe('of equally full endpoints', () => {
  const open = (ids: readonly string[]): Qos => {
    const qos = createQos({ clock: createManualClock(), rng: createRng(1) });
    qos.setModel({ name: 'm', band: 'interactive' });
    qos.setEndpoints(
      'm',
      ids.map((id) => ({ id, maxSeqs: 4, kvCapacityTokens: null, ready: true })),
    );
    return qos;
  };
  const once = (qos: Qos, overrides: Partial<AdmitRequest> = {}): string => {
    const permit = permitOf(qos.tryAdmit(request(overrides)));
    permit.done();
    return permit.endpoint;
  };

  it('each has its turn, also when every request ends before the next', () => {
    using qos = open(['a', 'b', 'c']);
    const used = Array.from({ length: 7 }, () => once(qos));
    expect(used).toEqual(['a', 'b', 'c', 'a', 'b', 'c', 'a']);
  });

  it('the one with the prefix is taken, and does not move the turn', () => {
    using qos = open(['a', 'b']);
    expect(once(qos)).toBe('a');
    expect(once(qos, { affinity: 'a' })).toBe('a');
    expect(once(qos)).toBe('b');
  });

  it('the less full one comes first whosever turn it is', () => {
    using qos = open(['a', 'b']);
    const held = permitOf(qos.tryAdmit(request()));
    expect(held.endpoint).toBe('a');
    expect([once(qos), once(qos)]).toEqual(['b', 'b']);
    held.done();
  });
});

describe('a place that comes free at an endpoint', () => {
  const TARGET_MS = 1000;

  interface Asked {
    readonly name: string;
    readonly affinity?: string;
    readonly tenant?: string;
    readonly deadlineMs?: number;
  }

  /** Everything full; then one place at `b` after `waitedMs`. Who gets it of those that waited in this order. */
  async function whoGets(asked: readonly Asked[], waitedMs = 0): Promise<string | undefined> {
    const clock = createManualClock();
    using qos = createQos({ clock, rng: createRng(1) });
    const targets = { ttftMs: TARGET_MS, tpotMs: null, e2eMs: null, objective: 0.99 };
    qos.setModel({ name: 'm', band: 'standard', targets });
    qos.setEndpoints(
      'm',
      ['a', 'b'].map((id) => ({ id, maxSeqs: 1, kvCapacityTokens: null, ready: true })),
    );
    const held = [0, 1].map(() => permitOf(qos.tryAdmit(request())));
    const granted: string[] = [];
    for (const { name, affinity = null, tenant = 't', deadlineMs = null } of asked) {
      const wish = { tenant, affinity, ttftMs: deadlineMs };
      void qos.admit(request(wish)).then((admission) => {
        // The others are refused when the test is over.
        if (admission.ok) granted.push(`${name} at ${admission.permit.endpoint}`);
      });
    }
    await clock.advance(waitedMs);
    held.find(({ endpoint }) => endpoint === 'b')?.done();
    await clock.advance(0);
    expect(granted).toHaveLength(1);
    const [name, endpoint] = granted[0]?.split(' at ') ?? [];
    expect(endpoint).toBe('b');
    return name;
  }

  const near = { name: 'near', affinity: 'b' };

  it('goes to the one of its tenant’s first that has its prefix', async () => {
    expect(await whoGets([{ name: 'first' }, { name: 'second', affinity: 'a' }, near])).toBe(
      'near',
    );
  });

  it('goes to the first when it has the prefix itself, or nobody has', async () => {
    expect(await whoGets([{ name: 'first', affinity: 'b' }, near])).toBe('first');
    expect(await whoGets([{ name: 'first' }, { name: 'second', affinity: 'a' }])).toBe('first');
  });

  it('goes to the first once that has waited for half its time', async () => {
    expect(await whoGets([{ name: 'first' }, near], TARGET_MS / 2 - 1)).toBe('near');
    expect(await whoGets([{ name: 'first' }, near], TARGET_MS / 2)).toBe('first');
  });

  it('is not looked for beyond eight, nor at another tenant, nor past a deadline of its own', async () => {
    const others = (count: number): Asked[] =>
      Array.from({ length: count }, (_, index) => ({ name: `other ${index}` }));
    expect(await whoGets([...others(7), near])).toBe('near');
    expect(await whoGets([...others(8), near])).toBe('other 0');
    expect(await whoGets([{ name: 'first' }, { ...near, tenant: 'u' }])).toBe('first');
    expect(await whoGets([{ name: 'urgent', deadlineMs: 500 }, near])).toBe('urgent');
  });
});

describe('what a tenant owes', () => {
  const lagOf = (qos: Qos, tenant: string): number => {
    const lags = qos.snapshot().models[0]?.lags['standard'] ?? [];
    return new Map(lags).get(tenant) ?? 0;
  };

  /** A backlog of one tenant, worked off at one request each 100 ms; then another tenant has a huge answer. */
  async function burst(steps: number): Promise<Qos> {
    const clock = createManualClock();
    const qos = createQos({ clock, rng: createRng(1) });
    qos.setModel({ name: 'm', band: 'interactive' });
    qos.setEndpoints('m', [{ id: 'e', maxSeqs: 1, kvCapacityTokens: null, ready: true }]);
    const granted: Permit[] = [permitOf(qos.tryAdmit(request({ tenant: 'steady' })))];
    const ask = (tenant: string): void => {
      void qos.admit(request({ tenant })).then((admission) => {
        if (admission.ok) granted.push(admission.permit);
      });
    };
    const end = async (outputTokens: number): Promise<string> => {
      await clock.advance(100);
      const permit = granted.shift();
      permit?.firstByte();
      permit?.usage({ outputTokens });
      permit?.done();
      await clock.advance(0);
      return permit?.tenant ?? '';
    };
    for (let index = 0; index < steps + 20; index += 1) ask('steady');
    for (let index = 0; index < steps; index += 1) await end(100);
    ask('greedy');
    while (granted[0]?.tenant !== 'greedy') await end(100);
    await end(5_000_000);
    expect(lagOf(qos, 'greedy')).toBeGreaterThan(9_000_000);
    ask('greedy');
    await clock.advance(0);
    return qos;
  }

  it('is a minute of its fair share at most, once that is known', async () => {
    using qos = await burst(40);
    // 200 tokens each 100 ms are 3,000 weighted tokens a second, shared by two tenants, for 60 s.
    expect(lagOf(qos, 'greedy')).toBeGreaterThan(60_000);
    expect(lagOf(qos, 'greedy')).toBeLessThan(130_000);
  });

  it('is all of it before anything was measured', async () => {
    using qos = await burst(2);
    expect(lagOf(qos, 'greedy')).toBeGreaterThan(9_000_000);
  });
});
