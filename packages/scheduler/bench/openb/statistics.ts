/** Mean, spread and confidence of a handful of paired runs. */

/** Arithmetic mean; 0 of nothing. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

/** Sample standard deviation; 0 of fewer than two values. */
export function standardDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const centre = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1));
}

// Two-sided 95 % points of Student's t for 1 to 30 degrees of freedom; beyond, the normal's.
const STUDENT_T = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145,
  2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048,
  2.045, 2.042,
];

/** The 95 % confidence interval of the mean, by Student's t. */
export function interval95(values: readonly number[]): {
  readonly low: number;
  readonly high: number;
} {
  const centre = mean(values);
  const t = STUDENT_T[values.length - 2] ?? 1.96;
  const half = (t * standardDeviation(values)) / Math.sqrt(Math.max(1, values.length));
  return { low: centre - half, high: centre + half };
}
