/**
 * Width of the 90 % bands by how well a prediction is supported. Data only.
 */
import type { Grade } from './engine-constants.js';

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

/** The bands of each grade. */
export const BANDS: Readonly<Record<Grade, Bands>> = {
  measured: {
    ttftMs: { low: 0.4, high: 2.5 },
    tpotMs: { low: 0.65, high: 1.6 },
    outputTokensPerSecond: { low: 0.6, high: 1.55 },
  },
  transferred: {
    ttftMs: { low: 0.35, high: 3.5 },
    tpotMs: { low: 0.55, high: 2.2 },
    outputTokensPerSecond: { low: 0.45, high: 1.9 },
  },
  assumed: {
    ttftMs: { low: 0.3, high: 4 },
    tpotMs: { low: 0.5, high: 4 },
    outputTokensPerSecond: { low: 0.25, high: 2 },
  },
  calibrated: {
    ttftMs: { low: 0.6, high: 1.7 },
    tpotMs: { low: 0.8, high: 1.25 },
    outputTokensPerSecond: { low: 0.8, high: 1.25 },
  },
};
