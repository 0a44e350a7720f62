/**
 * Fits an engine family's constants to measured rows: damped least squares on logarithms with Huber weights, held to
 * a prior so that what the rows do not determine stays where it was. Deterministic; used by the fit program and by
 * the accuracy bench.
 */
import type { EngineConstants } from '../src/index.js';
import { predictRow } from './row-prediction.js';
import type { ServingRow } from './serving-rows.js';

/** One fitted constant: its prior and how far the rows may pull it. */
export interface Parameter {
  readonly key: keyof EngineConstants;
  readonly prior: number;
  /** Standard deviation of the prior, of the logarithm, or of the value itself when `linear`. */
  readonly deviation: number;
  readonly linear?: boolean;
  readonly low: number;
  readonly high: number;
}

/** Weight of each measured value of a row. */
const WEIGHTS = { tpotMs: 1, outputTokensPerSecond: 0.5, ttftMs: 0.3 } as const;
const VALUES = ['tpotMs', 'outputTokensPerSecond', 'ttftMs'] as const;
/** Typical relative error of a good fit; beyond a quarter of it an error counts linearly, as a median would. */
const NOISE = 0.12;
const HUBER = 0.25;

function toConstants(
  parameters: readonly Parameter[],
  x: readonly number[],
  base: EngineConstants,
): EngineConstants {
  const constants: Record<string, number> = { ...base };
  for (const [index, parameter] of parameters.entries()) {
    const value = parameter.linear === true ? (x[index] ?? 0) : Math.exp(x[index] ?? 0);
    constants[parameter.key] = Math.min(parameter.high, Math.max(parameter.low, value));
  }
  return constants as unknown as EngineConstants;
}

function residuals(
  rows: readonly ServingRow[],
  weights: readonly number[],
  constants: EngineConstants,
): number[] {
  const out: number[] = [];
  for (const [index, row] of rows.entries()) {
    const predicted = predictRow(row, constants);
    for (const value of VALUES) {
      const measured = row[value];
      const relevant = measured !== null && measured > 0 && !(row.offline && value !== 'tpotMs');
      out.push(
        relevant
          ? (Math.log(predicted[value] / measured) / NOISE) *
              Math.sqrt(WEIGHTS[value] * (weights[index] ?? 1))
          : 0,
      );
    }
  }
  return out;
}

/** Solves a small symmetric system by Gaussian elimination with pivoting. */
function solve(matrix: number[][], right: number[]): number[] {
  const n = right.length;
  const a = matrix.map((row, index) => [...row, right[index] ?? 0]);
  for (let column = 0; column < n; column += 1) {
    let pivot = column;
    for (let row = column + 1; row < n; row += 1) {
      if (Math.abs(a[row]?.[column] ?? 0) > Math.abs(a[pivot]?.[column] ?? 0)) pivot = row;
    }
    const top = a[pivot] as number[];
    a[pivot] = a[column] as number[];
    a[column] = top;
    for (let row = column + 1; row < n; row += 1) {
      const line = a[row] as number[];
      const factor = (line[column] ?? 0) / (top[column] || 1e-12);
      for (let k = column; k <= n; k += 1) line[k] = (line[k] ?? 0) - factor * (top[k] ?? 0);
    }
  }
  const x = new Array<number>(n).fill(0);
  for (let row = n - 1; row >= 0; row -= 1) {
    const line = a[row] as number[];
    let sum = line[n] ?? 0;
    for (let k = row + 1; k < n; k += 1) sum -= (line[k] ?? 0) * (x[k] ?? 0);
    x[row] = sum / (line[row] || 1e-12);
  }
  return x;
}

function cost(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) {
    const size = Math.abs(value);
    sum += size <= HUBER ? size * size : 2 * HUBER * size - HUBER * HUBER;
  }
  return sum;
}

/** Rows of one (model, GPU) count less the more there are, so that no much-measured model outweighs the rest. */
function groupWeights(rows: readonly ServingRow[], power: number): number[] {
  const sizes = new Map<string, number>();
  for (const row of rows)
    sizes.set(`${row.model}|${row.gpu}`, (sizes.get(`${row.model}|${row.gpu}`) ?? 0) + 1);
  return rows.map((row) => ((sizes.get(`${row.model}|${row.gpu}`) ?? 1) / 20) ** -power);
}

/** Fits constants to rows, starting from the priors. */
export function fitConstants(options: {
  readonly rows: readonly ServingRow[];
  readonly parameters: readonly Parameter[];
  readonly base: EngineConstants;
  readonly rounds?: number;
  readonly groupPower?: number;
}): EngineConstants {
  const { rows, parameters, base } = options;
  const weights = groupWeights(rows, options.groupPower ?? 0.75);
  const priors = parameters.map((p) => (p.linear === true ? p.prior : Math.log(p.prior)));
  let x = [...priors];
  const penalty = (at: readonly number[]): number[] =>
    at.map((value, index) => (value - (priors[index] ?? 0)) / (parameters[index]?.deviation ?? 1));
  const all = (at: readonly number[]): { fit: number[]; prior: number[] } => ({
    fit: residuals(rows, weights, toConstants(parameters, at, base)),
    prior: penalty(at),
  });
  const total = (r: { fit: number[]; prior: number[] }): number =>
    cost(r.fit) + r.prior.reduce((sum, value) => sum + value * value, 0);
  let now = all(x);
  let best = total(now);
  let damping = 1e-2;
  for (let round = 0; round < (options.rounds ?? 15); round += 1) {
    const columns = parameters.map((_, index) => {
      const moved = [...x];
      moved[index] = (moved[index] ?? 0) + 1e-3;
      const shifted = residuals(rows, weights, toConstants(parameters, moved, base));
      return shifted.map((value, at) => (value - (now.fit[at] ?? 0)) / 1e-3);
    });
    const huber = now.fit.map((value) => (Math.abs(value) <= HUBER ? 1 : HUBER / Math.abs(value)));
    const normal = columns.map((left, i) =>
      columns.map((right, j) => {
        let sum = i === j ? 1 / (parameters[i]?.deviation ?? 1) ** 2 : 0;
        for (let k = 0; k < left.length; k += 1)
          sum += (left[k] ?? 0) * (right[k] ?? 0) * (huber[k] ?? 1);
        return sum;
      }),
    );
    const gradient = columns.map((left, i) => {
      let sum = (now.prior[i] ?? 0) / (parameters[i]?.deviation ?? 1);
      for (let k = 0; k < left.length; k += 1)
        sum += (left[k] ?? 0) * (now.fit[k] ?? 0) * (huber[k] ?? 1);
      return -sum;
    });
    let improved = false;
    for (let attempt = 0; attempt < 6; attempt += 1) {
      const damped = normal.map((row, i) =>
        row.map((value, j) => (i === j ? value * (1 + damping) + 1e-9 : value)),
      );
      const move = solve(damped, gradient);
      const candidate = x.map(
        (value, index) => value + Math.max(-0.7, Math.min(0.7, move[index] ?? 0)),
      );
      const result = all(candidate);
      const value = total(result);
      if (value < best) {
        improved = best - value > 1e-4 * best;
        x = candidate;
        now = result;
        best = value;
        damping = Math.max(1e-6, damping / 5);
        break;
      }
      damping *= 6;
    }
    if (!improved) break;
  }
  return toConstants(parameters, x, base);
}
