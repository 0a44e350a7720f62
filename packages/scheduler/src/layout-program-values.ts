/**
 * Between a solution and the column values of its program, both ways.
 */
import type { LayoutProblem, LayoutSolution } from './layout-problem.js';

/** The column that says whether a card has an option. */
export interface OptionColumn {
  readonly column: number;
  readonly card: number;
  readonly option: number;
}

/** The column that says whether an instance has a share on a partition of an option. */
export interface SeatColumn {
  readonly column: number;
  readonly instance: number;
  readonly option: OptionColumn;
  readonly partition: number;
}

/** The columns that a solution follows from, and how many there are in all. */
export interface ProgramColumns {
  readonly options: readonly OptionColumn[];
  readonly seats: readonly SeatColumn[];
  readonly count: number;
}

/** The two ways. */
export interface ProgramValues {
  /** Column values of a solution, to start from. */
  toColumns(solution: LayoutSolution): Float64Array;
  fromColumns(values: ArrayLike<number>): LayoutSolution;
}

/** Reads and writes solutions of a problem. */
export function toProgramValues(
  problem: LayoutProblem,
  { options, seats, count }: ProgramColumns,
): ProgramValues {
  const cardIndex = new Map(problem.cards.map(({ id }, index) => [id, index]));
  return {
    toColumns: (solution) => {
      const values = new Float64Array(count);
      const places = new Map(solution.places.map((place) => [place.instance, place.shares]));
      for (const { column, card, option } of options)
        if (solution.layouts[card] === option) values[column] = 1;
      for (const { column, instance, option, partition } of seats) {
        if (solution.layouts[option.card] !== option.option) continue;
        const shares = places.get(problem.instances[instance]?.id ?? '') ?? [];
        const here = shares.some(
          (share) => cardIndex.get(share.card) === option.card && share.partition === partition,
        );
        if (here) values[column] = 1;
      }
      return values;
    },
    fromColumns: (values) => {
      const layouts = problem.cards.map(({ current }) => current ?? 0);
      for (const { column, card, option } of options)
        if ((values[column] ?? 0) > 0.5) layouts[card] = option;
      const shares = new Map<number, { card: string; partition: number }[]>();
      for (const { column, instance, option, partition } of seats) {
        if ((values[column] ?? 0) <= 0.5) continue;
        const share = { card: problem.cards[option.card]?.id ?? '', partition };
        const list = shares.get(instance);
        if (list === undefined) shares.set(instance, [share]);
        else list.push(share);
      }
      const places = [...shares].map(([instance, list]) => ({
        instance: problem.instances[instance]?.id ?? '',
        shares: list,
      }));
      return { layouts, places };
    },
  };
}
