/**
 * The one rule of the order of changes: from what is observed and what is wanted to the next thing to do. Planning
 * unrolls it over a forecast, applying and recovering follow it over what was read back, so that the three can never
 * disagree. Pure.
 *
 * Memory modes go first, because a reload resets every compute mode, and a compute mode may be refused under the old
 * memory mode. Hives share one reload. A compute mode is set once and last.
 */
import type { CardId, ComputeMode, HiveId, Layout, MemoryMode } from '@aim-gpu/core';

/** A card with the layout that is wanted or was read; null what could not be read. */
export interface CardLayout {
  readonly card: CardId;
  readonly hive: HiveId | null;
  readonly layout: { readonly compute: ComputeMode | null; readonly memory: MemoryMode | null };
}

/** A card with the layout it shall have. */
export interface CardTarget extends CardLayout {
  readonly layout: Layout;
}

/** One change of the machine. */
export type LayoutStep =
  /** Ask for a memory mode of a hive, through one of its cards; takes effect at the reload. */
  | {
      readonly kind: 'stage-memory';
      readonly card: CardId;
      readonly hive: HiveId | null;
      readonly to: MemoryMode;
    }
  /** Reload the driver of the node. */
  | { readonly kind: 'reload' }
  /** Switch one card. */
  | { readonly kind: 'set-compute'; readonly card: CardId; readonly to: ComputeMode };

/** The unit that has one memory mode: a hive, or a card that belongs to none. */
export function hiveKey(card: { readonly card: CardId; readonly hive: HiveId | null }): string {
  return card.hive === null ? `card ${card.card}` : `hive ${card.hive}`;
}

/**
 * The next step towards the wanted layouts; null when all are reached. `staged` has the {@link hiveKey} of each hive
 * whose memory mode was asked for since the last reload: the machine does not show it.
 */
export function nextStep(
  observed: readonly CardLayout[],
  wanted: readonly CardTarget[],
  staged: ReadonlySet<string>,
): LayoutStep | null {
  const seen = new Map(observed.map((entry) => [entry.card, entry.layout]));
  for (const { card, hive, layout } of wanted) {
    if (seen.get(card)?.memory === layout.memory || staged.has(hiveKey({ card, hive }))) continue;
    return { kind: 'stage-memory', card, hive, to: layout.memory };
  }
  if (staged.size > 0) return { kind: 'reload' };
  for (const { card, layout } of wanted) {
    if (seen.get(card)?.compute !== layout.compute)
      return { kind: 'set-compute', card, to: layout.compute };
  }
  return null;
}

/** Whether every wanted layout was read. */
export function hasReached(
  observed: readonly CardLayout[],
  wanted: readonly CardTarget[],
): boolean {
  return nextStep(observed, wanted, new Set()) === null;
}
