/**
 * 90 % bands of predictions, and how they widen or narrow with the support of one. Data and one multiplication.
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
 * Factors from a prediction to the ends of its band, for a model that was not among the measured ones: the 5 % and
 * 95 % points of measured ÷ predicted over all rows whose (model, GPU) was left out of the fit (bench
 * performance-accuracy). One band for all engine families: bands of single families hold only three quarters of the
 * points of a model they have not seen.
 */
export const MEASURED_BANDS: Bands = {
  ttftMs: { low: 0.68, high: 2.22 },
  tpotMs: { low: 0.69, high: 1.63 },
  outputTokensPerSecond: { low: 0.61, high: 1.37 },
};

/**
 * Exponent on the band by grade. 1 is what left-out models measured; what was carried over to a partition or
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
