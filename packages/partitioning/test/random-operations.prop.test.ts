// 50,000 random operations against a plain model; a million are `npm run soak -- partition-operations`.
import { expect, it } from 'vitest';
import { runOperations } from './random-operations.js';

it.each([1, 2, 3, 4, 5])('10,000 operations of seed %i break no invariant', (seed) => {
  const report = runOperations({ seed, count: 10_000 });
  expect(report.broken).toBeNull();
  // A run in which nothing happens would prove nothing.
  expect(report.granted).toBeGreaterThan(500);
  expect(report.refused).toBeGreaterThan(500);
  expect(report.switches).toBeGreaterThan(20);
  expect(report.crashes).toBeGreaterThan(500);
});
