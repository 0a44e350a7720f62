/**
 * A solution in the making: layouts chosen, instances on partitions, and what each card adds to the objective, in flat
 * arrays. Owns bookkeeping (put, empty a card, lift and put back); what to try next is for the search to say.
 */
import {
  BUSY_TOLERANCE,
  type LayoutModel,
  type ModelInstance,
  type ModelOption,
  moveCostMs,
} from './layout-model.js';
import type { LayoutSolution } from './layout-problem.js';
import { BAND_COUNT, CHANGE, SCORE, SUM_LENGTH, VIOLATION } from './layout-sums.js';
import type { Worth } from './objective.js';

/** Cards that were emptied, as they were. */
export interface Lifted {
  readonly cards: readonly number[];
  readonly options: readonly number[];
  /** Each instance once. */
  readonly instances: readonly number[];
  /** Seats of the instances one after the other, as many of each as it has ranks. */
  readonly seats: readonly number[];
}

/** A solution being changed. A seat is a partition of a card: `card * seatsPerCard + partition`. */
export class LayoutState {
  readonly model: LayoutModel;
  readonly seatsPerCard: number;
  /** Option of each card. */
  readonly option: Int32Array;
  readonly usedBytes: Float64Array;
  readonly busy: Float64Array;
  /** Most that `busy` may be: 1, or less for the sake of an urgent instance there. */
  readonly limit: Float64Array;
  /** Instances on each seat; a seat that belongs to one alone has many. */
  readonly count: Int32Array;
  /** Instances on each card, ranks counted. */
  readonly onCardCount: Int32Array;
  /** Memory given away on each card. */
  readonly cardBytes: Float64Array;
  private readonly sums: Float64Array;
  /** By instance and rank, as `instance * maxRanks + rank`. */
  private readonly seatAt: Int32Array;
  private readonly next: Int32Array;
  private readonly first: Int32Array;
  private readonly maxRanks: number;

  constructor(model: LayoutModel, options: ArrayLike<number>) {
    const cards = model.cards.length;
    const instances = model.instances.length;
    this.model = model;
    this.seatsPerCard = model.seatsPerCard;
    this.maxRanks = model.maxRanks;
    this.option = Int32Array.from(options);
    const seats = cards * this.seatsPerCard;
    this.usedBytes = new Float64Array(seats);
    this.busy = new Float64Array(seats);
    this.limit = new Float64Array(seats);
    this.count = new Int32Array(seats);
    this.first = new Int32Array(seats);
    this.onCardCount = new Int32Array(cards);
    this.cardBytes = new Float64Array(cards);
    this.sums = new Float64Array(cards * SUM_LENGTH);
    this.seatAt = new Int32Array(instances * this.maxRanks).fill(-1);
    this.next = new Int32Array(instances * this.maxRanks).fill(-1);
    for (let card = 0; card < cards; card += 1) this.clear(card);
  }

  optionOf(card: number): ModelOption {
    return this.model.cards[card]?.options[this.option[card] ?? 0] as ModelOption;
  }

  instance(index: number): ModelInstance {
    return this.model.instances[index] as ModelInstance;
  }

  isPlaced(index: number): boolean {
    return (this.seatAt[index * this.maxRanks] ?? -1) >= 0;
  }

  /** Instances without a place. */
  waiting(): number[] {
    const waiting: number[] = [];
    for (let index = 0; index < this.model.instances.length; index += 1)
      if (!this.isPlaced(index)) waiting.push(index);
    return waiting;
  }

  /** Seats of an instance; empty when it has none. */
  seatsOf(index: number): readonly number[] {
    if (!this.isPlaced(index)) return [];
    const from = index * this.maxRanks;
    return [...this.seatAt.subarray(from, from + this.instance(index).ranks)];
  }

  /** Empties a card in the option it has. */
  private clear(card: number): void {
    const from = card * this.seatsPerCard;
    const to = from + this.seatsPerCard;
    this.usedBytes.fill(0, from, to);
    this.busy.fill(0, from, to);
    this.limit.fill(1, from, to);
    this.count.fill(0, from, to);
    this.first.fill(-1, from, to);
    this.onCardCount[card] = 0;
    this.cardBytes[card] = 0;
    this.sums.fill(0, card * SUM_LENGTH, (card + 1) * SUM_LENGTH);
    if (this.option[card] !== this.model.cards[card]?.current)
      this.sums[card * SUM_LENGTH + CHANGE] = this.optionOf(card).changeCostMs;
  }

