/**
 * What cards add to the objective, as sums that are compared position by position: minus the value placed by band, then
 * violations, change cost, preset score. Lower is better everywhere.
 */

/** Bands come first. */
export const BAND_COUNT = 5;
export const VIOLATION = 5;
export const CHANGE = 6;
export const SCORE = 7;
/** Numbers in a sum over cards; lower is better at every position, earlier positions first. */
export const SUM_LENGTH = 8;

/** Negative when the first sum is better: the first position that differs decides; a score by more than the leeway. */
export function compareSums(a: Float64Array, b: Float64Array, leeway: number = 0): number {
  for (let at = 0; at < SUM_LENGTH; at += 1) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (Math.abs(difference) > 1e-6) return at === SCORE ? difference - leeway : difference;
  }
  return 0;
}
