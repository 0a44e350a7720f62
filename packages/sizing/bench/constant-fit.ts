/**
 * Fits the constants of the activation and non-torch terms on measured rows, so that the accuracy bench can leave one
 * model out. The formula is overhead.ts's; this file only searches its constants.
 */

import type { ActivationConstants } from '../src/overhead.js';
import { activationBytes } from '../src/overhead.js';
import { resolveOptions } from '../src/size-options.js';
import type { PredictableRow } from './measured-rows.js';

const GIB = 2 ** 30;

/** What a fit gives: usable as `SizeOptions.constants`. */
export interface FittedConstants extends ActivationConstants {
  readonly nonTorchBytes: readonly [number, number, number];
}

function activationError(rows: readonly PredictableRow[], constants: ActivationConstants): number {
  let sum = 0;
  for (const { row, config, options } of rows) {
    if (row.activationGib === null) continue;
    const resolved = resolveOptions(config, options);
    const range = { from: 0, to: config.layers.length, first: true, last: true };
    const predicted = activationBytes(config, range, {
      dtype: resolved.dtype,
      parallel: resolved.parallel,
      maxNumSeqs: resolved.maxNumSeqs,
      maxNumBatchedTokens: resolved.maxNumBatchedTokens,
      speculativeTokens: 0,
      constants,
    });
    sum += Math.abs(predicted / GIB - row.activationGib);
  }
  return sum;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** Least mean absolute error over a fixed grid: coarse, then fine around the best. Deterministic. */
export function fitConstants(rows: readonly PredictableRow[]): FittedConstants {
  let best = { samplerCopies: 3.5, residualCopies: 2.4, baseBytes: 0.03 * GIB };
  let error = activationError(rows, best);
  for (const step of [0.5, 0.1, 0.05]) {
    const centre = best;
    for (let sampler = -4; sampler <= 4; sampler += 1)
      for (let residual = -4; residual <= 4; residual += 1)
        for (const base of [0, 0.03, 0.06]) {
          const candidate = {
            samplerCopies: Math.max(0, centre.samplerCopies + sampler * step),
            residualCopies: Math.max(0, centre.residualCopies + residual * step),
            baseBytes: base * GIB,
          };
          const candidateError = activationError(rows, candidate);
          if (candidateError < error - 1e-9) {
            best = candidate;
            error = candidateError;
          }
        }
  }
  const nonTorch = (from: number, to: number): number =>
    median(
      rows
        .filter(({ row }) => row.tensor >= from && row.tensor <= to && row.nonTorchGib !== null)
        .map(({ row }) => (row.nonTorchGib ?? 0) * GIB),
    );
  return { ...best, nonTorchBytes: [nonTorch(1, 1), nonTorch(2, 2), nonTorch(3, 99)] };
}
