/**
 * A layout problem as a mixed-integer program: one binary for each option of a card, one for each instance on each
 * partition of each option. Owns the constraints; which level of the objective is solved when is
 * solve-layouts-exactly.ts's business.
 */
import type { Highs, Model } from 'highs';
import { type LayoutModel, moveCostMs } from './layout-model.js';
import { usefulOptions } from './layout-options.js';
import {
  type OptionColumn,
  type ProgramValues,
  type SeatColumn,
  toProgramValues,
} from './layout-program-values.js';

/** A linear expression: coefficients by column. */
export type Terms = ReadonlyMap<number, number>;

/** The program with the levels of the objective as expressions over its columns. */
export interface LayoutProgram extends ProgramValues {
  readonly model: Model;
  /** Value placed of each band, most urgent first: more is better. */
  readonly placed: readonly Terms[];
  /** Violations, change cost, preset's score: less is better. */
  readonly violations: Terms;
  readonly changeCost: Terms;
  readonly score: Terms;
}

/** Builds the program in an empty model. */
export function buildLayoutProgram(highs: Highs, layout: LayoutModel): LayoutProgram {
  return new ProgramBuilder(highs, layout).build();
}

class ProgramBuilder {
  private readonly model: Model;
  private readonly highs: Highs;
  private readonly layout: LayoutModel;
  private columns = 0;
  private readonly options: OptionColumn[] = [];
  private readonly seats: SeatColumn[] = [];
  private readonly placed: number[] = [];
  private readonly usedCards: number[] = [];

  constructor(highs: Highs, layout: LayoutModel) {
    this.highs = highs;
    this.layout = layout;
    this.model = highs.createModel();
    this.model.options.set('output_flag', false);
  }

  build(): LayoutProgram {
    this.addColumns();
    this.addLayoutRows();
    this.addPartitionRows();
    this.addInstanceRows();
    const types = Array.from(
      { length: this.columns },
      () => this.highs.constants.variableType.integer,
    );
    this.model.changeColsIntegrality({ kind: 'range', from: 0, to: this.columns - 1 }, types);
    const { options, seats, columns } = this;
    return {
      model: this.model,
      ...this.levels(),
      ...toProgramValues(this.layout.problem, { options, seats, count: columns }),
    };
  }

  private binary(): number {
    this.model.addVar(0, 1);
    this.columns += 1;
    return this.columns - 1;
  }

  private row(lower: number, upper: number, terms: Terms): void {
    this.model.addRow(lower, upper, { indices: [...terms.keys()], values: [...terms.values()] });
  }

  private atMost(upper: number, terms: Terms): void {
    this.row(Number.NEGATIVE_INFINITY, upper, terms);
  }

  private addColumns(): void {
    const { cards, instances } = this.layout;
    for (const [card, { options }] of cards.entries()) {
      const useful = usefulOptions(this.layout, card);
      for (const option of options.keys()) {
        if (useful.has(option)) this.options.push({ column: this.binary(), card, option });
      }
      this.usedCards[card] = this.layout.problem.preset === 'pack' ? this.binary() : -1;
    }
    for (const index of instances.keys()) this.placed[index] = this.binary();
    for (const option of this.options) {
      const { kind = 0, partitions = 0 } = this.optionOf(option);
      for (const [instance, data] of instances.entries()) {
        if (data.allowed[kind] !== true || (data.pinCard !== -1 && data.pinCard !== option.card))
          continue;
        if (data.cards !== null && !data.cards.has(option.card)) continue;
        if (data.ranks > 1 && partitions > 1 && partitions < data.ranks) continue;
        for (let partition = 0; partition < partitions; partition += 1) {
          if (data.pinPartition !== -1 && data.pinPartition !== partition) continue;
          this.seats.push({ column: this.binary(), instance, option, partition });
        }
      }
    }
  }

  private optionOf({ card, option }: OptionColumn): Partial<LayoutModel['cards'][0]['options'][0]> {
    return this.layout.cards[card]?.options[option] ?? {};
  }

  /** One option for each card, one memory mode for each hive. */
  private addLayoutRows(): void {
    for (const card of this.layout.cards.keys()) {
      const own = this.options.filter((option) => option.card === card);
      this.row(1, 1, new Map(own.map(({ column }) => [column, 1])));
    }
    for (const hive of this.layout.hives) {
      const modes = new Map<string, number>();
      for (const option of this.options.filter(({ card }) => hive.includes(card))) {
        const { memory = '' } = this.optionOf(option);
        const mode = modes.get(memory) ?? this.binary();
        modes.set(memory, mode);
        this.atMost(
          0,
          new Map([
            [option.column, 1],
            [mode, -1],
          ]),
        );
      }
      this.atMost(1, new Map([...modes.values()].map((mode) => [mode, 1])));
    }
  }

