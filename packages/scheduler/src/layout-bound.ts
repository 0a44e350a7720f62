/**
 * A bound on a level of the objective by column generation: the linear relaxation in which every permitted set of
 * instances on one partition is a column (Gilmore and Gomory's cutting-stock relaxation, with layouts as a choice).
 * Where that leaves a gap to what is reached, all columns that a better solution could use are listed by their reduced
 * costs and the program over them is solved in whole numbers (Baldacci's way of closing the gap). Pins to a partition,
 * memory modes of hives, who is apart on the other partitions of a card, and where the ranks of an instance are to each
 * other are left out, which only loosens the bound.
 */
import type { Highs, Model } from 'highs';
import { ColumnProgram } from './column-program.js';
import {
  type BoundedLevel,
  columnCost,
  type HeldLevels,
  hasRoomFor,
  type PartitionClass,
  type PricedItem,
  searchSets,
  suits,
  toCardClasses,
} from './layout-columns.js';
import type { LayoutModel } from './layout-model.js';
import { usefulOptions } from './layout-options.js';

/** What a missing instance costs: more than it could ever save on the level. */
const PENALTY = { band: 100, violations: 1e3, change: 1e7, score: 1e3 } as const;
const EPSILON = 1e-7;
/** Relative gain below which HiGHS cannot tell a better solution from rounding. */
const LEAST_GAIN = 5e-6;
const MAX_ROUNDS = 400;
/** Sets looked at for one partition while prices still change, and before the search for more gives up. */
const QUICK_SETS = 20_000;
const MAX_SETS = 3_000_000;
/** Columns of a better solution beyond which the program in whole numbers is not tried. */
const MAX_COLUMNS = 20_000;
/** Relaxations solved to settle how many cards have which option. */
const MAX_NODES = 5000;
/** The first relaxation may take this much longer than the limit: without it there is no bound at all. */
const GRACE_S = 10;

/** What to bound. */
export interface BoundOptions {
  readonly level: BoundedLevel;
  readonly held: HeldLevels;
  /** What is reached on the level; null when nothing is. */
  readonly reached: number | null;
  /** Solutions that are better are so by at least this. */
  readonly step: number;
  /** Seconds that HiGHS may take for the program in whole numbers. */
  readonly timeLimitS: number;
}

/** The bound, and what finding it took. */
export interface LevelBound {
  /** Nobody can be better; null when none was found. */
  readonly bound: number | null;
  /** Seconds that the program in whole numbers took. */
  readonly solvedS: number;
}

/** Bounds a level while the levels before it are held. */
export function boundLevel(highs: Highs, layout: LayoutModel, options: BoundOptions): LevelBound {
  const model = highs.createModel();
  try {
    model.options.set('output_flag', false);
    return new ColumnGeneration(highs, model, layout, options).run();
  } finally {
    model.dispose();
  }
}

interface Class {
  readonly partition: PartitionClass;
  readonly row: number;
}

class ColumnGeneration {
  private readonly model: Model;
  private readonly layout: LayoutModel;
  private readonly options: BoundOptions;
  private readonly program: ColumnProgram;
  /** All columns but sets and penalties. */
  private readonly fixedColumns: number[] = [];
  private wholeS = 0;
  private readonly instanceRows: readonly number[];
  private readonly classes: readonly Class[];
  private readonly violationRow: number | null;
  private readonly changeRow: number | null;
  private readonly known = new Map<string, number>();
  /** Columns that say how many cards have which option. */
  private readonly structure: number[] = [];
  private nodes = 0;

  constructor(highs: Highs, model: Model, layout: LayoutModel, options: BoundOptions) {
    const { level, held } = options;
    this.model = model;
    this.program = new ColumnProgram(highs, model);
    this.layout = layout;
    this.options = options;
    const infinity = Number.POSITIVE_INFINITY;
    // Held to the same tolerance with which levels are compared, so that rounding does not cut off what is reached.
    const most = (value: number): number => value + 1e-6 * Math.max(1, Math.abs(value));
    this.violationRow =
      held.violations === null ? null : this.program.row(-infinity, most(held.violations));
    this.changeRow =
      held.changeCostMs === null ? null : this.program.row(-infinity, most(held.changeCostMs));
    const bandRows = held.placed.map((value) =>
      value === null ? null : this.program.row(value - EPSILON, infinity),
    );
    // Shares in the sets, less the ranks of what is placed.
    this.instanceRows = layout.instances.map(() => this.program.row(0, infinity));
    // The first sets cannot place all that is held: a penalty stands in for what is missing, and only loosens the bound.
    for (const row of bandRows)
      this.program.column(PENALTY[typeof level === 'object' ? 'band' : level], infinity, [
        [row, 1],
      ]);
    this.classes = this.addCards();
    this.addPlaced(bandRows);
  }

