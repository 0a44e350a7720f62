/**
 * The check that memory is never handed out twice: the shares of every instance on every partition against what the
 * device says it has, less the reserve. Pure.
 */
import type { CardId, Inventory, Policy, Share } from '@aim-gpu/core';

/** A partition of which more was handed out than there is. */
export interface ShareViolation {
  readonly card: CardId;
  readonly partition: number;
  readonly sharedBytes: number;
  /** What may be handed out; 0 when the partition is not there or its memory was not read. */
  readonly availableBytes: number;
}

/** The partitions of this node that are oversold by these shares; empty when all is well. */
export function assertShares(options: {
  readonly shares: readonly Share[];
  readonly inventory: Inventory;
  readonly policy: Pick<Policy, 'memoryReserve'>;
}): readonly ShareViolation[] {
  const { shares, inventory, policy } = options;
  const sums = new Map<string, { card: CardId; partition: number; sharedBytes: number }>();
  for (const { node, card, partition, memoryBytes } of shares) {
    if (node !== inventory.node) continue;
    const key = `${card}/${partition}`;
    const sum = sums.get(key) ?? { card, partition, sharedBytes: 0 };
    sums.set(key, { ...sum, sharedBytes: sum.sharedBytes + memoryBytes });
  }
  return [...sums.values()].flatMap((sum) => {
    const card = inventory.cards.find((entry) => entry.id === sum.card);
    const partition = card?.partitions.find((entry) => entry.index === sum.partition);
    const availableBytes = Math.floor((partition?.memoryBytes ?? 0) * (1 - policy.memoryReserve));
    return sum.sharedBytes > availableBytes ? [{ ...sum, availableBytes }] : [];
  });
}
