import { AimError } from '@aim-gpu/core';
import { expect, test } from 'vitest';
import { toPartitionSpeed } from '../src/index.js';
import { aProduct } from './models.js';

const product = aProduct();
const whole = product.peaks.memoryBytesPerSecond;

test.each([
  ['the whole card', { xcds: 8, layout: { compute: 'SPX', memory: 'NPS1' } }, 1, 1],
  ['half of it', { xcds: 4, layout: { compute: 'DPX', memory: 'NPS2' } }, 1 / 2, 1 / 2],
  ['one XCD in NPS1', { xcds: 1, layout: { compute: 'CPX', memory: 'NPS1' } }, 1 / 8, 1 / 8],
  ['one XCD in NPS4', { xcds: 1, layout: { compute: 'CPX', memory: 'NPS4' } }, 1.05 / 8, 1 / 8],
  [
    'one XCD in NPS4 beside an idle one',
    { xcds: 1, layout: { compute: 'CPX', memory: 'NPS4' }, idleDieNeighbour: true },
    (2 * 1.05) / 8,
    1 / 8,
  ],
  [
    'an idle neighbour gives nothing in NPS1',
    { xcds: 1, layout: { compute: 'CPX', memory: 'NPS1' }, idleDieNeighbour: true },
    1 / 8,
    1 / 8,
  ],
  [
    'a quadrant has its die for itself',
    { xcds: 2, layout: { compute: 'QPX', memory: 'NPS4' }, idleDieNeighbour: true },
    1.05 / 4,
    1 / 4,
  ],
  [
    'a quarter of the CUs',
    { xcds: 1, layout: { compute: 'CPX', memory: 'NPS1' }, cuShare: 0.25 },
    0.5 / 8,
    0.25 / 8,
  ],
  [
    'most of the CUs',
    { xcds: 1, layout: { compute: 'CPX', memory: 'NPS1' }, cuShare: 0.75 },
    1 / 8,
    0.75 / 8,
  ],
] as const)('%s', (_name, options, bandwidth, compute) => {
  const speed = toPartitionSpeed({ product, ...options });
  expect(speed.memoryBytesPerSecond / whole).toBeCloseTo(bandwidth, 9);
  expect(speed.flopsPerSecond.fp16 / product.peaks.fp16FlopsPerSecond).toBeCloseTo(compute, 9);
});

test('4-bit weights run at the 16-bit peak where there are no 4-bit units', () => {
  const layout = { compute: 'SPX', memory: 'NPS1' } as const;
  const old = toPartitionSpeed({ product, xcds: 8, layout });
  expect(old).toMatchObject({ nativeFp4: false });
  expect(old.flopsPerSecond.fp4).toBe(old.flopsPerSecond.fp16);
  expect(toPartitionSpeed({ product: aProduct('MI355X'), xcds: 8, layout }).nativeFp4).toBe(true);
});

test.each([
  ['more XCDs than there are', { xcds: 9 }, 'ERR_PREDICT_INVALID'],
  ['no XCDs', { xcds: 0 }, 'ERR_PREDICT_INVALID'],
  ['an empty mask', { xcds: 1, cuShare: 0 }, 'ERR_PREDICT_INVALID'],
  [
    'a product without peaks',
    { xcds: 1, product: { ...product, peaks: { ...product.peaks, memoryBytesPerSecond: 0 } } },
    'ERR_LAYOUT_UNSUPPORTED',
  ],
])('refuses %s', (_name, overrides, code) => {
  let caught: unknown;
  try {
    toPartitionSpeed({ product, layout: { compute: 'CPX', memory: 'NPS1' }, ...overrides });
  } catch (error) {
    caught = error;
  }
  expect(AimError.is(caught, code)).toBe(true);
});
