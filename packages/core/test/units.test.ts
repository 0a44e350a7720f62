import { describe, expect, it } from 'vitest';
import {
  bytes,
  bytesCeil,
  bytesFloor,
  formatBytes,
  formatMs,
  GIB,
  gib,
  KIB,
  MIB,
  mib,
  ratio,
} from '../src/index.js';

describe('units', () => {
  it('take what they can hold', () => {
    expect(bytes(0)).toBe(0);
    expect(bytes(Number.MAX_SAFE_INTEGER)).toBe(Number.MAX_SAFE_INTEGER);
    expect([bytesFloor(1.9), bytesCeil(1.1)]).toEqual([1, 2]);
    expect([mib(196_592), gib(1.5)]).toEqual([206_141_652_992, 1_610_612_736]);
    expect([KIB, MIB, GIB]).toEqual([1024, 1024 ** 2, 1024 ** 3]);
    expect([ratio(0), ratio(0.5), ratio(1)]).toEqual([0, 0.5, 1]);
  });

  it.each([
    ['bytes', () => bytes(-1)],
    ['bytes', () => bytes(1.5)],
    ['bytes', () => bytes(Number.NaN)],
    ['bytes', () => bytes(2 ** 53)],
    ['bytes', () => bytesFloor(-0.5)],
    ['bytes', () => bytesCeil(Number.POSITIVE_INFINITY)],
    ['bytes', () => gib(-1)],
    ['ratio', () => ratio(1.01)],
    ['ratio', () => ratio(-0.01)],
    ['ratio', () => ratio(Number.NaN)],
  ])('refuse as %s what is out of range: %s', (what, make) => {
    expect(make).toThrow(
      expect.objectContaining({
        code: 'ERR_UNIT_RANGE',
        kind: 'invalid',
        details: expect.objectContaining({ what }),
      }),
    );
  });

  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [2048, '2 KiB'],
    [512 * MIB, '512 MiB'],
    [24 * GIB, '24.0 GiB'],
    [-GIB, '-1.0 GiB'],
    [-12, '-12 B'],
  ])('write %i bytes as %s', (value, text) => {
    expect(formatBytes(value)).toBe(text);
  });

  it.each([
    [0, '0.0 ms'],
    [9.94, '9.9 ms'],
    [350.4, '350 ms'],
    [4200, '4.2 s'],
    [140_000, '2 min 20 s'],
    [119_999, '2 min 0 s'],
  ])('write %d ms as %s', (value, text) => {
    expect(formatMs(value)).toBe(text);
  });

  it('never write a full unit of the smaller kind', () => {
    expect([formatBytes(MIB - 1), formatBytes(GIB - 1)]).toEqual(['1 MiB', '1.0 GiB']);
    expect([9.96, 999.7, 59_960].map(formatMs)).toEqual(['10 ms', '1.0 s', '1 min 0 s']);
  });
});
