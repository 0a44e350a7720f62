/**
 * The exact solver: the levels of the objective one after the other with HiGHS, each held at its best while the next
 * is solved. Proves small problems optimal, bounds larger ones; the oracle of the layout search. Loads the solver when
 * it is first called.
 */
import type { Highs } from 'highs';
import { loadHighs } from './internal/load-highs.js';
import { boundLevel } from './layout-bound.js';
import type { BoundedLevel, HeldLevels } from './layout-columns.js';
import { type LayoutModel, toLayoutModel } from './layout-model.js';
import type { LayoutProblem, LayoutSolution } from './layout-problem.js';
import { buildLayoutProgram, type LayoutProgram, type Terms } from './layout-program.js';
import type { Worth } from './objective.js';

/** How to solve exactly. */
export interface ExactOptions {
  /** Longest solving, in seconds over all levels; 60 when left out. */
  readonly timeLimitS?: number;
  /** A solution to start from, with what it is worth: levels where it meets a plain bound are not solved again. */
  readonly start?: { readonly solution: LayoutSolution; readonly worth: Worth };
}

/** What is known after solving. */
export interface ExactResult {
  /** True when every level was proved. */
  readonly proved: boolean;
  /** Nobody can be better than this. Levels after the first one that was not proved say nothing beyond plain bounds. */
  readonly bound: Worth;
  /** How many of the eight levels (five bands, violations, change cost, score) were proved. */
  readonly provedLevels: number;
  /** The best solution found; null when the time ended before any. */
  readonly solution: LayoutSolution | null;
}

interface Level {
  readonly terms: Terms;
  readonly maximize: boolean;
  /** Values are multiples of this, so that a bound may be rounded; 0 when nothing is known. */
  readonly step: number;
  /** What the start reaches, and the best that any solution could. */
  readonly reached: number | null;
  readonly plain: number;
}

// Of the size of HiGHS's own feasibility tolerance, relative.
const TOLERANCE = 1e-6;

/** Solves a problem exactly, or bounds it. */
export async function solveLayoutsExactly(
  problem: LayoutProblem,
  options: ExactOptions = {},
): Promise<ExactResult> {
  return solveWith(await loadHighs(), problem, options);
}

function solveWith(highs: Highs, problem: LayoutProblem, options: ExactOptions): ExactResult {
  const layout = toLayoutModel(problem);
  const program = buildLayoutProgram(highs, layout);
  try {
    return solveLevels(highs, layout, program, options);
  } finally {
    program.model.dispose();
  }
}

function solveLevels(
  highs: Highs,
  layout: LayoutModel,
  program: LayoutProgram,
  options: ExactOptions,
): ExactResult {
  const { model } = program;
  const { minimize, maximize } = highs.constants.objectiveSense;
  const levels = toLevels(program, options.start?.worth ?? null);
  const bounds = levels.map(({ plain }) => plain);
  let solution = options.start?.solution ?? null;
  let values = solution === null ? null : program.toColumns(solution);
  let leftS = options.timeLimitS ?? 60;
  let provedLevels = 0;
  for (const [at, level] of levels.entries()) {
    const isStart = level.reached !== null && solution === options.start?.solution;
    const reached = isStart ? level.reached : null;
    const met = (): boolean => reached !== null && !isBetter(level, bounds[at] ?? 0, reached);
    if (!met()) {
      const { bound, solvedS } = boundLevel(highs, layout, {
        level: LEVELS[at] ?? 'score',
        held: toHeld(bounds, at),
        reached,
        step: level.step,
        timeLimitS: leftS,
      });
      leftS -= solvedS;
      if (bound !== null) bounds[at] = tightest(level, bound);
    }
    if (reached !== null && met()) {
      bounds[at] = reached;
      hold(model, level, reached);
      provedLevels += 1;
      continue;
    }
    if (leftS <= 0) break;
    const columns = model.getDimensions().numCols;
    const costs = new Float64Array(columns);
    for (const [column, cost] of level.terms) costs[column] = cost;
    model.changeColsCost({ kind: 'range', from: 0, to: columns - 1 }, costs);
    model.changeObjectiveSense(level.maximize ? maximize : minimize);
    model.options.set('time_limit', leftS + model.getRunTime());
    model.options.set('mip_rel_gap', 0);
    model.options.set('mip_abs_gap', level.step > 0 ? 0.999 * level.step : TOLERANCE);
    if (values !== null) {
      const indices = [...values.keys()].filter((column) => (values?.[column] ?? 0) > 0.5);
      model.setSolution({ indices, values: indices.map(() => 1) });
    }
    const before = model.getRunTime();
    model.run();
    leftS -= model.getRunTime() - before;
    const status = model.getModelStatus();
    const dual = Number(model.info.get('mip_dual_bound'));
    if (Number.isFinite(dual)) {
      const better = tightest(level, dual);
      bounds[at] = level.maximize
        ? Math.min(bounds[at] ?? better, better)
        : Math.max(bounds[at] ?? better, better);
    }
    const found =
      model.info.get('primal_solution_status') === highs.constants.solutionStatus.feasible;
    if (found) {
      values = Float64Array.from(model.getSolution().colValue ?? []);
      solution = program.fromColumns(values);
    }
    const value = found ? levelValue(level, model.getSolution().colValue ?? []) : null;
    const isOptimal = status === highs.constants.modelStatus.optimal;
    const meets = value !== null && !isBetter(level, bounds[at] ?? 0, value);
    if (!isOptimal && !meets) break;
    if (value === null) break;
    bounds[at] = value;
    hold(model, level, value);
    provedLevels += 1;
  }
  return {
    proved: provedLevels === levels.length,
    bound: toWorth(bounds),
    provedLevels,
    solution,
  };
}

