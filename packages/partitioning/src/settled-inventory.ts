/**
 * What is read before and between changes: a machine on which none is under way, and modes only as far as partitions
 * bear them out. Reads only.
 */
import { type CardId, type Inventory, type ObservedCard, partitionCount } from '@aim-gpu/core';
import { toCardLayouts } from './assert-layout.js';
import { xcdsOf } from './load-mode.js';
import type { CardLayout, CardTarget } from './next-step.js';
import type { RepartitionOptions } from './repartition-result.js';
import { type RepartitionLimits, readOrNull } from './step-runner.js';

/**
 * The machine when no change is under way any more: an interrupted one may still be finishing, and what it made may
 * still be appearing. Partitions that never appear are waited for no longer than those of a change.
 */
export async function settledInventory(
  options: Pick<RepartitionOptions, 'driver' | 'clock'>,
  wanted: readonly CardTarget[],
  limits: RepartitionLimits,
): Promise<Inventory> {
  const { driver, clock } = options;
  const deadline = clock.monoMs() + limits.busyWaitMs;
  let wholeDeadline: number | null = null;
  for (;;) {
    const read = await readOrNull(driver);
    const cards = wanted.map(({ card }) => read?.cards.find((entry) => entry.id === card));
    const readable = cards.every(
      (card) => card !== undefined && card.layout.compute !== null && card.layout.memory !== null,
    );
    if (read !== null && readable) {
      wholeDeadline ??= clock.monoMs() + limits.settleWaitMs;
      if (cards.every(hasItsPartitions) || clock.monoMs() >= wholeDeadline) return read;
    }
    if (clock.monoMs() >= deadline) return read ?? driver.discover();
    await clock.sleep(limits.settlePollMs);
  }
}

/** Whether a card shows as many partitions as its mode has, where that is known. */
function hasItsPartitions(card: ObservedCard | undefined): boolean {
  const mode = card?.layout.compute ?? null;
  const xcds = card === undefined ? null : xcdsOf(card);
  if (card === undefined || mode === null || xcds === null) return true;
  return card.partitions.length === partitionCount(mode, xcds);
}

/** Layouts as read, but for switched cards whose partitions are not those of their mode: such a mode is not believed. */
export function doubt(inventory: Inventory, touched: ReadonlySet<CardId>): readonly CardLayout[] {
  const doubtful = new Set(
    inventory.cards
      .filter((card) => touched.has(card.id) && !hasItsPartitions(card))
      .map(({ id }) => id),
  );
  return toCardLayouts(inventory).map((entry) =>
    doubtful.has(entry.card) ? { ...entry, layout: { ...entry.layout, compute: null } } : entry,
  );
}
