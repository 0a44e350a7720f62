/**
 * Holds predictions against the measured rows: errors per product and engine family in sample and with the row's
 * (model, GPU) left out of the fit, two naive rooflines beside, and how many left-out points the bands hold.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import {
  type Band,
  ENGINE_PROFILES,
  type EngineConstants,
  type EngineFamily,
  MEASURED_BANDS,
} from '../src/index.js';
import { estimatedKvTokens, predictRow, type RowPrediction, wholeCard } from './row-prediction.js';
import type { ServingRow } from './serving-rows.js';

/** The values that are compared. */
export const COMPARED = ['tpotMs', 'ttftMs', 'outputTokensPerSecond'] as const;
/** One of {@link COMPARED}. */
export type Compared = (typeof COMPARED)[number];

/** Median and 90th percentile of the absolute relative error, in per cent, and how many rows gave it. */
export interface ErrorSummary {
  readonly rows: number;
  readonly medianPercent: number;
  readonly p90Percent: number;
}

/** How a row is predicted. */
export type Predictor = (row: ServingRow) => RowPrediction;

/** The unit that is left out together. */
export function groupOf(row: ServingRow): string {
  return `${row.model}|${row.gpu}`;
}

/** The product's own constants. */
export const inSample: Predictor = (row) => predictRow(row, ENGINE_PROFILES[row.engine].constants);

/** Constants that were fitted without the row's (model, GPU). */
export function createLeftOut(): Predictor {
  const table = JSON.parse(
    readFileSync(path.join(import.meta.dirname, 'data', 'leave-one-out.json'), 'utf8'),
  ) as Record<EngineFamily, Record<string, EngineConstants>>;
  return (row) => {
    const constants = table[row.engine][groupOf(row)];
    if (constants === undefined) throw new Error(`no constants without ${groupOf(row)}`);
    return predictRow(row, constants);
  };
}

/** A roofline with constant efficiencies of bandwidth and compute, no latency and no queueing. */
export function createRoofline(memoryEfficiency: number, computeEfficiency: number): Predictor {
  return (row) => {
    const mean = row.uniform ? 0.9 : 1;
    const prompt = row.promptTokens * mean;
    const output = row.outputTokens * mean;
    const context = prompt + output / 2;
    const speed = wholeCard(row.gpu);
    const bandwidth = speed.memoryBytesPerSecond * row.tensorParallel * memoryEfficiency;
    const peak =
      speed.flopsPerSecond[row.step.mathPrecision] * row.tensorParallel * computeEfficiency;
    const batch = Math.max(1, Math.min(row.concurrency, estimatedKvTokens(row) / context));
    const touched =
      row.step.experts > 0
        ? row.step.routedExpertBytes *
          (1 - (1 - row.step.expertsPerToken / row.step.experts) ** batch)
        : 0;
    const bytes = row.step.alwaysReadBytes + touched + batch * context * row.step.kvBytesPerToken;
    const tpotMs =
      1000 * Math.max(bytes / bandwidth, (2 * row.step.activeParameters * batch) / peak);
    const ttftMs =
      1000 * Math.max(row.weightBytes / bandwidth, (2 * row.step.activeParameters * prompt) / peak);
    const waves = Math.max(1, row.concurrency / batch);
    if (row.offline) {
      const whole = waves * (ttftMs * batch + output * tpotMs);
      return {
        ttftMs,
        tpotMs: whole / output,
        outputTokensPerSecond: (1000 * row.concurrency * output) / whole,
      };
    }
    return {
      ttftMs,
      tpotMs,
      outputTokensPerSecond: (1000 * batch * output) / (ttftMs + output * tpotMs),
    };
  };
}

/** The roofline whose two efficiencies give the least median error of TPOT over the rows. */
export function fitRoofline(rows: readonly ServingRow[]): Predictor {
  let best: Predictor = createRoofline(1, 1);
  let least = Number.POSITIVE_INFINITY;
  for (const memory of [0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7]) {
    for (const compute of [0.01, 0.02, 0.04, 0.07, 0.1, 0.2, 0.4]) {
      const candidate = createRoofline(memory, compute);
      const { medianPercent } = summarise(rows, candidate, 'tpotMs');
      if (medianPercent < least) {
        least = medianPercent;
        best = candidate;
      }
    }
  }
  return best;
}

/** Predicted ÷ measured of one value over rows that have it. Offline rows have only their pace. */
export function ratios(
  rows: readonly ServingRow[],
  predictor: Predictor,
  value: Compared,
): number[] {
  const out: number[] = [];
  for (const row of rows) {
    const measured = row[value];
    if (measured === null || !(measured > 0)) continue;
    if (row.offline && value === 'ttftMs') continue;
    out.push(predictor(row)[value] / measured);
  }
  return out;
}

/** A quantile by nearest rank; NaN of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (
    sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ??
    Number.NaN
  );
}

/** Summarises the errors of one value. */
export function summarise(
  rows: readonly ServingRow[],
  predictor: Predictor,
  value: Compared,
): ErrorSummary {
  const errors = ratios(rows, predictor, value).map((ratio) => Math.abs(ratio - 1));
  return {
    rows: errors.length,
    medianPercent: 100 * quantile(errors, 0.5),
    p90Percent: 100 * quantile(errors, 0.9),
  };
}

/** The band that holds nine in ten of predicted ÷ measured: factors from the prediction to its ends. */
export function bandOf(predictedToMeasured: readonly number[]): Band {
  return {
    low: 1 / quantile(predictedToMeasured, 0.95),
    high: 1 / quantile(predictedToMeasured, 0.05),
  };
}

/** Share of left-out points inside the bands that the product states for measured engines. */
export function coverage(
  rows: readonly ServingRow[],
  predictor: Predictor,
  value: Compared,
): number {
  const band = MEASURED_BANDS[value];
  let inside = 0;
  let all = 0;
  for (const row of rows) {
    for (const ratio of ratios([row], predictor, value)) {
      all += 1;
      if (1 / ratio >= band.low && 1 / ratio <= band.high) inside += 1;
    }
  }
  return all === 0 ? Number.NaN : inside / all;
}

/**
 * Share of left-out points inside a band that was itself set without their (model, GPU): the honest half of
 * {@link coverage}.
 */
export function crossCoverage(
  rows: readonly ServingRow[],
  predictor: Predictor,
  value: Compared,
): number {
  let inside = 0;
  let all = 0;
  const key = (row: ServingRow): string => `${groupOf(row)}|${row.engine}`;
  for (const group of new Set(rows.map(key))) {
    const own = ratios(
      rows.filter((row) => key(row) === group),
      predictor,
      value,
    );
    if (own.length === 0) continue;
    const band = bandOf(
      ratios(
        rows.filter((row) => key(row) !== group),
        predictor,
        value,
      ),
    );
    all += own.length;
    inside += own.filter((ratio) => 1 / ratio >= band.low && 1 / ratio <= band.high).length;
  }
  return all === 0 ? Number.NaN : inside / all;
}
