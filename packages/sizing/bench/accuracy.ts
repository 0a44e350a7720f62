/**
 * Predicts every measured row and compares: in sample, leaving its model out, and with the baselines.
 * Shared by the bench (prints) and the gate test (asserts), so that both see the same figures.
 */
import { sizeModel } from '../src/index.js';
import { llmdPlanner, plainFormula } from './baselines.js';
import { fitConstants } from './constant-fit.js';
import { isCudaV1, type PredictableRow, predictableRows } from './measured-rows.js';

const GIB = 2 ** 30;

/** Where a row is reported. Only `scored` rows count for the goals. */
type RowGroup = 'scored' | 'weights and tokens only' | 'apart';

/** One compared row; errors are relative, `null` where nothing was logged. */
export interface AccuracyRow {
  readonly line: number;
  readonly group: RowGroup;
  readonly model: string;
  readonly engine: string;
  readonly gpu: string;
  readonly tensor: number;
  readonly weights: number | null;
  readonly kvPool: number | null;
  readonly kvPoolLeftOut: number | null;
  readonly tokens: number | null;
  readonly activationGib: number | null;
  /** Predicted minus measured of each term, in GiB. */
  readonly terms: { readonly weights: number | null; readonly nonTorch: number | null };
  readonly insideBand: boolean | null;
  readonly llmd: {
    readonly weights: number | null;
    readonly kvPool: number | null;
    readonly tokens: number | null;
  };
  readonly plain: {
    readonly weights: number | null;
    readonly kvPool: number | null;
    readonly tokens: number | null;
  };
  readonly note: string;
}

/** Mean, median and largest absolute error of a list. */
export interface ErrorSummary {
  readonly rows: number;
  readonly mean: number;
  readonly median: number;
  readonly max: number;
}

/** Summarises absolute errors; nulls are left out. */
export function summarise(errors: readonly (number | null)[]): ErrorSummary {
  const values = errors
    .flatMap((error) => (error === null ? [] : [Math.abs(error)]))
    .sort((one, other) => one - other);
  if (values.length === 0) return { rows: 0, mean: 0, median: 0, max: 0 };
  return {
    rows: values.length,
    mean: values.reduce((sum, value) => sum + value, 0) / values.length,
    median: values[Math.floor(values.length / 2)] ?? 0,
    max: values.at(-1) ?? 0,
  };
}

function relative(predicted: number | null | undefined, measured: number | null): number | null {
  if (predicted === null || predicted === undefined || measured === null || measured === 0)
    return null;
  return predicted / measured - 1;
}

function groupOf({ row }: PredictableRow): RowGroup {
  if (!isCudaV1(row)) return 'apart';
  return row.totalGib !== null && row.utilization !== null ? 'scored' : 'weights and tokens only';
}

/** Speculative layers and prefix-cache modes change a pool's token count but are not in every log. */
function tokensComparable({ row, config }: PredictableRow): boolean {
  if (row.kvGib === null || row.kvTokens === null) return false;
  const plain = config.blocks.every(
    (block) => block.mixer.kind === 'attention' && block.mixer.window === null,
  );
  return row.engine === 'vllm' ? row.maxModelLen !== null || plain : plain;
}

function compare(one: PredictableRow, leftOut: PredictableRow['options']): AccuracyRow {
  const { row, config, options } = one;
  const size = sizeModel(config, options);
  const without = sizeModel(config, leftOut);
  const pool = row.kvGib === null ? null : row.kvGib * GIB;
  const fromPool =
    pool === null || !tokensComparable(one)
      ? null
      : sizeModel(config, { ...options, kvCacheMemoryBytes: pool }).kv.loggedTokens;
  const hasPool = row.totalGib !== null && row.utilization !== null;
  const kvPool = hasPool ? relative(size.perRank.kvPoolBytes, pool) : null;
  const baseline = (made: ReturnType<typeof llmdPlanner>): AccuracyRow['llmd'] => ({
    weights: relative(made.weightsGib, row.weightsGib),
    kvPool: relative(made.kvPoolGib, row.kvGib),
    tokens: fromPool === null ? null : relative(made.tokensOfLoggedPool, row.kvTokens),
  });
  return {
    line: row.line,
    group: groupOf(one),
    model: row.model,
    engine: `${row.engine} ${row.version}`.trim(),
    gpu: row.gpu,
    tensor: row.tensor,
    weights: one.tokensOnly ? null : relative(size.perRank.weightsBytes / GIB, row.weightsGib),
    kvPool,
    kvPoolLeftOut: hasPool ? relative(without.perRank.kvPoolBytes, pool) : null,
    tokens: relative(fromPool, row.kvTokens),
    activationGib:
      row.activationGib === null ? null : size.perRank.activationBytes / GIB - row.activationGib,
    terms: {
      weights: row.weightsGib === null ? null : size.perRank.weightsBytes / GIB - row.weightsGib,
      nonTorch:
        row.nonTorchGib === null ? null : size.perRank.nonTorchBytes / GIB - row.nonTorchGib,
    },
    insideBand:
      kvPool === null
        ? null
        : Math.abs(kvPool) <= size.confidence.kvPoolRelative + 0.005 / (row.kvGib ?? 1),
    llmd: baseline(llmdPlanner(one)),
    plain: baseline(plainFormula(one)),
    note: row.notes,
  };
}

/** Every comparison, the rows left out with reasons, and the constants fitted on all rows. */
export interface Accuracy {
  readonly rows: readonly AccuracyRow[];
  readonly leftOut: readonly {
    readonly line: number;
    readonly model: string;
    readonly reason: string;
  }[];
  readonly fitted: ReturnType<typeof fitConstants>;
}

/** The rows whose release the fitted constants belong to. */
function fitRows(rows: readonly PredictableRow[]): readonly PredictableRow[] {
  return rows.filter((one) => groupOf(one) === 'scored' && one.row.version.startsWith('0.19'));
}

/** Computes the whole accuracy table. Deterministic. */
export function measureAccuracy(): Accuracy {
  const { rows, leftOut } = predictableRows();
  const fitting = fitRows(rows);
  const byModel = new Map<string, ReturnType<typeof fitConstants>>();
  const compared = rows.map((one) => {
    let options = one.options;
    if (fitting.includes(one)) {
      const constants =
        byModel.get(one.file) ?? fitConstants(fitting.filter((other) => other.file !== one.file));
      byModel.set(one.file, constants);
      options = { ...options, constants };
    }
    return compare(one, options);
  });
  return { rows: compared, leftOut, fitted: fitConstants(fitting) };
}