const LEVELS: readonly BoundedLevel[] = [
  ...[0, 1, 2, 3, 4].map((band) => ({ band })),
  'violations',
  'change',
  'score',
];

/** The levels before one, all proved. */
function toHeld(bounds: readonly number[], at: number): HeldLevels {
  return {
    placed: bounds.slice(0, 5).map((value, band) => (band < at ? value : null)),
    violations: at > 5 ? (bounds[5] ?? null) : null,
    changeCostMs: at > 6 ? (bounds[6] ?? null) : null,
  };
}

function toLevels(program: LayoutProgram, start: Worth | null): readonly Level[] {
  const sum = (terms: Terms): number => [...terms.values()].reduce((all, value) => all + value, 0);
  const least = (terms: Terms, reached: number | null): Level => ({
    terms,
    maximize: false,
    step: commonStep(terms),
    reached,
    plain: 0,
  });
  return [
    ...program.placed.map(
      (terms, band): Level => ({
        terms,
        maximize: true,
        step: commonStep(terms),
        reached: start?.placedByBand[band] ?? null,
        plain: sum(terms),
      }),
    ),
    least(program.violations, start?.violations ?? null),
    least(program.changeCost, start?.changeCostMs ?? null),
    least(program.score, start?.presetScore ?? null),
  ];
}

/** The largest number that all coefficients are multiples of; 0 when one is not whole. */
function commonStep(terms: Terms): number {
  let step = 0;
  for (const value of terms.values()) {
    if (!Number.isInteger(value)) return 0;
    for (let a = Math.abs(value); a > 0; ) [step, a] = [a, step % a];
  }
  return step;
}

function tightest({ maximize, step, plain }: Level, dual: number): number {
  const steps = step > 0 ? dual / step : 0;
  const whole = maximize ? Math.floor(steps + TOLERANCE) : Math.ceil(steps - TOLERANCE);
  const rounded = step > 0 ? whole * step : dual;
  return maximize ? Math.min(plain, rounded) : Math.max(plain, rounded);
}

function isBetter({ maximize }: Level, bound: number, value: number): boolean {
  const difference = maximize ? bound - value : value - bound;
  return difference > TOLERANCE * Math.max(1, Math.abs(value));
}

function levelValue({ terms, step }: Level, values: ArrayLike<number>): number {
  let sum = 0;
  for (const [column, coefficient] of terms) sum += coefficient * Math.round(values[column] ?? 0);
  return step > 0 ? Math.round(sum) : sum;
}

/** Holds a level at a value for all that follow. */
function hold(model: LayoutProgram['model'], level: Level, value: number): void {
  if (level.terms.size === 0) return;
  const slack = level.step > 0 ? 0.01 * level.step : TOLERANCE * Math.max(1, Math.abs(value));
  const entries = { indices: [...level.terms.keys()], values: [...level.terms.values()] };
  if (level.maximize) model.addRow(value - slack, Number.POSITIVE_INFINITY, entries);
  else model.addRow(Number.NEGATIVE_INFINITY, value + slack, entries);
}

function toWorth(levels: readonly number[]): Worth {
  return {
    placedByBand: levels.slice(0, 5),
    violations: levels[5] ?? 0,
    guaranteesMissed: 0,
    changeCostMs: levels[6] ?? 0,
    presetScore: levels[7] ?? 0,
  };
}
