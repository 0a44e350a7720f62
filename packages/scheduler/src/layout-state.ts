/**
 * A solution in the making: layouts chosen, instances on partitions, and what each card adds to the objective. Owns
 * bookkeeping (put, take away, snapshot, restore); what to try next is layout-solver.ts's business.
 */
import {
  emptySeat,
  join,
  type LayoutModel,
  type ModelInstance,
  type ModelOption,
  mayJoin,
  moveCostMs,
  type Seat,
} from './layout-model.js';
import type { LayoutSolution } from './layout-problem.js';
import type { Worth } from './objective.js';

/** A partition of a card. */
export interface Spot {
  readonly card: number;
  readonly partition: number;
}

/** Part of a solution that can be put back. */
export interface Snapshot {
  readonly cards: readonly number[];
  readonly options: readonly number[];
  readonly seats: readonly Seat[][];
  readonly residents: readonly number[][][];
  readonly instances: readonly number[];
  readonly spots: readonly (readonly Spot[] | null)[];
}

// Positions in a card's sums: minus the value placed by band, then violations, change cost, preset score.
const BAND_COUNT = 5;
const VIOLATION = 5;
const CHANGE = 6;
const SCORE = 7;
/** Numbers in a sum over cards; lower is better at every position, earlier positions first. */
export const SUM_LENGTH = 8;

/** A solution being changed. */
export class LayoutState {
  readonly model: LayoutModel;
  readonly option: number[];
  readonly seats: Seat[][];
  readonly residents: number[][][];
  readonly spots: (readonly Spot[] | null)[];

  constructor(model: LayoutModel, options: readonly number[]) {
    this.model = model;
    this.option = [...options];
    this.seats = [];
    this.residents = [];
    this.spots = model.instances.map(() => null);
    for (const card of model.cards.keys()) this.clear(card);
  }

  optionOf(card: number): ModelOption {
    const option = this.model.cards[card]?.options[this.option[card] ?? 0];
    if (option === undefined) throw new RangeError(`card ${card} has no option`);
    return option;
  }

  instance(index: number): ModelInstance {
    const instance = this.model.instances[index];
    if (instance === undefined) throw new RangeError(`no instance ${index}`);
    return instance;
  }

  /** Empties a card in the option it has. */
  private clear(card: number): void {
    const { partitions } = this.optionOf(card);
    this.seats[card] = Array.from({ length: partitions }, emptySeat);
    this.residents[card] = Array.from({ length: partitions }, () => []);
  }

  /** Gives a card an option and empties it. What was on it must have no share on a card that is not emptied too. */
  reset(card: number, option: number): void {
    for (const list of this.residents[card] ?? [])
      for (const index of list) this.spots[index] = null;
    this.option[card] = option;
    this.clear(card);
  }

  add(index: number, spots: readonly Spot[]): void {
    const instance = this.instance(index);
    for (const { card, partition } of spots) {
      const seat = this.seats[card]?.[partition];
      if (seat === undefined) throw new RangeError(`card ${card} has no partition ${partition}`);
      join(seat, instance, this.optionOf(card), this.model.neighbourBudget);
      this.residents[card]?.[partition]?.push(index);
    }
    this.spots[index] = spots;
  }

  /** Whether an instance may be on a partition beside who is on it and on its card. */
  permits(index: number, card: number, partition: number): boolean {
    const instance = this.instance(index);
    const option = this.optionOf(card);
    if (instance.allowed[option.kind] !== true) return false;
    if (instance.pinCard !== -1 && instance.pinCard !== card) return false;
    if (instance.cards !== null && !instance.cards.has(card)) return false;
    if (instance.pinPartition !== -1 && instance.pinPartition !== partition) return false;
    const seat = this.seats[card]?.[partition];
    if (seat === undefined) return false;
    if (!mayJoin(seat, instance, option, this.model.neighbourBudget)) return false;
    return instance.apart === null || !this.hasEnemy(instance.apart, card);
  }

  private hasEnemy(apart: ReadonlySet<number>, card: number): boolean {
    return (this.residents[card] ?? []).some((list) => list.some((other) => apart.has(other)));
  }

  /** Instances on a card, each once. */
  onCard(card: number): readonly number[] {
    return [...new Set((this.residents[card] ?? []).flat())];
  }

