/**
 * How well idle memory of some cards is gathered. Between solutions of one worth the search goes on from the one where
 * it lies together: a card may become free later, or a partition take one that waits.
 */
import { ALONE, type LayoutState } from './layout-state.js';

const GIB = 2 ** 30;

/** Sum of squares of what each card has given away, in GiB²: more when some are full and others empty. */
export function unevenness(state: LayoutState, cards: readonly number[]): number {
  let sum = 0;
  for (const card of cards) sum += ((state.cardBytes[card] ?? 0) / GIB) ** 2;
  return sum;
}

/** Sum of squares of what is idle on each partition that takes company, in GiB²: more when it is in large pieces. */
export function hollowness(state: LayoutState, cards: readonly number[]): number {
  let sum = 0;
  for (const card of cards) {
    const { partitions, usableBytes } = state.optionOf(card);
    const from = card * state.seatsPerCard;
    for (let seat = from; seat < from + partitions; seat += 1) {
      if ((state.count[seat] ?? 0) < ALONE)
        sum += ((usableBytes - (state.usedBytes[seat] ?? 0)) / GIB) ** 2;
    }
  }
  return sum;
}
