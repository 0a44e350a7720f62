/**
 * Compares the layouts a node has with those it should have. Pure; changes nothing and plans nothing.
 */
import type { CardId, Inventory, Layout, ObservedCard } from '@aim-gpu/core';
import { formatLayout } from '@aim-gpu/core';
import type { CardLayout } from './next-step.js';

/** A card and the layout it should have. */
export interface DesiredLayout {
  readonly card: CardId;
  readonly layout: Layout;
}

/** A card that is not as it should be. */
export interface LayoutDifference {
  readonly card: CardId;
  readonly wanted: Layout;
  /** What was read; null when the card is not there. */
  readonly observed: ObservedCard['layout'] | null;
  readonly message: string;
}

/** The cards whose layout is not the desired one; empty when all are as they should be. */
export function assertLayout(
  inventory: Inventory,
  desired: readonly DesiredLayout[],
): readonly LayoutDifference[] {
  return desired.flatMap(({ card, layout: wanted }) => {
    const observed = inventory.cards.find((entry) => entry.id === card)?.layout ?? null;
    if (observed?.compute === wanted.compute && observed.memory === wanted.memory) return [];
    const is = observed === null ? 'is not there' : `is in ${describeLayout(observed)}`;
    return [{ card, wanted, observed, message: `${card} ${is}, wanted ${formatLayout(wanted)}` }];
  });
}

/** The layouts of an inventory, as the order of changes needs them. */
export function toCardLayouts(inventory: Inventory): readonly CardLayout[] {
  return inventory.cards.map(({ id, hive, layout }) => ({ card: id, hive, layout }));
}

/** Writes a layout of which parts may be unread. */
export function describeLayout(layout: ObservedCard['layout']): string {
  return `${layout.compute ?? 'unread'}/${layout.memory ?? 'unread'}`;
}
