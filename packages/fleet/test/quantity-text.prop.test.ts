import { toBytesCount, toMilliseconds, toShare } from '@aim-gpu/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shareText, sizeText, timeText } from '../src/quantity-text.js';

describe('quantities as text', () => {
  it.each([
    [50, '50ms'],
    [1000, '1s'],
    [120_000, '2m'],
    [7_200_000, '2h'],
    [172_800_000, '2d'],
    [1500, '1500ms'],
    [0.0005, '0.0005ms'],
    [1e-7, '0.0000001ms'],
  ])('%d ms is %s', (ms, text) => {
    expect(timeText(ms)).toBe(text);
  });

  it.each([
    [20 * 2 ** 30, '20GiB'],
    [2 ** 41, '2TiB'],
    [48e9, '48GB'],
    [512 * 2 ** 20, '512MiB'],
    [5e6, '5MB'],
    [4096, '4KiB'],
    [1025, '1025B'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(sizeText(bytes)).toBe(text);
  });

  it.each([
    [0.02, '2%'],
    [0.1, '10%'],
    [0.07, '7%'],
    [0.995, '99.5%'],
    [1, '100%'],
    [0, '0%'],
  ])('the ratio %d is %s', (ratio, text) => {
    expect(shareText(ratio)).toBe(text);
  });

  it('read back as the same number', () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 1e12, noNaN: true }), (ms) => {
        expect(toMilliseconds(timeText(ms))).toBe(ms);
      }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 52 }), (bytes) => {
        expect(toBytesCount(sizeText(bytes))).toBe(bytes);
      }),
    );
    const written = fc
      .double({ min: 0, max: 100, noNaN: true })
      .map((value) => Number(value.toFixed(12)));
    fc.assert(
      fc.property(written, (value) => {
        const ratio = toShare(`${value.toFixed(12)}%`) ?? Number.NaN;
        expect(toShare(shareText(ratio))).toBe(ratio);
      }),
    );
  });
});
