/**
 * A bound on a level of the objective by column generation: the linear relaxation in which every permitted set of
 * instances on one partition is a column (Gilmore and Gomory's cutting-stock relaxation, with layouts as a choice).
 * Much tighter than the relaxation of the program. Cards that are alike are one class; pins to a partition, memory modes
 * of hives, and where the ranks of an instance are to each other are left out, which only loosens the bound.
 */
import type { Highs, Model } from 'highs';
import {
  emptySeat,
  join,
  type LayoutModel,
  type ModelOption,
  mayJoin,
  moveCostMs,
  type Seat,
} from './layout-model.js';
import { usefulOptions } from './layout-program.js';

/** Levels that are held while one is bounded: what the plan reaches on each before it. */
export interface HeldLevels {
  /** By band; null from the first band that is not held. */
  readonly placed: readonly (number | null)[];
  readonly violations: number | null;
  readonly changeCostMs: number | null;
}

/** The level to bound. */
export type BoundedLevel = { readonly band: number } | 'violations' | 'change' | 'score';

interface CardClass {
  readonly card: number;
  count: number;
}

interface PartitionClass {
  readonly owner: CardClass;
  readonly at: number;
  readonly option: ModelOption;
  readonly row: number;
}

/** What a missing instance costs: more than it could ever save on the level. */
const PENALTY = { band: 100, violations: 1e3, change: 1e7, score: 1e3 } as const;
const EPSILON = 1e-7;
const MAX_ROUNDS = 400;
/** Sets looked at for one partition; a search that ends here gives no bound. */
const MAX_SETS = 200_000;

/** The best that any solution can reach on a level while the levels before it are held; null when not found in time. */
export function boundLevel(
  highs: Highs,
  layout: LayoutModel,
  options: {
    readonly level: BoundedLevel;
    readonly held: HeldLevels;
    readonly shouldStop: () => boolean;
  },
): number | null {
  const model = highs.createModel();
  try {
    model.options.set('output_flag', false);
    return new ColumnGeneration(model, layout, options.level, options.held).run(options.shouldStop);
  } finally {
    model.dispose();
  }
}

class ColumnGeneration {
  private readonly model: Model;
  private readonly layout: LayoutModel;
  private readonly level: BoundedLevel;
  private rows = 0;
  private readonly instanceRows: readonly number[];
  private readonly partitions: readonly PartitionClass[];
  private readonly violationRow: number | null;
  private readonly changeRow: number | null;

  constructor(model: Model, layout: LayoutModel, level: BoundedLevel, held: HeldLevels) {
    this.model = model;
    this.layout = layout;
    this.level = level;
    const infinity = Number.POSITIVE_INFINITY;
    this.violationRow =
      held.violations === null ? null : this.row(-infinity, held.violations + EPSILON);
    this.changeRow =
      held.changeCostMs === null ? null : this.row(-infinity, held.changeCostMs + EPSILON);
    const bandRows = held.placed.map((value) =>
      value === null ? null : this.row(value - EPSILON, infinity),
    );
    // Shares in the sets, less the ranks of what is placed.
    this.instanceRows = layout.instances.map(() => this.row(0, infinity));
    // The first sets cannot place all that is held: a penalty stands in for what is missing, and only loosens the bound.
    for (const row of bandRows)
      this.column(PENALTY[typeof level === 'object' ? 'band' : level], infinity, [[row, 1]]);
    this.partitions = this.addCards();
    this.addPlaced(bandRows);
  }

  private row(lower: number, upper: number): number {
    this.model.addRow(lower, upper, { indices: [], values: [] });
    this.rows += 1;
    return this.rows - 1;
  }

  private column(
    cost: number,
    upper: number,
    terms: readonly (readonly [number | null, number])[],
  ): void {
    const entries = terms.filter(
      (term): term is readonly [number, number] => term[0] !== null && term[1] !== 0,
    );
    this.model.addCol(cost, 0, upper, {
      indices: entries.map(([row]) => row),
      values: entries.map(([, value]) => value),
    });
  }

  private addCards(): readonly PartitionClass[] {
    const { layout } = this;
    const partitions: PartitionClass[] = [];
    for (const owner of toCardClasses(layout)) {
      const countRow = this.row(owner.count, owner.count);
      for (const at of usefulOptions(layout, owner.card)) {
        const option = layout.cards[owner.card]?.options[at];
        if (option === undefined) continue;
        const partitionRow = this.row(Number.NEGATIVE_INFINITY, 0);
        partitions.push({ owner, at, option, row: partitionRow });
        const change = layout.cards[owner.card]?.current === at ? 0 : option.changeCostMs;
        const cost = this.level === 'change' ? change : 0;
        const used = cost + (this.level === 'score' && layout.problem.preset === 'pack' ? 1 : 0);
        this.column(cost, owner.count, [
          [countRow, 1],
          [this.changeRow, change],
        ]);
        this.column(used, owner.count, [
          [countRow, 1],
          [this.changeRow, change],
          [partitionRow, -option.partitions],
        ]);
      }
    }
    return partitions;
  }

  private addPlaced(bandRows: readonly (number | null)[]): void {
    for (const [index, { band, value, ranks }] of this.layout.instances.entries()) {
      const counts = typeof this.level === 'object' && this.level.band === band;
      this.column(counts ? -value : 0, 1, [
        [this.instanceRows[index] ?? null, -ranks],
        [bandRows[band] ?? null, value],
      ]);
    }
  }