  /** Memory, load, slowdown and exclusiveness of each partition. */
  private addPartitionRows(): void {
    const { instances, neighbourBudget } = this.layout;
    const groups = new Map<string, SeatColumn[]>();
    for (const seat of this.seats) {
      const key = `${seat.option.column} ${seat.partition}`;
      const list = groups.get(key);
      if (list === undefined) groups.set(key, [seat]);
      else list.push(seat);
    }
    for (const group of groups.values()) {
      const option = group[0]?.option;
      if (option === undefined) continue;
      const { usableBytes = 0, kind = 0 } = this.optionOf(option);
      const busyOf = ({ instance }: SeatColumn): number => instances[instance]?.busy[kind] ?? 0;
      const memory = group.map(({ column, instance }): [number, number] => [
        column,
        (instances[instance]?.bytes ?? 0) / usableBytes,
      ]);
      this.atMost(0, new Map([...memory, [option.column, -1]]));
      const load = group.map((seat): [number, number] => [seat.column, busyOf(seat)]);
      this.atMost(0, new Map([...load, [option.column, -1]]));
      for (const seat of group) {
        const own = instances[seat.instance];
        const others = group.filter((other) => other !== seat);
        const busy = others.map((other): [number, number] => [other.column, busyOf(other)]);
        if (own?.urgent === true)
          this.atMost(1, new Map([...busy, [seat.column, 1 - neighbourBudget]]));
        if (own?.exclusive === true) {
          const many = others.length;
          const alone = others.map((other): [number, number] => [
            other.column,
            1 / Math.max(1, many),
          ]);
          this.atMost(1, new Map([...alone, [seat.column, 1]]));
        }
      }
    }
  }

  /** Every rank or none, of one card or one hive; not with those it is to be apart from. */
  private addInstanceRows(): void {
    for (const [index, instance] of this.layout.instances.entries()) {
      const own = this.seats.filter((seat) => seat.instance === index);
      const placed = this.placed[index] ?? 0;
      this.row(
        0,
        0,
        new Map([
          ...own.map(({ column }): [number, number] => [column, 1]),
          [placed, -instance.ranks],
        ]),
      );
      // What the sum says already; as rows of their own they make the relaxation tighter.
      for (const { column, option } of own)
        this.atMost(
          0,
          new Map([
            [column, 1],
            [option.column, -1],
          ]),
        );
      if (instance.ranks > 1) this.addGroupRows(own, instance.ranks);
      for (const other of instance.apart ?? []) {
        if (other > index)
          this.addApartRows(
            own,
            this.seats.filter((seat) => seat.instance === other),
          );
      }
    }
    if (this.layout.problem.preset !== 'pack') return;
    for (const { column, option } of this.seats)
      this.atMost(
        0,
        new Map([
          [column, 1],
          [this.usedCards[option.card] ?? 0, -1],
        ]),
      );
  }

  private addGroupRows(own: readonly SeatColumn[], ranks: number): void {
    const groups = new Map<string, number[]>();
    for (const seat of own) {
      const whole = this.optionOf(seat.option).partitions === 1;
      const key = whole
        ? `hive ${this.layout.cards[seat.option.card]?.hive}`
        : `option ${seat.option.column}`;
      const list = groups.get(key);
      if (list === undefined) groups.set(key, [seat.column]);
      else list.push(seat.column);
    }
    for (const columns of groups.values()) {
      const here = this.binary();
      this.row(
        0,
        0,
        new Map([...columns.map((column): [number, number] => [column, 1]), [here, -ranks]]),
      );
    }
  }

  private addApartRows(own: readonly SeatColumn[], other: readonly SeatColumn[]): void {
    for (const card of this.layout.cards.keys()) {
      const mine = own.filter((seat) => seat.option.card === card);
      const theirs = other.filter((seat) => seat.option.card === card);
      if (mine.length === 0 || theirs.length === 0) continue;
      const here = this.binary();
      for (const { column } of mine)
        this.atMost(
          0,
          new Map([
            [column, 1],
            [here, -1],
          ]),
        );
      for (const { column } of theirs)
        this.atMost(
          1,
          new Map([
            [column, 1],
            [here, 1],
          ]),
        );
    }
  }

  private levels(): Pick<LayoutProgram, 'placed' | 'violations' | 'changeCost' | 'score'> {
    const { instances, cards, problem } = this.layout;
    const bands = [0, 1, 2, 3, 4].map(
      (band) =>
        new Map(
          instances.flatMap((instance, index): [number, number][] =>
            instance.band === band ? [[this.placed[index] ?? 0, instance.value]] : [],
          ),
        ),
    );
    const violations = new Map<number, number>();
    const score = new Map<number, number>();
    const change = new Map<number, number>();
    for (const { column, card, option } of this.options) {
      const cost = this.layout.cards[card]?.options[option]?.changeCostMs ?? 0;
      if (cards[card]?.current !== option && cost > 0) change.set(column, cost);
    }
    for (const { column, instance, option, partition } of this.seats) {
      const data = instances[instance];
      if (data === undefined) continue;
      const { kind = 0 } = this.optionOf(option);
      const violation = (data.violation[kind] ?? 0) / data.ranks;
      if (violation > 0) violations.set(column, violation);
      const move = moveCostMs(this.layout, data, option.card, option.option, partition);
      if (move > 0) change.set(column, move);
      if (problem.preset === 'latency') score.set(column, (data.score[kind] ?? 0) / data.ranks);
    }
    if (problem.preset === 'pack') for (const column of this.usedCards) score.set(column, 1);
    return { placed: bands, violations, changeCost: change, score };
  }
}
