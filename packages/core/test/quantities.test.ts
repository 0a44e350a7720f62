import { describe, expect, it } from 'vitest';
import { toBytesCount, toCount, toMilliseconds, toShare } from '../src/index.js';

describe('quantities', () => {
  it.each([
    ['40GiB', 42_949_672_960],
    ['48GB', 48_000_000_000],
    ['37.28GiB', 40_029_095_199],
    ['512 mib', 536_870_912],
    ['.5KiB', 512],
    ['7b', 7],
    ['1TB', 1e12],
    ['1TiB', 2 ** 40],
  ])('read %s as bytes', (text, value) => {
    expect(toBytesCount(text)).toBe(value);
  });

  it.each(['', '40', '40 GiB GiB', '-1GiB', '1e3MiB', '40Gi', '9000000TiB', 'GiB', '1.GiB'])(
    'read no bytes from %j',
    (text) => {
      expect(toBytesCount(text)).toBeNull();
    },
  );

  it.each([
    ['50ms', 50],
    ['1.5s', 1500],
    ['2m', 120_000],
    ['2min', 120_000],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    ['250us', 0.25],
    ['50', null],
    ['soon', null],
  ])('read %s as milliseconds', (text, value) => {
    expect(toMilliseconds(text)).toBe(value);
  });

  it.each([
    ['2%', 0.02],
    ['99.9%', 0.999],
    ['0%', 0],
    ['2', null],
    ['2 %%', null],
  ])('read %s as a share', (text, value) => {
    if (value === null) expect(toShare(text)).toBeNull();
    else expect(toShare(text)).toBeCloseTo(value, 12);
  });

  it.each([
    ['200k', 200_000],
    ['2M', 2_000_000],
    ['1.5g', 1.5e9],
    ['7', 7],
    ['7x', null],
  ])('read %s as a count', (text, value) => {
    expect(toCount(text)).toBe(value);
  });
});