  run(shouldStop: () => boolean): number | null {
    const duals = (): ArrayLike<number> => this.model.getSolution().rowDual ?? [];
    // Each alone first, so that there is a solution to start from.
    for (const partition of this.partitions) {
      for (const [index, instance] of this.layout.instances.entries()) {
        if (this.suits(partition, index) && instance.bytes <= partition.option.usableBytes)
          this.addSet(partition, [index]);
      }
    }
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      if (shouldStop()) return null;
      this.model.run();
      if (this.model.info.get('primal_solution_status') !== 2) return null;
      const prices = duals();
      let added = 0;
      for (const partition of this.partitions) {
        const set = this.bestSet(partition, prices);
        if (set === null) return null;
        if (set.length === 0) continue;
        this.addSet(partition, set);
        added += 1;
      }
      if (added === 0) {
        const value = this.model.getObjectiveValue();
        return typeof this.level === 'object' ? -value : value;
      }
    }
    return null;
  }

  private suits({ owner, option }: PartitionClass, index: number): boolean {
    const instance = this.layout.instances[index];
    if (instance === undefined || instance.allowed[option.kind] !== true) return false;
    if (instance.pinCard !== -1 && instance.pinCard !== owner.card) return false;
    return instance.ranks === 1 || option.partitions === 1 || option.partitions >= instance.ranks;
  }

  /** What an instance adds to the level and to held rows where it is. */
  private costs(
    { owner, at, option }: PartitionClass,
    index: number,
  ): {
    readonly own: number;
    readonly violation: number;
    readonly move: number;
  } {
    const instance = this.layout.instances[index];
    if (instance === undefined) return { own: 0, violation: 0, move: 0 };
    const violation = (instance.violation[option.kind] ?? 0) / instance.ranks;
    const stays =
      instance.assignedCard === owner.card && this.layout.cards[owner.card]?.current === at;
    const move = stays ? 0 : moveCostMs(this.layout, instance, -1, -1, -1);
    const score =
      this.layout.problem.preset === 'latency'
        ? (instance.score[option.kind] ?? 0) / instance.ranks
        : 0;
    const own =
      this.level === 'violations'
        ? violation
        : this.level === 'change'
          ? move
          : this.level === 'score'
            ? score
            : 0;
    return { own, violation, move };
  }

  private addSet(partition: PartitionClass, set: readonly number[]): void {
    let own = 0;
    let violations = 0;
    let moves = 0;
    for (const index of set) {
      const costs = this.costs(partition, index);
      own += costs.own;
      violations += costs.violation;
      moves += costs.move;
    }
    this.column(own, Number.POSITIVE_INFINITY, [
      [partition.row, 1],
      [this.violationRow, violations],
      [this.changeRow, moves],
      ...set.map((index) => [this.instanceRows[index] ?? null, 1] as const),
    ]);
  }

  /** The set with the most negative reduced cost; empty when none is negative, null when too many were looked at. */
  private bestSet(partition: PartitionClass, prices: ArrayLike<number>): readonly number[] | null {
    const { layout } = this;
    const { option } = partition;
    const items = layout.instances.flatMap((instance, index) => {
      if (!this.suits(partition, index)) return [];
      const { own, violation, move } = this.costs(partition, index);
      const profit =
        (prices[this.instanceRows[index] ?? -1] ?? 0) +
        (prices[this.violationRow ?? -1] ?? 0) * violation +
        (prices[this.changeRow ?? -1] ?? 0) * move -
        own;
      return profit > EPSILON
        ? [{ index, instance, profit, density: profit / instance.bytes }]
        : [];
    });
    items.sort((a, b) => b.density - a.density);
    let most = EPSILON - (prices[partition.row] ?? 0);
    let best: readonly number[] = [];
    const chosen: number[] = [];
    let looked = 0;
    const descend = (seat: Seat, from: number, profit: number): void => {
      looked += 1;
      if (profit > most) {
        most = profit;
        best = [...chosen];
      }
      if (seat.exclusive || looked > MAX_SETS) return;
      for (let at = from; at < items.length; at += 1) {
        const item = items[at];
        if (item === undefined) return;
        const room = option.usableBytes - seat.usedBytes;
        if (profit + room * item.density <= most) return;
        if (!mayJoin(seat, item.instance, option, layout.neighbourBudget)) continue;
        if (chosen.some((other) => item.instance.apart?.has(other) === true)) continue;
        const next = { ...seat };
        join(next, item.instance, option, layout.neighbourBudget);
        chosen.push(item.index);
        descend(next, at + 1, profit + item.profit);
        chosen.pop();
      }
    };
    descend(emptySeat(), 0, 0);
    return looked > MAX_SETS ? null : best;
  }
}

/** Cards that differ in nothing that matters, together. */
function toCardClasses(layout: LayoutModel): readonly CardClass[] {
  const special = new Set<number>();
  for (const { pinCard, assignedCard } of layout.instances) {
    special.add(pinCard);
    special.add(assignedCard);
  }
  const classes = new Map<string, CardClass>();
  for (const [card, { options, current }] of layout.cards.entries()) {
    const alike = options.map(({ kind, changeCostMs }) => `${kind}:${changeCostMs}`).join(' ');
    const useful = [...usefulOptions(layout, card)].join(',');
    const key = special.has(card) ? `card ${card}` : `${alike} ${current} ${useful}`;
    const found = classes.get(key);
    if (found === undefined) classes.set(key, { card, count: 1 });
    else found.count += 1;
  }
  return [...classes.values()];
}
