/**
 * A linear program that grows by columns, and the same program in whole numbers over some of its columns. Owns what has
 * to be kept of rows and columns to build the second; what they mean is layout-bound.ts.
 */
import type { Highs, Model } from 'highs';

/** A coefficient in a row; left out when the row is null or the coefficient 0. */
export type Term = readonly [row: number | null, coefficient: number];

interface Column {
  readonly cost: number;
  readonly upper: number;
  readonly indices: readonly number[];
  readonly values: readonly number[];
}

/** How far the program in whole numbers is to be solved. */
export interface WholeOptions {
  /** Solutions worth more than this are not looked at. */
  readonly goal: number;
  /** Better by less than this is not better. */
  readonly leastGain: number;
  readonly timeLimitS: number;
}

/** Rows and columns of a model that is minimised. */
export class ColumnProgram {
  private readonly highs: Highs;
  private readonly model: Model;
  private readonly rowLimits: (readonly [number, number])[] = [];
  private readonly columns: Column[] = [];
  private readonly limits = new Map<number, readonly [number, number]>();

  /** `model` is empty; who made it solves and disposes of it. */
  constructor(highs: Highs, model: Model) {
    this.highs = highs;
    this.model = model;
  }

  /** Adds an empty row; returns its index. */
  row(lower: number, upper: number): number {
    this.model.addRow(lower, upper, { indices: [], values: [] });
    return this.rowLimits.push([lower, upper]) - 1;
  }

  /** Adds a column between 0 and `upper`; returns its index. */
  column(cost: number, upper: number, terms: readonly Term[]): number {
    const entries = terms.filter(
      (term): term is readonly [number, number] => term[0] !== null && term[1] !== 0,
    );
    const indices = entries.map(([row]) => row);
    const values = entries.map(([, value]) => value);
    this.model.addCol(cost, 0, upper, { indices, values });
    return this.columns.push({ cost, upper, indices, values }) - 1;
  }

  /** Keeps a column between two values. */
  limit(column: number, lower: number, upper: number): void {
    this.limits.set(column, [lower, upper]);
    this.model.changeColBounds(column, lower, upper);
  }

  /** Between which values a column is now. */
  limitOf(column: number): readonly [number, number] {
    return this.limits.get(column) ?? [0, this.columns[column]?.upper ?? 0];
  }

  /**
   * The least value over some columns in whole numbers, as far as HiGHS gets: infinite when nothing reaches the goal,
   * null when nothing is known.
   */
  solveWhole(
    used: readonly number[],
    options: WholeOptions,
  ): { readonly bound: number | null; readonly solvedS: number } {
    const whole = this.highs.createModel();
    try {
      const bound = this.solveIn(whole, used, options);
      return { bound, solvedS: whole.getRunTime() };
    } finally {
      whole.dispose();
    }
  }

  private solveIn(whole: Model, used: readonly number[], options: WholeOptions): number | null {
    const { modelStatus, variableType } = this.highs.constants;
    whole.options.set('output_flag', false);
    for (const [lower, upper] of this.rowLimits)
      whole.addRow(lower, upper, { indices: [], values: [] });
    const costs: [number, number][] = [];
    for (const [at, column] of used.entries()) {
      const { cost, indices, values } = this.columns[column] as Column;
      const [least, most] = this.limitOf(column);
      whole.addCol(cost, least, most, { indices, values });
      if (cost !== 0) costs.push([at, cost]);
    }
    whole.addRow(Number.NEGATIVE_INFINITY, options.goal, {
      indices: costs.map(([at]) => at),
      values: costs.map(([, cost]) => cost),
    });
    const types = used.map(() => variableType.integer);
    whole.changeColsIntegrality({ kind: 'range', from: 0, to: used.length - 1 }, types);
    whole.options.set('mip_rel_gap', 0);
    whole.options.set('mip_abs_gap', options.leastGain / 2);
    whole.options.set('time_limit', options.timeLimitS);
    whole.run();
    if (whole.getModelStatus() === modelStatus.infeasible) return Number.POSITIVE_INFINITY;
    const dual = Number(whole.info.get('mip_dual_bound'));
    return Number.isFinite(dual) ? dual : null;
  }
}