  /** Gives a card an option and empties it. What was on it must have no share on a card that is not emptied too. */
  reset(card: number, option: number): void {
    const from = card * this.seatsPerCard;
    for (let seat = from; seat < from + this.seatsPerCard; seat += 1) {
      for (let node = this.first[seat] ?? -1; node >= 0; node = this.next[node] ?? -1)
        this.seatAt[node] = -1;
    }
    this.option[card] = option;
    this.clear(card);
  }

  /** Puts an instance on seats, one for each of its ranks. */
  add(index: number, seats: ArrayLike<number>): void {
    const instance = this.instance(index);
    const { model, seatsPerCard, sums } = this;
    for (let rank = 0; rank < seats.length; rank += 1) {
      const seat = seats[rank] ?? 0;
      const card = Math.floor(seat / seatsPerCard);
      const { kind } = this.optionOf(card);
      const own = instance.busy[kind] ?? 1;
      const node = index * this.maxRanks + rank;
      this.next[node] = this.first[seat] ?? -1;
      this.first[seat] = node;
      this.seatAt[node] = seat;
      this.usedBytes[seat] = (this.usedBytes[seat] ?? 0) + instance.bytes;
      this.busy[seat] = (this.busy[seat] ?? 0) + own;
      if (instance.urgent)
        this.limit[seat] = Math.min(this.limit[seat] ?? 1, model.neighbourBudget + own);
      this.count[seat] = (this.count[seat] ?? 0) + (instance.exclusive ? ALONE : 1);
      this.cardBytes[card] = (this.cardBytes[card] ?? 0) + instance.bytes;
      const at = card * SUM_LENGTH;
      if (this.onCardCount[card] === 0 && model.isPack)
        sums[at + SCORE] = (sums[at + SCORE] ?? 0) + 1;
      this.onCardCount[card] = (this.onCardCount[card] ?? 0) + 1;
      if (instance.assignedCard >= 0) {
        const partition = seat - card * seatsPerCard;
        const cost = moveCostMs(model, instance, card, this.option[card] ?? 0, partition);
        sums[at + CHANGE] = (sums[at + CHANGE] ?? 0) + cost;
      }
      // An instance on several partitions counts with the first of them.
      if (rank > 0) continue;
      sums[at + instance.band] = (sums[at + instance.band] ?? 0) - instance.value;
      sums[at + VIOLATION] = (sums[at + VIOLATION] ?? 0) + (instance.violation[kind] ?? 0);
      if (!model.isPack) sums[at + SCORE] = (sums[at + SCORE] ?? 0) + (instance.score[kind] ?? 0);
    }
  }

  /** Whether an instance may be on a card at all, in the option it has and beside who is there. */
  permitsCard(index: number, card: number): boolean {
    const instance = this.instance(index);
    if (instance.allowed[this.optionOf(card).kind] !== true) return false;
    if (instance.pinCard !== -1 && instance.pinCard !== card) return false;
    if (instance.cards !== null && !instance.cards.has(card)) return false;
    return instance.apart === null || !this.hasEnemy(instance.apart, card);
  }

  /** Whether an instance that the card permits has room on one of its partitions. */
  permitsSeat(instance: ModelInstance, option: ModelOption, seat: number): boolean {
    if ((this.usedBytes[seat] ?? 0) + instance.bytes > option.usableBytes) return false;
    const count = this.count[seat] ?? 0;
    if (count > 0 && (instance.exclusive || count >= ALONE)) return false;
    const own = instance.busy[option.kind] ?? 1;
    let limit = this.limit[seat] ?? 1;
    if (instance.urgent) limit = Math.min(limit, this.model.neighbourBudget + own);
    return (this.busy[seat] ?? 0) + own <= limit + BUSY_TOLERANCE;
  }

  private hasEnemy(apart: ReadonlySet<number>, card: number): boolean {
    for (const other of apart) {
      const from = other * this.maxRanks;
      for (let node = from; node < from + this.maxRanks; node += 1) {
        const seat = this.seatAt[node] ?? -1;
        if (seat >= 0 && Math.floor(seat / this.seatsPerCard) === card) return true;
      }
    }
    return false;
  }

