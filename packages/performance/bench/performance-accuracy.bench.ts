/** Bench: predictions against the published measurements; deterministic, no options. */
import type { Bench, BenchResult } from '../../../tools/bench.js';
import {
  COMPARED,
  type Compared,
  coverage,
  createLeftOut,
  createRoofline,
  crossCoverage,
  fitRoofline,
  inSample,
  type Predictor,
  ratios,
  summarise,
} from './accuracy.js';
import { FAMILIES } from './fit-parameters.js';
import { readServingRows, type ServingRow } from './serving-rows.js';

function table(
  rows: readonly ServingRow[],
  name: string,
  leftOut: Predictor,
  twoEfficiencies: Predictor,
): BenchResult[] {
  const predictors: readonly (readonly [string, Predictor])[] = [
    ['in sample', inSample],
    ['left out', leftOut],
    ['ideal roofline', createRoofline(1, 1)],
    ['roofline with two fitted efficiencies', twoEfficiencies],
  ];
  return predictors.map(([predictor, predict]) => {
    const cells = (value: Compared): string => {
      const { rows: count, medianPercent, p90Percent } = summarise(rows, predict, value);
      return count === 0 ? '-' : `${medianPercent.toFixed(1)} / ${p90Percent.toFixed(1)}`;
    };
    return {
      set: name,
      rows: rows.length,
      predictor,
      tpotErrorPercent: cells('tpotMs'),
      ttftErrorPercent: cells('ttftMs'),
      outputTokensPerSecondErrorPercent: cells('outputTokensPerSecond'),
    };
  });
}

export const bench: Bench = {
  name: 'performance-accuracy',
  summary: 'TPOT, TTFT and throughput against 1,076 published measurements (median / p90 error)',
  run: async () => {
    const { rows, leftOut: refused } = readServingRows();
    const leftOut = createLeftOut();
    const two = fitRoofline(rows);
    const results: BenchResult[] = [
      ...table(rows, 'all', leftOut, two),
      ...table(
        rows.filter((row) => row.engine !== 'vllm-2024'),
        'current engines',
        leftOut,
        two,
      ),
    ];
    for (const family of FAMILIES) {
      for (const gpu of [...new Set(rows.map((row) => row.gpu))].sort()) {
        const own = rows.filter((row) => row.engine === family && row.gpu === gpu);
        if (own.length > 0) results.push(...table(own, `${family} on ${gpu}`, leftOut, two));
      }
    }
    for (const value of COMPARED) {
      results.push({
        set: 'all',
        coverageOf90PercentBand: value,
        left: 'out',
        percent: 100 * coverage(rows, leftOut, value),
        percentWithBandSetWithoutThem: 100 * crossCoverage(rows, leftOut, value),
      });
    }
    const worst = rows
      .map((row) => ({ row, ratio: ratios([row], inSample, 'tpotMs')[0] ?? 1 }))
      .sort((a, b) => Math.abs(Math.log(b.ratio)) - Math.abs(Math.log(a.ratio)))
      .slice(0, 5);
    for (const { row, ratio } of worst) {
      results.push({
        set: 'worst five',
        row: row.id,
        predictedToMeasured: ratio,
        measuredTpotMs: row.tpotMs,
        source: row.source,
      });
    }
    for (const { id, reason } of refused)
      results.push({ set: 'left out of the table', row: id, reason });
    return { results };
  },
};