  private addCards(): readonly Class[] {
    const { layout, options } = this;
    const classes: Class[] = [];
    for (const owner of toCardClasses(layout)) {
      const countRow = this.program.row(owner.count, owner.count);
      for (const at of usefulOptions(layout, owner.card)) {
        const option = layout.cards[owner.card]?.options[at];
        if (option === undefined) continue;
        const row = this.program.row(Number.NEGATIVE_INFINITY, 0);
        classes.push({ partition: { owner, at, option }, row });
        const change = layout.cards[owner.card]?.current === at ? 0 : option.changeCostMs;
        const cost = options.level === 'change' ? change : 0;
        const opens = options.level === 'score' && layout.problem.preset === 'pack' ? 1 : 0;
        const empty = this.program.column(cost, owner.count, [
          [countRow, 1],
          [this.changeRow, change],
        ]);
        const open = this.program.column(cost + opens, owner.count, [
          [countRow, 1],
          [this.changeRow, change],
          [row, -option.partitions],
        ]);
        for (const column of [empty, open]) {
          this.structure.push(column);
          this.fixedColumns.push(column);
        }
      }
    }
    return classes;
  }

  private addPlaced(bandRows: readonly (number | null)[]): void {
    const { level } = this.options;
    for (const [index, { band, value, ranks }] of this.layout.instances.entries()) {
      const counts = typeof level === 'object' && level.band === band;
      const placed = this.program.column(counts ? -value : 0, 1, [
        [this.instanceRows[index] ?? null, -ranks],
        [bandRows[band] ?? null, value],
      ]);
      this.fixedColumns.push(placed);
    }
  }

  run(): LevelBound {
    // Each alone first, so that there is a solution to start from.
    for (const one of this.classes) {
      for (const [index, instance] of this.layout.instances.entries()) {
        if (suits(this.layout, one.partition, instance)) this.addSet(one, [index]);
      }
    }
    const relaxed = this.relax();
    const { level, reached, timeLimitS } = this.options;
    const sign = typeof level === 'object' ? -1 : 1;
    if (relaxed === null) return { bound: null, solvedS: 0 };
    // Minimised from here on: values placed count negative.
    const goal = reached === null ? null : sign * reached - this.leastGain();
    if (goal === null || relaxed > goal + EPSILON || timeLimitS <= 0)
      return { bound: sign * relaxed, solvedS: 0 };
    const bound = Math.min(this.branch(relaxed, goal), goal + this.leastGain());
    return { bound: sign * Math.max(relaxed, bound), solvedS: this.spentS() };
  }

  /**
   * The least value when the cards of each option are whole, and below that the instances too; the model has been
   * solved with the present limits. Not less than the floor, which is known to be a bound.
   */
  private branch(floor: number, goal: number): number {
    this.nodes += 1;
    let at = this.mostBroken();
    if (at === null) {
      const relaxed = this.relax();
      if (relaxed === null) return floor;
      if (relaxed > goal + EPSILON) return relaxed;
      at = this.mostBroken();
      if (at === null) return Math.max(floor, this.solveWhole(relaxed, goal));
    }
    const { column, value } = at;
    const [lower, upper] = this.program.limitOf(column);
    let least = Number.POSITIVE_INFINITY;
    for (const [from, to] of [
      [Math.ceil(value), upper],
      [lower, Math.floor(value)],
    ] as const) {
      if (this.nodes > MAX_NODES || this.spentS() > this.options.timeLimitS) return floor;
      this.program.limit(column, from, to);
      const below = this.relax(goal);
      const bound =
        below === null ? floor : below > goal + EPSILON ? below : this.branch(floor, goal);
      least = Math.min(least, bound);
      this.program.limit(column, lower, upper);
      if (least <= floor + EPSILON) break;
    }
    return least;
  }

  /** The option whose number of cards is furthest from whole; null when all are whole. */
  private mostBroken(): {
    readonly column: number;
    readonly value: number;
  } | null {
    const values = this.model.getSolution().colValue ?? [];
    let found: { readonly column: number; readonly value: number } | null = null;
    let furthest = 1e-6;
    for (const column of this.structure) {
      const value = values[column] ?? 0;
      const off = Math.abs(value - Math.round(value));
      if (off <= furthest) continue;
      furthest = off;
      found = { column, value };
    }
    return found;
  }

  /** How much better a better solution is at least. */
  private leastGain(): number {
    const { step, reached } = this.options;
    return step > 0 ? step : LEAST_GAIN * Math.max(1, Math.abs(reached ?? 0));
  }