  /** Instances on a card, each once. */
  onCard(card: number): readonly number[] {
    const found: number[] = [];
    if (this.onCardCount[card] === 0) return found;
    const from = card * this.seatsPerCard;
    for (let seat = from; seat < from + this.seatsPerCard; seat += 1) {
      for (let node = this.first[seat] ?? -1; node >= 0; node = this.next[node] ?? -1) {
        const index = Math.floor(node / this.maxRanks);
        if (this.maxRanks === 1 || !found.includes(index)) found.push(index);
      }
    }
    return found;
  }

  /** The cards with all others that an instance on them also has. */
  withPartners(cards: readonly number[]): readonly number[] {
    if (this.maxRanks === 1) return cards;
    const all = new Set(cards);
    for (const card of all) {
      if (this.optionOf(card).partitions > 1) continue;
      for (const index of this.onCard(card))
        if (this.instance(index).ranks > 1)
          for (const seat of this.seatsOf(index)) all.add(Math.floor(seat / this.seatsPerCard));
    }
    return [...all];
  }

  /** What cards and the instances on them have, to be put back when something else on them is no better. */
  lift(cards: readonly number[]): Lifted {
    const instances: number[] = [];
    const seats: number[] = [];
    for (const card of cards) {
      for (const index of this.onCard(card)) {
        if (cards.length > 1 && this.maxRanks > 1 && instances.includes(index)) continue;
        instances.push(index);
        const from = index * this.maxRanks;
        for (let rank = 0; rank < this.instance(index).ranks; rank += 1)
          seats.push(this.seatAt[from + rank] ?? 0);
      }
    }
    return { cards, options: cards.map((card) => this.option[card] ?? 0), instances, seats };
  }

  /** Empties the cards and puts back what they had. */
  putBack(lifted: Lifted): void {
    for (const [at, card] of lifted.cards.entries()) this.reset(card, lifted.options[at] ?? 0);
    let from = 0;
    for (const index of lifted.instances) {
      const { ranks } = this.instance(index);
      this.add(index, lifted.seats.slice(from, from + ranks));
      from += ranks;
    }
  }

  /** Adds what cards are worth to a sum. An instance on several cards counts with the first of them. */
  addWorth(cards: readonly number[], sum: Float64Array): void {
    for (const card of cards) {
      const at = card * SUM_LENGTH;
      for (let level = 0; level < SUM_LENGTH; level += 1)
        sum[level] = (sum[level] ?? 0) + (this.sums[at + level] ?? 0);
    }
  }

  /** How much a card weighs on the first level that it could do better on, first violations, then change. */
  needsChange(card: number): number {
    const at = card * SUM_LENGTH;
    const violation = this.sums[at + VIOLATION] ?? 0;
    if (violation > 0) return 3 + violation;
    if ((this.sums[at + CHANGE] ?? 0) > 0) return 2;
    if (!this.model.isPack) return this.sums[at + SCORE] ?? 0;
    if (this.onCardCount[card] === 0) return 0;
    const { usableBytes, partitions } = this.optionOf(card);
    return this.idleBytes(card) / (usableBytes * partitions);
  }

  /** Memory of a card that nobody has. */
  idleBytes(card: number): number {
    const { usableBytes, partitions } = this.optionOf(card);
    return usableBytes * partitions - (this.cardBytes[card] ?? 0);
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

  copy(): LayoutState {
    const twin = new LayoutState(this.model, this.option);
    twin.usedBytes.set(this.usedBytes);
    twin.busy.set(this.busy);
    twin.limit.set(this.limit);
    twin.count.set(this.count);
    twin.first.set(this.first);
    twin.next.set(this.next);
    twin.seatAt.set(this.seatAt);
    twin.onCardCount.set(this.onCardCount);
    twin.cardBytes.set(this.cardBytes);
    twin.sums.set(this.sums);
    return twin;
  }

  toSolution(): LayoutSolution {
    const { cards, instances } = this.model.problem;
    return {
      layouts: [...this.option],
      places: instances.flatMap(({ id }, index) => {
        if (!this.isPlaced(index)) return [];
        const shares = this.seatsOf(index).map((seat) => {
          const card = Math.floor(seat / this.seatsPerCard);
          return { card: cards[card]?.id ?? '', partition: seat - card * this.seatsPerCard };
        });
        return [{ instance: id, shares }];
      }),
    };
  }
}

/** Counts as so many instances that no other may join. */
export const ALONE: number = 1 << 20;
