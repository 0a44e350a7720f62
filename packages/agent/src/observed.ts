/**
 * What is observed, compared with a plan: which of its partitions are not there. Pure.
 */
import type { Inventory, NodeName, Plan, Share } from '@aim-gpu/core';
import { sameLayout } from '@aim-gpu/core';

/**
 * Shares of a plan on devices of a node that are gone: a card that is not seen, or one in the planned layout without
 * the partition. A card in another layout is there; its layout is to be changed back.
 */
export function sharesGone(plan: Plan, inventory: Inventory): readonly Share[] {
  const node: NodeName = inventory.node;
  const planned = plan.nodes.find(({ name }) => name === node)?.cards ?? [];
  return plan.placements
    .flatMap(({ shares }) => shares)
    .filter((share) => {
      if (share.node !== node) return false;
      const card = inventory.cards.find(({ id }) => id === share.card);
      if (card === undefined) return true;
      const layout = planned.find(({ id }) => id === share.card)?.layout;
      const { compute, memory } = card.layout;
      if (layout === undefined || compute === null || memory === null) return false;
      if (!sameLayout(layout, { compute, memory })) return false;
      return !card.partitions.some(({ index }) => index === share.partition);
    });
}
