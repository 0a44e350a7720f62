import { describe, expect, test } from 'vitest';
import {
  bandOf,
  COMPARED,
  coverage,
  createLeftOut,
  createRoofline,
  crossCoverage,
  fitRoofline,
  inSample,
  quantile,
  summarise,
} from '../bench/accuracy.js';
import { fitConstants } from '../bench/constant-fit.js';
import { fitBase, fitParameters } from '../bench/fit-parameters.js';
import { readServingRows } from '../bench/serving-rows.js';
import { ENGINE_PROFILES } from '../src/index.js';

const { rows, leftOut: refused } = readServingRows();
const leftOut = createLeftOut();
const current = rows.filter((row) => row.engine !== 'vllm-2024');

describe('against the published measurements', () => {
  test('most rows are used and the others have a reason', () => {
    expect(rows.length).toBe(1076);
    expect(refused.every((row) => row.reason.length > 10)).toBe(true);
  });

  test.each([
    ['TPOT in sample', rows, inSample, 'tpotMs', 10, 38],
    ['throughput in sample', rows, inSample, 'outputTokensPerSecond', 9.6, 37],
    ['TTFT in sample', rows, inSample, 'ttftMs', 20, 46],
    ['TPOT of left-out models', rows, leftOut, 'tpotMs', 13.5, 42.5],
    ['throughput of left-out models', rows, leftOut, 'outputTokensPerSecond', 13.5, 41],
    ['TPOT of left-out models on current engines', current, leftOut, 'tpotMs', 14, 41],
    [
      'throughput of left-out models on current engines',
      current,
      leftOut,
      'outputTokensPerSecond',
      14,
      35,
    ],
    ['TTFT of left-out models', current, leftOut, 'ttftMs', 23, 52],
  ] as const)('%s', (_name, set, predictor, value, median, p90) => {
    const summary = summarise(set, predictor, value);
    expect(summary.medianPercent).toBeLessThanOrEqual(median);
    expect(summary.p90Percent).toBeLessThanOrEqual(p90);
  });

  test('is far better than rooflines', () => {
    const own = summarise(rows, leftOut, 'tpotMs').medianPercent;
    expect(summarise(rows, createRoofline(1, 1), 'tpotMs').medianPercent).toBeGreaterThan(4 * own);
    expect(summarise(rows, fitRoofline(rows), 'tpotMs').medianPercent).toBeGreaterThan(2 * own);
  });

  test.each(COMPARED)('the 90 %% band of %s holds 85 to 95 %% of the left-out points', (value) => {
    for (const share of [coverage(rows, leftOut, value), crossCoverage(rows, leftOut, value)]) {
      expect(share).toBeGreaterThanOrEqual(0.85);
      expect(share).toBeLessThanOrEqual(0.95);
    }
  });
});

test('the fit gives the constants that the package ships', { timeout: 60_000 }, () => {
  const family = 'vllm';
  const fitted = fitConstants({
    rows: rows.filter((row) => row.engine === family),
    parameters: fitParameters(family),
    base: fitBase(family),
    rounds: 20,
  });
  const shipped = ENGINE_PROFILES[family].constants;
  for (const key of ['weightEfficiency', 'layerMs', 'prefillEfficiency', 'kvEfficiency'] as const)
    expect(Math.abs(fitted[key] / shipped[key] - 1)).toBeLessThan(0.05);
});

test('quantiles and bands of plain numbers', () => {
  const values = Array.from({ length: 100 }, (_, index) => (index + 1) / 100);
  expect(quantile(values, 0.5)).toBe(0.5);
  expect(bandOf(values)).toEqual({ low: 1 / 0.95, high: 1 / 0.05 });
  expect(quantile([], 0.5)).toBeNaN();
});
