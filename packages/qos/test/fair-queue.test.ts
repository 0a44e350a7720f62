/**
 * The queue: bands, tenants, deadlines, bounds, and a plain model it is compared with over random operations.
 */
import { BANDS, type Band, createRng } from '@aim-gpu/core';
import { describe, expect, it } from 'vitest';
import {
  createFairQueue,
  type FairQueue,
  type FairQueueOptions,
  type QueueEntry,
  type QueueTicket,
} from '../src/index.js';

const entry = (value: string, overrides: Partial<QueueEntry<string>> = {}): QueueEntry<string> => ({
  value,
  band: 'standard',
  tenant: 't',
  cost: 10,
  ...overrides,
});

function drain(
  queue: FairQueue<string>,
  nowMs: number,
  most: number = Number.POSITIVE_INFINITY,
): string[] {
  const order: string[] = [];
  while (order.length < most) {
    const next = queue.next(nowMs);
    if (next === null || !queue.take(next, nowMs)) break;
    order.push(next.value);
  }
  return order;
}

function offer(
  queue: FairQueue<string>,
  ...args: Parameters<FairQueue<string>['offer']>
): QueueTicket<string> {
  const result = queue.offer(...args);
  if (!result.ok) throw new Error(`refused: ${result.bound} of ${result.of}`);
  return result.ticket;
}

describe('order', () => {
  it('is strict across bands and first come first served within', () => {
    const queue = createFairQueue<string>({ bands: { batch: { minimumShare: 0 } } });
    for (const band of [...BANDS].reverse()) offer(queue, entry(`${band}1`, { band }), 0);
    for (const band of BANDS) offer(queue, entry(`${band}2`, { band }), 1);
    expect(drain(queue, 2)).toEqual(BANDS.flatMap((band) => [`${band}1`, `${band}2`]));
  });

  it('lets a starving band have one dispatch in eight', () => {
    const queue = createFairQueue<string>();
    offer(queue, entry('starving', { band: 'standard' }), 0);
    for (let index = 0; index < 40; index += 1)
      offer(queue, entry(`urgent${index}`, { band: 'critical', expiresMs: 1e9 }), 29_000);
    const order = drain(queue, 31_000);
    expect(order.indexOf('starving')).toBeGreaterThanOrEqual(0);
    expect(order.indexOf('starving')).toBeLessThan(10);
  });

  it.each(['aged', 'weighted'] as const)('%s lets every band have its turn', (name) => {
    const queue = createFairQueue<string>({ order: name });
    for (const band of BANDS)
      for (let index = 0; index < 30; index += 1)
        offer(queue, entry(band, { band, expiresMs: 1e9 }), index * 1000);
    const order = drain(queue, 1_000_000);
    expect(order).toHaveLength(150);
    if (name === 'weighted') expect(new Set(order.slice(0, 60)).size).toBeGreaterThan(3);
  });

  it('is fair between tenants by weight: the gap stays within the bound', () => {
    const queue = createFairQueue<string>();
    const served: Record<string, number> = { light: 0, heavy: 0 };
    for (let index = 0; index < 400; index += 1) {
      offer(queue, entry('light', { tenant: 'light', weight: 1, cost: 30 }), 0);
      offer(queue, entry('heavy', { tenant: 'heavy', weight: 2, cost: 50 }), 0);
    }
    for (let step = 0; step < 300; step += 1) {
      const [value = ''] = drain(queue, 1, 1);
      served[value] = (served[value] ?? 0) + (value === 'light' ? 30 : 50);
      const gap = Math.abs((served['light'] ?? 0) / 1 - (served['heavy'] ?? 0) / 2);
      expect(gap).toBeLessThanOrEqual(2 * 50);
    }
  });

  it('takes the earliest deadline first inside a tenant', () => {
    const queue = createFairQueue<string>();
    offer(queue, entry('late', { deadlineMs: 9000 }), 0);
    offer(queue, entry('early', { deadlineMs: 1000 }), 1);
    offer(queue, entry('middle', { deadlineMs: 5000 }), 2);
    expect(drain(queue, 3)).toEqual(['early', 'middle', 'late']);
  });

  it('looks only at the bands that are allowed', () => {
    const queue = createFairQueue<string>();
    offer(queue, entry('critical', { band: 'critical' }), 0);
    offer(queue, entry('batch', { band: 'batch' }), 0);
    expect(queue.next(0, 0b01000)?.value).toBe('batch');
    expect(queue.next(0, 0)).toBeNull();
  });

  it('owes a band nothing that has just been served alone', () => {
    const queue = createFairQueue<string>({ total: { count: null }, perBand: { count: null } });
    const add = (band: 'critical' | 'batch', count: number): void => {
      for (let index = 0; index < count; index += 1) {
        queue.offer({ value: band, tenant: 't', band, cost: 100 }, 0);
      }
    };
    const served = (count: number): readonly string[] =>
      Array.from({ length: count }, () => {
        const ticket = queue.next(1);
        if (ticket === null) throw new Error('nothing waits');
        queue.take(ticket, 1);
        return ticket.value;
      });
    add('batch', 200);
    served(100);
    add('critical', 3_000);
    // A twentieth of each dispatch pays off what it was ahead, at most 64 dispatches: then it is owed its share again.
    expect(served(1_000)).not.toContain('batch');
    expect(served(1_000).filter((value) => value === 'batch').length).toBeGreaterThan(20);
  });
});

