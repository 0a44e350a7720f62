/**
 * The cards that a model's own wishes leave it: products, nodes, pin. Whether there is room on them is another question.
 */
import type { Workload } from '@aim-gpu/core';
import type { CardChoice } from './card-choice.js';

/** Whether a model's products, nodes and pin permit a card. */
export function permits({ placement }: Workload, card: CardChoice): boolean {
  const { products, nodes, pin } = placement;
  return (
    (products.length === 0 || products.includes(card.product.name)) &&
    (nodes.length === 0 || nodes.includes(card.node)) &&
    (pin === null || (pin.node === card.node && pin.card === card.id))
  );
}
