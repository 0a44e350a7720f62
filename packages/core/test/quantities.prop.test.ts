import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatBytes, GIB, toBytesCount, toCount, toMilliseconds, toShare } from '../src/index.js';

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'KiB', 'MiB', 'GiB', 'TiB'];
describe('quantities', () => {
  it('grow with the number and do not depend on case or blanks', () => {
    fc.assert(
      fc.property(fc.nat(8000), fc.constantFrom(...UNITS), (value, unit) => {
        const plain = toBytesCount(`${value}${unit}`);
        expect(toBytesCount(` ${value}  ${unit.toUpperCase()} `)).toBe(plain);
        expect(toBytesCount(`${value}${unit.toLowerCase()}`)).toBe(plain);
        expect(toBytesCount(`${value + 1}${unit}`)).toBeGreaterThan(plain ?? Number.NaN);
      }),
    );
  });

  it('are whole, non-negative bytes or null, whatever the text', () => {
    const text = fc.oneof(
      fc.string(),
      fc.tuple(fc.double(), fc.constantFrom(...UNITS)).map(([value, unit]) => `${value}${unit}`),
    );
    fc.assert(
      fc.property(text, (input) => {
        const value = toBytesCount(input);
        expect(value === null || (Number.isSafeInteger(value) && value >= 0)).toBe(true);
        for (const read of [toMilliseconds, toShare, toCount]) {
          const other = read(input);
          expect(other === null || (Number.isFinite(other) && other >= 0)).toBe(true);
        }
      }),
    );
  });

  it('read back what formatBytes wrote, to the precision it shows', () => {
    fc.assert(
      fc.property(fc.integer({ min: GIB, max: 2 ** 48 }), (value) => {
        const read = toBytesCount(formatBytes(value)) ?? Number.NaN;
        expect(Math.abs(read - value)).toBeLessThanOrEqual(GIB * 0.0501);
      }),
    );
  });
});