describe('bounds', () => {
  it('refuse, or displace the newest of a lower band', () => {
    const queue = createFairQueue<string>({ total: { count: 2 }, perBand: { count: 2 } });
    offer(queue, entry('old', { band: 'batch' }), 0);
    offer(queue, entry('new', { band: 'batch' }), 1);
    expect(queue.offer(entry('more', { band: 'batch' }), 2)).toMatchObject({
      ok: false,
      bound: 'count',
    });
    const result = queue.offer(entry('urgent', { band: 'critical' }), 3);
    expect(result.ok && result.displaced.map(({ value }) => value)).toEqual(['new']);
    expect(drain(queue, 4)).toEqual(['urgent', 'old']);
  });

  it.each([
    [{ bytes: 100 }, { bytes: 60 }, 'bytes'],
    [{ tokens: 100 }, { tokens: 60 }, 'tokens'],
  ] as const)('count %j', (perBand, size, bound) => {
    const queue = createFairQueue<string>({ perBand });
    offer(queue, entry('a', size), 0);
    expect(queue.offer(entry('b', size), 0)).toEqual({ ok: false, bound, of: 'band' });
  });

  it('can be scaled down for a band; what waits stays', () => {
    const queue = createFairQueue<string>({ perBand: { count: 4 } });
    for (const value of ['a', 'b', 'c']) offer(queue, entry(value, { band: 'batch' }), 0);
    queue.scaleBound('batch', 0.5);
    expect(queue.offer(entry('d', { band: 'batch' }), 0).ok).toBe(false);
    expect(queue.depth('batch')).toMatchObject({ count: 3 });
    queue.scaleBound('batch', 1);
    expect(queue.offer(entry('d', { band: 'batch' }), 0).ok).toBe(true);
  });
});

