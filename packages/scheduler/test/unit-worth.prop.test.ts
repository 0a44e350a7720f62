/** Worth of free parts over random mixes: what every dual solution of bin packing has to satisfy. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GRAINS, toUnitWorth } from '../src/unit-worth.js';

const mixes = fc.array(
  fc.record({
    size: fc.integer({ min: 1, max: GRAINS }),
    weight: fc.integer({ min: 1, max: 50 }),
  }),
  { minLength: 1, maxLength: 25 },
);

/** Units that the mix takes when the largest come first and each goes where it first fits. */
function firstFitUnits(mix: readonly { size: number; weight: number }[]): number {
  const free: number[] = [];
  for (const { size, weight } of mix.toSorted((a, b) => b.size - a.size)) {
    for (let count = 0; count < weight; count += 1) {
      const unit = free.findIndex((left) => left >= size);
      if (unit < 0) free.push(GRAINS - size);
      else free[unit] = (free[unit] ?? 0) - size;
    }
  }
  return free.length;
}

const worthOf = (mix: readonly { size: number; weight: number }[]): Float64Array =>
  toUnitWorth(mix.map(({ size, weight }) => ({ share: size / GRAINS, weight })));

describe('worth of free parts', () => {
  it('rises with the part, from nothing to a whole unit, and parts together are worth no less than apart', () => {
    fc.assert(
      fc.property(
        mixes,
        fc.integer({ min: 0, max: GRAINS }),
        fc.integer({ min: 0, max: GRAINS }),
        (mix, a, b) => {
          const worth = worthOf(mix);
          expect(worth[0]).toBe(0);
          expect(worth[GRAINS]).toBeCloseTo(1, 6);
          const [small, large] = a < b ? [a, b] : [b, a];
          expect(worth[small]).toBeLessThanOrEqual((worth[large] ?? 0) + 1e-9);
          if (a + b <= GRAINS)
            expect((worth[a] ?? 0) + (worth[b] ?? 0)).toBeLessThanOrEqual(
              (worth[a + b] ?? 0) + 1e-6,
            );
        },
      ),
    );
  });

  it('sums over a mix to between its size and the units that a plain packing takes', () => {
    fc.assert(
      fc.property(mixes, (mix) => {
        const worth = worthOf(mix);
        const units = mix.reduce((sum, { size, weight }) => sum + weight * (worth[size] ?? 0), 0);
        const least = mix.reduce((sum, { size, weight }) => sum + (weight * size) / GRAINS, 0);
        expect(units).toBeGreaterThanOrEqual(least - 1e-6);
        expect(units).toBeLessThanOrEqual(firstFitUnits(mix) + 1e-6);
      }),
    );
  });
});