  /** Adds what cards are worth to a sum. An instance on several cards counts with the first of them. */
  addWorth(cards: readonly number[], sum: Float64Array): void {
    for (const card of cards) {
      const chosen = this.option[card] ?? 0;
      const option = this.optionOf(card);
      const current = this.model.cards[card]?.current ?? null;
      if (chosen !== current) sum[CHANGE] = (sum[CHANGE] ?? 0) + option.changeCostMs;
      let used = false;
      for (const [partition, list] of (this.residents[card] ?? []).entries()) {
        for (const index of list) {
          used = true;
          const instance = this.instance(index);
          sum[CHANGE] =
            (sum[CHANGE] ?? 0) + moveCostMs(this.model, instance, card, chosen, partition);
          const first = this.spots[index]?.[0];
          if (first?.card !== card || first.partition !== partition) continue;
          sum[instance.band] = (sum[instance.band] ?? 0) - instance.value;
          sum[VIOLATION] = (sum[VIOLATION] ?? 0) + (instance.violation[option.kind] ?? 0);
          if (this.model.problem.preset === 'latency')
            sum[SCORE] = (sum[SCORE] ?? 0) + (instance.score[option.kind] ?? 0);
        }
      }
      if (used && this.model.problem.preset === 'pack') sum[SCORE] = (sum[SCORE] ?? 0) + 1;
    }
  }

  /** Memory of a card that nobody has. */
  idleBytes(card: number): number {
    const { usableBytes } = this.optionOf(card);
    let idle = 0;
    for (const { usedBytes } of this.seats[card] ?? []) idle += usableBytes - usedBytes;
    return idle;
  }

  /** Sum of squares of what each card has given away, in GiB²: more when some are full and others empty. */
  unevenness(cards: readonly number[]): number {
    let sum = 0;
    for (const card of cards) {
      let used = 0;
      for (const { usedBytes } of this.seats[card] ?? []) used += usedBytes / 2 ** 30;
      sum += used * used;
    }
    return sum;
  }

  /** What the whole solution is worth. */
  worth(): Worth {
    const sum = new Float64Array(SUM_LENGTH);
    this.addWorth([...this.model.cards.keys()], sum);
    return {
      placedByBand: Array.from(sum.subarray(0, BAND_COUNT), (value) => 0 - value),
      violations: sum[VIOLATION] ?? 0,
      guaranteesMissed: 0,
      changeCostMs: sum[CHANGE] ?? 0,
      presetScore: sum[SCORE] ?? 0,
    };
  }

  /** Keeps what the cards and instances have; good until {@link restore}, provided that the cards are reset next. */
  snapshot(cards: readonly number[], instances: readonly number[]): Snapshot {
    return {
      cards,
      options: cards.map((card) => this.option[card] ?? 0),
      seats: cards.map((card) => this.seats[card] ?? []),
      residents: cards.map((card) => this.residents[card] ?? []),
      instances,
      spots: instances.map((index) => this.spots[index] ?? null),
    };
  }

  restore(snapshot: Snapshot): void {
    for (const [at, card] of snapshot.cards.entries()) {
      this.option[card] = snapshot.options[at] ?? 0;
      this.seats[card] = snapshot.seats[at] ?? [];
      this.residents[card] = snapshot.residents[at] ?? [];
    }
    for (const [at, index] of snapshot.instances.entries())
      this.spots[index] = snapshot.spots[at] ?? null;
  }

  copy(): LayoutState {
    const twin = new LayoutState(this.model, this.option);
    for (const [index, spots] of this.spots.entries()) if (spots !== null) twin.add(index, spots);
    return twin;
  }

  toSolution(): LayoutSolution {
    const { cards, instances } = this.model.problem;
    return {
      layouts: [...this.option],
      places: this.spots.flatMap((spots, index) =>
        spots === null
          ? []
          : [
              {
                instance: instances[index]?.id ?? '',
                shares: spots.map(({ card, partition }) => ({
                  card: cards[card]?.id ?? '',
                  partition,
                })),
              },
            ],
      ),
    };
  }
}

/** Negative when the first sum is better: the first position that differs decides; a score by more than the leeway. */
export function compareSums(a: Float64Array, b: Float64Array, leeway: number = 0): number {
  for (let at = 0; at < SUM_LENGTH; at += 1) {
    const difference = (a[at] ?? 0) - (b[at] ?? 0);
    if (Math.abs(difference) > 1e-6) return at === SCORE ? difference - leeway : difference;
  }
  return 0;
}
