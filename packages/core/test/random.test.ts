import { describe, expect, it } from 'vitest';
import { createRng, createSequentialIds, systemIds, systemRng } from '../src/index.js';

const draw = (rng: { next(): number }, count: number): number[] =>
  Array.from({ length: count }, () => rng.next());

describe('createRng', () => {
  it('repeats from its seed and differs between seeds', () => {
    expect(draw(createRng(7), 5)).toEqual(draw(createRng(7), 5));
    expect(draw(createRng(7), 5)).not.toEqual(draw(createRng(8), 5));
  });

  it('is uniform in [0, 1)', () => {
    const numbers = draw(createRng(1), 20_000);
    expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true);
    const tenths = new Array<number>(10).fill(0);
    for (const number of numbers)
      tenths[Math.floor(number * 10)] = (tenths[Math.floor(number * 10)] ?? 0) + 1;
    // 2000 expected in each, standard deviation 42.
    for (const count of tenths) expect(Math.abs(count - 2000)).toBeLessThan(200);
  });
});

describe('the host’s sources', () => {
  it('give numbers in [0, 1) and ids nobody had', () => {
    expect(draw(systemRng, 100).every((number) => number >= 0 && number < 1)).toBe(true);
    // More than one page of random bytes.
    const ids = Array.from({ length: 2000 }, () => systemIds.next());
    expect(new Set(ids).size).toBe(2000);
    expect(ids.every((id) => /^[0-9a-f]{32}$/.test(id))).toBe(true);
    // Every digit at every place: a bit that never changes is no random one.
    for (let place = 0; place < 32; place += 1)
      expect(new Set(ids.map((id) => id[place])).size).toBe(16);
  });
});

describe('createSequentialIds', () => {
  it('counts from 1, each source for itself', () => {
    const ids = createSequentialIds('req-');
    expect([ids.next(), ids.next()]).toEqual(['req-1', 'req-2']);
    expect(createSequentialIds().next()).toBe('1');
  });
});
