/**
 * PCI addresses and hives of simulated cards. Owns what is made up where the file says nothing, always the same for
 * the same file; real cards are discovered by a driver and never come through here.
 */
import { cardId } from '@aim-gpu/core';
import type { CardShape } from './shape.js';

/** A simulated card with everything said. */
export interface CompleteCard {
  readonly id: string;
  readonly product: string;
  readonly hive: string;
}

/**
 * Bus numbers of eight accelerators as a two-socket server spreads them over its root ports: the first two are those
 * of the fleet format's own examples, the others follow their spacing.
 */
const BUSES = ['0c', '22', '38', '5c', '9f', 'af', 'bf', 'df'];

function freeAddress(taken: ReadonlySet<string>): string {
  for (let slot = 0; ; slot += 1) {
    const id = `0000:${BUSES[slot] ?? slot.toString(16).padStart(2, '0')}:00.0`;
    if (!taken.has(id)) return id;
  }
}

/**
 * Completes a node's cards: a missing id takes the next free address, a missing hive the node's own. XGMI joins like
 * cards only, so further products of a mixed node get hives of their own.
 */
export function completeCards(node: string, cards: readonly CardShape[]): readonly CompleteCard[] {
  const taken = new Set(
    cards.flatMap((card) => (card.id === null ? [] : [String(cardId(card.id))])),
  );
  const products = [...new Set(cards.map((card) => card.product))];
  return cards.map((card) => {
    const id = card.id === null ? freeAddress(taken) : cardId(card.id);
    taken.add(id);
    const hive = card.hive ?? `${node}-hive-${products.indexOf(card.product)}`;
    return { id, product: card.product, hive };
  });
}
