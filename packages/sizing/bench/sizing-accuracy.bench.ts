// How far predicted weights, KV pools and token counts are from measured start-up logs: this package in and out of
// sample, and two baselines. Prints the table, the summary, the worst rows and the rows left out.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Bench, BenchResult } from '../../../tools/bench.js';
import { countParameters } from '../src/index.js';
import { type AccuracyRow, type ErrorSummary, measureAccuracy, summarise } from './accuracy.js';
import { readConfig } from './measured-rows.js';

const percent = (value: number | null): string =>
  value === null ? '' : `${(value * 100).toFixed(3)} %`;

function summaryLine(label: string, summary: ErrorSummary): string {
  return `${label.padEnd(46)} ${String(summary.rows).padStart(3)} rows  mean ${percent(summary.mean)}  median ${percent(summary.median)}  max ${percent(summary.max)}`;
}

function parameterRows(): { results: BenchResult[]; exact: number; wrong: string[] } {
  const data = path.resolve(import.meta.dirname, 'data');
  const [, ...lines] = readFileSync(path.join(data, 'INDEX.tsv'), 'utf8').trim().split('\n');
  const results: BenchResult[] = [];
  const wrong: string[] = [];
  let exact = 0;
  for (const line of lines) {
    const [model = '', file = '', published = '', , formula = '', verdict = ''] = line.split('\t');
    const places = ['../../data/configs', '.', 'partial'];
    if (!places.some((place) => file !== '' && existsSync(path.resolve(data, place, file)))) {
      results.push({ kind: 'parameters', model, reason: 'no config file' });
      continue;
    }
    const config = readConfig(file);
    const { total, loaded } = countParameters(config);
    const want = verdict === 'exact' ? Number(published) : null;
    if (want !== null && want === total) exact += 1;
    else if (want !== null) wrong.push(`${model}: ${total} parameters, published ${published}`);
    results.push({
      kind: 'parameters',
      model,
      total,
      loaded,
      published: published === '' ? null : Number(published),
      formula: formula === '' ? null : Number(formula),
      scored: verdict === 'exact' || (formula !== '' && !file.includes('.partial.')),
      approximate: config.approximate,
    });
  }
  return { results, exact, wrong };
}

const GOALS: readonly (readonly [
  key: 'weights' | 'kvPool' | 'tokens',
  mean: number,
  max: number,
])[] = [
  ['weights', 0.003, 0.04],
  ['kvPool', 0.005, 0.03],
  ['tokens', 0.001, 1],
];

function failuresOf(rows: readonly AccuracyRow[], wrong: readonly string[]): string[] {
  const failures = [...wrong];
  for (const [key, mean, max] of GOALS) {
    const summary = summarise(rows.map((row) => row[key]));
    if (summary.mean > mean)
      failures.push(`${key}: mean ${percent(summary.mean)}, goal ${percent(mean)}`);
    if (summary.max > max)
      failures.push(`${key}: max ${percent(summary.max)}, goal ${percent(max)}`);
  }
  return failures;
}

/** The accuracy bench. */
export const bench: Bench = {
  name: 'sizing-accuracy',
  summary:
    'predicted weights, KV pools and tokens against measured start-up logs, with two baselines',
  run: () => {
    const { rows, leftOut, fitted } = measureAccuracy();
    const scored = rows.filter((row) => row.group === 'scored');
    const apart = rows.filter((row) => row.group === 'apart' && row.insideBand !== null);
    const parameters = parameterRows();
    const worst = [...scored]
      .sort((one, other) => Math.abs(other.kvPool ?? 0) - Math.abs(one.kvPool ?? 0))
      .slice(0, 5);
    const tokens = rows.filter((row) => row.tokens !== null);
    const text = [
      `parameters: ${parameters.exact} configs exact`,
      summaryLine('weights, scored rows', summarise(scored.map((row) => row.weights))),
      summaryLine('KV pool, scored rows, in sample', summarise(scored.map((row) => row.kvPool))),
      summaryLine(
        'KV pool, scored rows, leave one model out',
        summarise(scored.map((row) => row.kvPoolLeftOut)),
      ),
      summaryLine(
        'KV pool, llm-d planner constants',
        summarise(scored.map((row) => row.llmd.kvPool)),
      ),
      summaryLine('KV pool, plain 2·L·h formula', summarise(scored.map((row) => row.plain.kvPool))),
      summaryLine(
        'weights, llm-d planner constants',
        summarise(scored.map((row) => row.llmd.weights)),
      ),
      summaryLine('weights, plain formula', summarise(scored.map((row) => row.plain.weights))),
      summaryLine('tokens from the logged pool', summarise(tokens.map((row) => row.tokens))),
      summaryLine(
        'tokens from the logged pool, llm-d planner',
        summarise(tokens.map((row) => row.llmd.tokens)),
      ),
      summaryLine(
        'tokens from the logged pool, plain 2·L·h',
        summarise(tokens.map((row) => row.plain.tokens)),
      ),
      summaryLine(
        'weights, rows that are not scored',
        summarise(rows.filter((row) => row.group !== 'scored').map((row) => row.weights)),
      ),
      `rows apart (ROCm, V0, no version) with a pool: ${apart.length}, inside the stated band: ${apart.filter((row) => row.insideBand).length}`,
      `scored rows inside the stated band: ${scored.filter((row) => row.insideBand).length} of ${scored.length}`,
      `constants fitted on all v0.19 rows: sampler ${fitted.samplerCopies.toFixed(2)}, residual ${fitted.residualCopies.toFixed(2)}, base ${(fitted.baseBytes / 2 ** 30).toFixed(2)} GiB, non-torch ${fitted.nonTorchBytes.map((value) => (value / 2 ** 30).toFixed(2)).join(' / ')} GiB`,
      'worst KV pools:',
      ...worst.map(
        (row) =>
          `  line ${row.line} ${row.model} tp${row.tensor}: pool ${percent(row.kvPool)}, weights ${percent(row.weights)}, activation ${row.activationGib?.toFixed(2)} GiB`,
      ),
      `left out: ${leftOut.length} rows`,
      ...leftOut.map((row) => `  line ${row.line} ${row.model}: ${row.reason}`),
    ].join('\n');
    const results: BenchResult[] = [
      ...rows.map((row) => ({ kind: 'row', ...row })),
      ...parameters.results,
      ...leftOut.map((row) => ({ kind: 'left out', ...row })),
    ];
    return Promise.resolve({ results, text, failures: failuresOf(scored, parameters.wrong) });
  },
};
