/**
 * Metrics of a node: capacity as read back, what is handed out, how fragmented it is (CONTRACT §7).
 */
import {
  formatLayout,
  type Inventory,
  type MetricSink,
  type NodeName,
  type Plan,
} from '@aim-gpu/core';

/** Records the capacity of every card and partition. */
export function recordInventory(metrics: MetricSink, inventory: Inventory): void {
  for (const card of inventory.cards) {
    if (card.memoryBytes !== null) {
      metrics.gauge(
        'aim_gpu_card_memory_bytes',
        { node: inventory.node, card: card.id },
        card.memoryBytes,
      );
    }
    const layout = `${card.layout.compute ?? 'unknown'}/${card.layout.memory ?? 'unknown'}`;
    for (const partition of card.partitions) {
      if (partition.memoryBytes === null) continue;
      const labels = {
        node: inventory.node,
        card: card.id,
        partition: String(partition.index),
        layout,
      };
      metrics.gauge('aim_gpu_partition_memory_bytes', labels, partition.memoryBytes);
    }
  }
}

/** Records what a plan hands out on a node. */
export function recordPlan(metrics: MetricSink, plan: Plan, node: NodeName): void {
  const cards = plan.nodes.find((entry) => entry.name === node)?.cards ?? [];
  let freeBytes = 0;
  let largestFreeBytes = 0;
  for (const card of cards) {
    for (const partition of card.partitions) {
      const reserved = partition.shares.reduce((sum, share) => sum + share.memoryBytes, 0);
      const free = Math.max(0, partition.memoryBytes - reserved);
      freeBytes += free;
      largestFreeBytes = Math.max(largestFreeBytes, free);
      metrics.gauge(
        'aim_gpu_partition_memory_reserved_bytes',
        {
          node,
          card: card.id,
          partition: String(partition.index),
          layout: formatLayout(card.layout),
        },
        reserved,
      );
    }
  }
  const byWorkload = new Map<string, number>();
  for (const placement of plan.placements) {
    byWorkload.set(placement.workload, (byWorkload.get(placement.workload) ?? 0) + 1);
  }
  for (const [workload, count] of byWorkload)
    metrics.gauge('aim_gpu_placements', { node, workload }, count);
  metrics.gauge(
    'aim_gpu_fragmentation_ratio',
    { node },
    freeBytes === 0 ? 0 : 1 - largestFreeBytes / freeBytes,
  );
}
