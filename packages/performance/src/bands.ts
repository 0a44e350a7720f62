/**
 * 90 % bands: how a family's measured band widens or narrows with the support of a prediction. The bands themselves
 * stand with the constants they belong to.
 */
import type { Grade } from './engine-constants.js';
import type { Estimate } from './prediction.js';

/** Factors from the mean to the ends of a band. */
export interface Band {
  readonly low: number;
  readonly high: number;
}

/** Bands of the three predicted values. */
export interface Bands {
  readonly ttftMs: Band;
  readonly tpotMs: Band;
  readonly outputTokensPerSecond: Band;
}

/**
 * Exponent on a family's band by grade. 1 is what left-out models measured; what was carried over to a partition or
 * another product is half as wide again, what no measurement supports twice as wide, in powers.
 */
export const BAND_WIDENING: Readonly<Record<Grade, number>> = {
  measured: 1,
  transferred: 1.5,
  assumed: 2,
  calibrated: 0.5,
};

/** A mean with its band at a grade. */
export function toEstimate(mean: number, band: Band, grade: Grade): Estimate {
  const power = BAND_WIDENING[grade];
  return { mean, low: mean * band.low ** power, high: mean * band.high ** power };
}
