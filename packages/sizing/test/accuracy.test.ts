import { beforeAll, describe, expect, test } from 'vitest';
import { type Accuracy, measureAccuracy, summarise } from '../bench/accuracy.js';

// Deterministic: the same committed logs and formulas give the same figures on every machine.
describe('accuracy on measured start-up logs', () => {
  let accuracy: Accuracy;
  beforeAll(() => {
    accuracy = measureAccuracy();
  }, 60_000);
  const scored = () => accuracy.rows.filter((row) => row.group === 'scored');

  test('the scored set has not shrunk', () => {
    expect(scored().length).toBeGreaterThanOrEqual(35);
    expect(new Set(scored().map((row) => row.model)).size).toBeGreaterThanOrEqual(19);
  });

  test('weights: mean at most 0.3 %, max at most 4 %', () => {
    const summary = summarise(scored().map((row) => row.weights));
    expect(summary.mean).toBeLessThanOrEqual(0.003);
    expect(summary.max).toBeLessThanOrEqual(0.04);
  });

  test('KV pool: mean at most 0.5 %, max at most 3 %, in sample and leaving each model out', () => {
    for (const errors of [
      scored().map((row) => row.kvPool),
      scored().map((row) => row.kvPoolLeftOut),
    ]) {
      const summary = summarise(errors);
      expect(summary.rows).toBe(scored().length);
      expect(summary.mean).toBeLessThanOrEqual(0.005);
      expect(summary.max).toBeLessThanOrEqual(0.03);
    }
  });

  test('tokens from a logged pool: mean at most 0.1 %', () => {
    const summary = summarise(accuracy.rows.map((row) => row.tokens));
    expect(summary.rows).toBeGreaterThanOrEqual(50);
    expect(summary.mean).toBeLessThanOrEqual(0.001);
  });

  test('activation: mean absolute error at most 0.15 GiB on scored rows', () => {
    expect(summarise(scored().map((row) => row.activationGib)).mean).toBeLessThanOrEqual(0.15);
  });

  test('both baselines are at least ten times worse on the KV pool', () => {
    const own = summarise(scored().map((row) => row.kvPool)).mean;
    expect(summarise(scored().map((row) => row.llmd.kvPool)).mean).toBeGreaterThan(10 * own);
    expect(summarise(scored().map((row) => row.plain.kvPool)).mean).toBeGreaterThan(10 * own);
  });

  test('the stated band holds every scored row, and most of the unvalidated ones', () => {
    expect(scored().every((row) => row.insideBand === true)).toBe(true);
    const apart = accuracy.rows.filter((row) => row.group === 'apart' && row.insideBand !== null);
    expect(apart.length).toBeGreaterThanOrEqual(5);
    expect(apart.filter((row) => row.insideBand).length / apart.length).toBeGreaterThanOrEqual(0.8);
  });

  test('every row is compared or left out with a reason', () => {
    expect(accuracy.rows.length + accuracy.leftOut.length).toBe(126);
    for (const { reason } of accuracy.leftOut) expect(reason).not.toBe('');
  });
});