  /**
   * The relaxation's value once no set would improve it, or a bound on it that is beyond the goal; as soon as it is
   * known to be within the goal, what it is by then. Null when not found.
   */
  private relax(goal: number = Number.NEGATIVE_INFINITY): number | null {
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      this.model.run();
      if (this.model.info.get('primal_solution_status') !== 2) return null;
      const value = this.model.getObjectiveValue();
      if (value <= goal || this.spentS() > this.options.timeLimitS + GRACE_S) return value;
      const prices = this.model.getSolution().rowDual ?? [];
      let priced = this.price(prices, QUICK_SETS);
      if (priced.added === 0 && !priced.seenAll) priced = this.price(prices, MAX_SETS);
      if (priced.added === 0) return priced.seenAll ? value : null;
      if (
        priced.seenAll &&
        value + priced.slack > goal + EPSILON &&
        goal > Number.NEGATIVE_INFINITY
      )
        return value + priced.slack;
    }
    return null;
  }

  /** Adds sets that improve the relaxation. `slack` is the most by which all others could change its value. */
  private price(
    prices: ArrayLike<number>,
    limit: number,
  ): { readonly added: number; readonly seenAll: boolean; readonly slack: number } {
    let added = 0;
    let slack = 0;
    let seenAll = true;
    for (const one of this.classes) {
      const { option, owner } = one.partition;
      const found: (readonly number[])[] = [];
      const least = EPSILON - (prices[one.row] ?? 0);
      let most = 0;
      const all = searchSets(
        this.layout,
        option,
        this.itemsOf(one.partition, prices).filter(({ profit }) => profit > EPSILON),
        {
          least,
          climb: true,
          limit,
          found: (set, profit) => {
            found.push(set);
            most = profit + (prices[one.row] ?? 0);
          },
        },
      );
      seenAll &&= all;
      slack -= most * option.partitions * owner.count;
      // The last ones are the best; a few of them at once save rounds.
      for (const set of found.slice(-5)) if (this.addSet(one, set).isNew) added += 1;
    }
    return { added, seenAll, slack };
  }

  private itemsOf(partition: PartitionClass, prices: ArrayLike<number>): readonly PricedItem[] {
    return this.layout.instances.flatMap((instance, index): readonly PricedItem[] => {
      if (!suits(this.layout, partition, instance)) return [];
      const { own, violation, move } = columnCost(
        this.layout,
        this.options.level,
        partition,
        instance,
      );
      const held =
        (this.violationRow === null ? 0 : violation) + (this.changeRow === null ? 0 : move);
      const profit =
        (prices[this.instanceRows[index] ?? -1] ?? 0) +
        (prices[this.violationRow ?? -1] ?? 0) * violation +
        (prices[this.changeRow ?? -1] ?? 0) * move -
        own;
      return [{ index, instance, profit, free: own === 0 && held === 0 }];
    });
  }

  private addSet(
    { partition, row }: Class,
    set: readonly number[],
  ): { readonly column: number; readonly isNew: boolean } {
    const key = `${row} ${set.toSorted((a, b) => a - b).join(' ')}`;
    const known = this.known.get(key);
    if (known !== undefined) return { column: known, isNew: false };
    let own = 0;
    let violations = 0;
    let moves = 0;
    for (const index of set) {
      const instance = this.layout.instances[index];
      if (instance === undefined) continue;
      const costs = columnCost(this.layout, this.options.level, partition, instance);
      own += costs.own;
      violations += costs.violation;
      moves += costs.move;
    }
    const column = this.program.column(own, Number.POSITIVE_INFINITY, [
      [row, 1],
      [this.violationRow, violations],
      [this.changeRow, moves],
      ...set.map((index) => [this.instanceRows[index] ?? null, 1] as const),
    ]);
    this.known.set(key, column);
    return { column, isNew: true };
  }

  private spentS(): number {
    return this.model.getRunTime() + this.wholeS;
  }

  /** The least value in whole numbers, as far as HiGHS gets; what is relaxed when there are too many columns. */
  private solveWhole(relaxed: number, goal: number): number {
    const prices = Float64Array.from(this.model.getSolution().rowDual ?? []);
    const gap = goal - relaxed + EPSILON;
    const sets: (readonly [Class, readonly number[]])[] = [];
    for (const one of this.classes) {
      const { partition, row } = one;
      const items = this.itemsOf(partition, prices);
      const all = searchSets(this.layout, partition.option, items, {
        least: -(prices[row] ?? 0) - gap,
        climb: false,
        limit: 10 * MAX_COLUMNS,
        found: (set) => {
          if (!hasRoomFor(this.layout, partition.option, items, set)) sets.push([one, set]);
        },
      });
      if (!all || sets.length > MAX_COLUMNS) return relaxed;
    }
    const used = new Set<number>(this.fixedColumns);
    for (const [one, set] of sets) used.add(this.addSet(one, set).column);
    const { bound, solvedS } = this.program.solveWhole([...used], {
      goal,
      leastGain: this.leastGain(),
      timeLimitS: Math.max(0.1, this.options.timeLimitS - this.spentS()),
    });
    this.wholeS += solvedS;
    return bound ?? relaxed;
  }
}