describe('waiting', () => {
  it('ends by expiry, in time', () => {
    const queue = createFairQueue<string>();
    offer(queue, entry('short', { expiresMs: 100 }), 0);
    offer(queue, entry('long'), 0);
    expect(queue.nextExpiryMs()).toBe(100);
    expect(queue.expire(99)).toEqual([]);
    expect(queue.expire(101).map(({ value }) => value)).toEqual(['short']);
    expect(queue.waiting().map(({ value }) => value)).toEqual(['long']);
    expect(queue.oldestMs('standard')).toBe(0);
    expect(queue.tokensAhead('batch')).toBe(10);
  });

  it('can be ended once: cancelled, taken or restored at the old place', () => {
    const queue = createFairQueue<string>();
    const a = offer(queue, entry('a'), 0);
    const b = offer(queue, entry('b'), 1);
    expect(queue.take(a, 2)).toBe(true);
    expect(queue.take(a, 2)).toBe(false);
    expect(queue.restore(a, 3)).toBe(true);
    expect(queue.restore(b, 3)).toBe(false);
    expect(queue.next(4)?.value).toBe('a');
    expect(queue.cancel(a, 5)).toBe(true);
    expect(queue.cancel(a, 5)).toBe(false);
    queue.take(b, 6);
    queue.settle(b, 500, 7);
    expect(queue.size).toBe(0);
  });

  it('remembers how far tenants are ahead', () => {
    const queue = createFairQueue<string>();
    for (let index = 0; index < 3; index += 1) {
      offer(queue, entry(`a${index}`, { tenant: 'a', cost: 100 }), 0);
      offer(queue, entry(`b${index}`, { tenant: 'b', cost: 100 }), 0);
    }
    drain(queue, 1, 3);
    const other = createFairQueue<string>({ debtCap: () => 1000 });
    other.restoreLags(queue.lags(), 2);
    for (const value of ['b1', 'b2', 'b3']) offer(other, entry(value, { tenant: 'b' }), 3);
    offer(other, entry('a1', { tenant: 'a' }), 3);
    // Without the memory the two would take turns.
    expect(drain(other, 4)).toEqual(['b1', 'b2', 'b3', 'a1']);
  });
});

describe('against a plain model', () => {
  const OPTIONS: readonly FairQueueOptions[] = [
    {},
    { order: 'aged' },
    { order: 'weighted' },
    { total: { count: 50 } },
  ];
  it.each(OPTIONS)('%j: 15,000 random operations lose and double nothing', (options) => {
    const rng = createRng(7);
    const queue = createFairQueue<number>(options);
    const waiting = new Map<number, QueueTicket<number>>();
    let now = 0;
    let next = 0;
    for (let step = 0; step < 15_000; step += 1) {
      now += Math.floor(rng.next() * 20);
      const action = rng.next();
      if (action < 0.5) {
        const value = next;
        next += 1;
        const result = queue.offer(
          {
            value,
            band: BANDS[Math.floor(rng.next() * BANDS.length)] as Band,
            tenant: `t${Math.floor(rng.next() * 20)}`,
            cost: Math.floor(rng.next() * 1000),
            ...(rng.next() < 0.3 ? { deadlineMs: now + rng.next() * 1000 } : {}),
            ...(rng.next() < 0.3 ? { expiresMs: now + rng.next() * 500 } : {}),
          },
          now,
        );
        if (result.ok) {
          waiting.set(value, result.ticket);
          for (const { value: gone } of result.displaced) expect(waiting.delete(gone)).toBe(true);
        }
      } else if (action < 0.8) {
        const ticket = queue.next(now);
        expect(ticket === null).toBe(queue.size === 0);
        if (ticket !== null) {
          expect(queue.take(ticket, now)).toBe(true);
          expect(waiting.delete(ticket.value)).toBe(true);
          if (rng.next() < 0.1) {
            expect(queue.restore(ticket, now)).toBe(true);
            waiting.set(ticket.value, ticket);
          } else queue.settle(ticket, Math.floor(rng.next() * 1000), now);
        }
      } else if (action < 0.95) {
        const [value, ticket] = [...waiting][Math.floor(rng.next() * waiting.size)] ?? [];
        if (ticket !== undefined && value !== undefined) {
          expect(queue.cancel(ticket, now)).toBe(true);
          waiting.delete(value);
        }
      } else {
        for (const { value } of queue.expire(now)) expect(waiting.delete(value)).toBe(true);
      }
      expect(queue.size).toBe(waiting.size);
    }
    expect(
      queue
        .waiting()
        .map(({ value }) => value)
        .toSorted((a, b) => a - b),
    ).toEqual([...waiting.keys()].toSorted((a, b) => a - b));
  });
});
