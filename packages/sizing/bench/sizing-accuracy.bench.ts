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

interface ParameterRows {
  readonly results: readonly BenchResult[];
  readonly lines: readonly string[];
  readonly wrong: readonly string[];
}

/** Counts against the index: exact where it says exact, else within 0.5 % of formula or published total. */
function parameterRows(): ParameterRows {
  const data = path.resolve(import.meta.dirname, 'data');
  const [, ...rows] = readFileSync(path.join(data, 'INDEX.tsv'), 'utf8').trim().split('\n');
  const results: BenchResult[] = [];
  const wrong: string[] = [];
  const unscored: string[] = [];
  const approximate: string[] = [];
  let exact = 0;
  let close = 0;
  for (const line of rows) {
    const [model = '', file = '', published = '', , formula = '', verdict = ''] = line.split('\t');
    const places = ['../../data/configs', '.', 'partial'];
    if (!places.some((place) => file !== '' && existsSync(path.resolve(data, place, file)))) {
      results.push({ kind: 'parameters', model, reason: 'no config file' });
      continue;
    }
    const config = readConfig(file);
    const { total, loaded, byComponent } = countParameters(config);
    if (config.approximate) approximate.push(model);
    const scored = verdict === 'exact' || (formula !== '' && !file.includes('.partial.'));
    if (verdict === 'exact') {
      if (Number(published) === total) exact += 1;
      else wrong.push(`${model}: ${total} parameters, published ${published}`);
    } else if (scored) {
      // Some formulas count the text stack only, without prediction layers or vision tower.
      const figures = [total, loaded, loaded - byComponent.vision];
      const errors = figures.flatMap((value) =>
        [formula, published]
          .filter((want) => want !== '')
          .map((want) => Math.abs(value / Number(want) - 1)),
      );
      if (Math.min(...errors) <= 0.005) close += 1;
      else
        wrong.push(
          `${model}: ${total} parameters are further than 0.5 % from formula and published total`,
        );
    } else {
      const known =
        published === '' ? '' : `, published ${Number(published).toLocaleString('en-US')}`;
      unscored.push(`  ${model}: ${total.toLocaleString('en-US')}${known}`);
    }
    results.push({
      kind: 'parameters',
      model,
      total,
      loaded,
      published: published === '' ? null : Number(published),
      formula: formula === '' ? null : Number(formula),
      scored,
      approximate: config.approximate,
    });
  }
  const lines = [
    `parameters: ${exact} configs exactly as published, ${close} more within 0.5 % of the formula, ${wrong.length} wrong; not scored:`,
    ...unscored,
    `approximate: ${approximate.join(', ')}`,
  ];
  return { results, lines, wrong };
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

const signed = (value: number | null): string =>
  value === null ? '?' : `${value < 0 ? '' : '+'}${value.toFixed(2)}`;

/** What makes up the error of a pool: predicted minus measured of each term. */
function explainRow(row: AccuracyRow): string {
  const { weights, nonTorch } = row.terms;
  return `  line ${row.line} ${row.model} tp${row.tensor}: ${percent(row.kvPool)}; weights ${signed(weights)}, activation ${signed(row.activationGib)}, non-torch ${signed(nonTorch)} GiB`;
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
      ...parameters.lines,
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
      ...worst.map(explainRow),
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
