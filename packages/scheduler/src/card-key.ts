/**
 * A card's name over all nodes: ids repeat from node to node.
 */

/** The name of a card, `node id`. */
export function cardKey(card: { readonly node: string; readonly id: string }): string {
  return `${card.node} ${card.id}`;
}
