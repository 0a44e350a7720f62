/** The bytes of bodies that are held: their sum, each tenant's share, who is refused first, and that none are lost. */

import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createBodyBudget } from '../src/body-budget.js';
import { type ReadBody, readBody } from '../src/request-body.js';

const MIB = 1024 * 1024;
const BOUNDS = { maxHeldBytes: 100 * MIB, maxHeldBytesPerTenant: 50 * MIB };

describe('a budget of bodies', () => {
  it('has a share for each tenant', () => {
    const budget = createBodyBudget(BOUNDS);
    expect(budget.resize('a', 0, 40 * MIB)).toBeNull();
    expect(budget.resize('a', 0, 11 * MIB)).toBe('tenant');
    expect(budget.resize('b', 0, 11 * MIB)).toBeNull();
    expect(budget.resize('a', 40 * MIB, 0)).toBeNull();
    expect(budget.resize('a', 0, 11 * MIB)).toBeNull();
    expect(budget.heldBytes).toBe(22 * MIB);
  });

  it('keeps a quarter for bodies that are not large', () => {
    const budget = createBodyBudget(BOUNDS);
    for (const tenant of ['a', 'b', 'c']) budget.resize(tenant, 0, 25 * MIB);
    expect(budget.resize('d', 0, MIB)).toBe('all');
    for (let index = 0; index < 100; index += 1)
      expect(budget.resize(`e${index % 4}`, 0, MIB / 4)).toBeNull();
    expect(budget.resize('d', 0, MIB / 4)).toBe('all');
  });

  it('lets one body in that is larger than all of it', () => {
    const budget = createBodyBudget(BOUNDS);
    expect(budget.resize('a', 0, 200 * MIB)).toBeNull();
    expect(budget.resize('a', 0, 1)).toBe('tenant');
    expect(budget.resize('b', 0, 1)).toBe('all');
  });

  it('lets one grow as far as it might have begun', () => {
    const budget = createBodyBudget(BOUNDS);
    expect(budget.resize('a', 0, 10 * MIB)).toBeNull();
    expect(budget.resize('a', 10 * MIB, 60 * MIB)).toBeNull();
    expect(budget.resize('b', 0, 10 * MIB)).toBeNull();
    expect(budget.resize('b', 10 * MIB, 20 * MIB)).toBe('all');
    expect(budget.heldBytes).toBe(70 * MIB);
  });

  it('never holds more than it may beside a body, and nothing when all have ended', () => {
    const step = fc.record({
      tenant: fc.constantFrom('a', 'b', 'c'),
      body: fc.nat({ max: 9 }),
      bytes: fc.nat({ max: 40 * MIB }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const budget = createBodyBudget(BOUNDS);
        const held = new Map<string, number>();
        const set = (tenant: string, body: number, bytes: number): void => {
          const key = `${tenant}${body}`;
          if (budget.resize(tenant, held.get(key) ?? 0, bytes) === null) held.set(key, bytes);
        };
        for (const { tenant, body, bytes } of steps) {
          set(tenant, body, bytes);
          const all = [...held.entries()].filter(([, size]) => size > 0);
          const sum = all.reduce((total, [, size]) => total + size, 0);
          expect(budget.heldBytes).toBe(sum);
          expect(sum).toBeLessThanOrEqual(BOUNDS.maxHeldBytes);
          const own = all.filter(([key]) => key.startsWith(tenant));
          const ownSum = own.reduce((total, [, size]) => total + size, 0);
          if (own.length > 1) expect(ownSum).toBeLessThanOrEqual(BOUNDS.maxHeldBytesPerTenant);
        }
        for (const [key] of held) set(key.slice(0, 1), Number(key.slice(1)), 0);
        expect(budget.heldBytes).toBe(0);
      }),
    );
  });
});

/** A request's body as it comes. */
function reading(headers: Record<string, string>, options: { mostBytes?: number } = {}) {
  const stream = new PassThrough();
  const request = Object.assign(stream, { headers }) as unknown as IncomingMessage;
  const counted: number[] = [];
  const results: ReadBody[] = [];
  const { mostBytes = Number.POSITIVE_INFINITY } = options;
  const holder = {
    holdBody: (bytes: number) => {
      if (bytes > mostBytes) return 'tenant' as const;
      counted.push(bytes);
      return null;
    },
  };
  readBody(request, { maxBytes: MIB, holder }, (read) => results.push(read));
  return { stream, counted, results };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('the reading of a body', () => {
  it.each([
    ['with a length', true],
    ['in chunks', false],
  ])('%s: takes the pieces in order, whatever their sizes', async (_, hasLength) => {
    const sizes = [1, 70_000, 3, 3, 100_000, 1, 30_000];
    const whole = Buffer.concat(sizes.map((size, index) => Buffer.alloc(size, 97 + index)));
    const { stream, results } = reading(
      hasLength ? { 'content-length': String(whole.length) } : {},
    );
    let at = 0;
    for (const size of sizes) {
      stream.write(whole.subarray(at, at + size));
      at += size;
      await turn();
    }
    stream.end();
    await turn();
    expect(results).toHaveLength(1);
    expect((results[0] as Buffer).equals(whole)).toBe(true);
  });

  it('passes one piece on as it came', async () => {
    const piece = Buffer.from('{"model":"m"}');
    const { stream, results } = reading({});
    stream.end(piece);
    await turn();
    expect(results[0]).toBe(piece);
  });

  it('counts what was announced before any of it has come', () => {
    expect(reading({ 'content-length': '500000' }).counted).toEqual([500_000]);
  });

  it('counts a body without a length as it comes, and by the memory it takes', async () => {
    const { stream, counted, results } = reading({});
    for (let index = 0; index < 3_000; index += 1) {
      stream.write(Buffer.alloc(100));
      if (index % 50 === 0) await turn();
    }
    stream.end();
    await turn();
    expect((results[0] as Buffer).length).toBe(300_000);
    expect(counted).toEqual([...counted].sort((a, b) => a - b));
    expect(counted.length).toBeLessThan(12);
    expect(counted.at(-1)).toBeGreaterThanOrEqual(300_000);
    expect(counted.at(-1)).toBe(Math.min(MIB, (results[0] as Buffer).buffer.byteLength));
  });

  it.each([
    ['too large by its length', { 'content-length': String(MIB + 1) }, 'too-large'],
    ['beyond the room by its length', { 'content-length': '300000' }, 'tenant'],
  ])('%s: says so at once', (_, headers, want) => {
    expect(reading(headers, { mostBytes: 200_000 }).results).toEqual([want]);
  });

  it.each([
    ['too large', {}, 'too-large'],
    ['beyond the room', { mostBytes: 200_000 }, 'tenant'],
  ])('in chunks, %s: stops there, once', async (_, options, want) => {
    const { stream, results } = reading({}, options);
    for (let index = 0; index < 20; index += 1) {
      stream.write(Buffer.alloc(100_000));
      await turn();
    }
    stream.end();
    stream.resume();
    await turn();
    expect(results).toEqual([want]);
  });
});
