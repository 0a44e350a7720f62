/**
 * Metrics of a node: capacity as read back, what is handed out, how fragmented it is (CONTRACT §7). Owns taking back
 * what is no longer true: series of partitions, layouts and models that are gone.
 */
import {
  formatLayout,
  type Inventory,
  type MetricLabels,
  type MetricSink,
  type NodeName,
  type Plan,
} from '@aim-gpu/core';

/** The metrics of one node. */
export interface NodeMetrics {
  /** Records the capacity of every card and partition. */
  recordInventory(inventory: Inventory): void;
  /** Records what a plan hands out on the node. */
  recordPlan(plan: Plan): void;
}

interface Sample {
  readonly name: string;
  readonly labels: MetricLabels;
  readonly value: number;
}

/** Makes the metrics of a node over a sink. */
export function createNodeMetrics(sink: MetricSink, node: NodeName): NodeMetrics {
  const replaceInventory = createReplacer(sink);
  const replacePlan = createReplacer(sink);
  return {
    recordInventory: (inventory) => replaceInventory(samplesOfInventory(inventory)),
    recordPlan: (plan) => replacePlan(samplesOfPlan(plan, node)),
  };
}

/** Sets samples and clears those of the time before that are not among them. */
function createReplacer(sink: MetricSink): (samples: readonly Sample[]) => void {
  let before = new Map<string, Sample>();
  return (samples) => {
    const now = new Map(samples.map((sample) => [keyOf(sample), sample]));
    for (const [key, { name, labels }] of before) if (!now.has(key)) sink.clear(name, labels);
    for (const { name, labels, value } of samples) sink.gauge(name, labels, value);
    before = now;
  };
}

function keyOf({ name, labels }: Sample): string {
  return JSON.stringify([name, labels]);
}

function samplesOfInventory({ node, cards }: Inventory): readonly Sample[] {
  return cards.flatMap((card) => {
    const layout = `${card.layout.compute ?? 'unknown'}/${card.layout.memory ?? 'unknown'}`;
    return [
      ...sample('aim_gpu_card_memory_bytes', { node, card: card.id }, card.memoryBytes),
      ...card.partitions.flatMap(({ index, memoryBytes }) =>
        sample(
          'aim_gpu_partition_memory_bytes',
          { node, card: card.id, partition: String(index), layout },
          memoryBytes,
        ),
      ),
    ];
  });
}

function samplesOfPlan(plan: Plan, node: NodeName): readonly Sample[] {
  const cards = plan.nodes.find((entry) => entry.name === node)?.cards ?? [];
  const partitions = cards.flatMap((card) =>
    card.partitions.map((partition) => ({
      labels: {
        node,
        card: card.id,
        partition: String(partition.index),
        layout: formatLayout(card.layout),
      },
      memoryBytes: partition.memoryBytes,
      reservedBytes: partition.shares.reduce((sum, share) => sum + share.memoryBytes, 0),
    })),
  );
  const free = partitions.map(({ memoryBytes, reservedBytes }) =>
    Math.max(0, memoryBytes - reservedBytes),
  );
  const freeBytes = free.reduce((sum, each) => sum + each, 0);
  const fragmentation = freeBytes === 0 ? 0 : 1 - Math.max(...free) / freeBytes;
  return [
    ...partitions.flatMap(({ labels, reservedBytes }) =>
      sample('aim_gpu_partition_memory_reserved_bytes', labels, reservedBytes),
    ),
    ...[...placementsByWorkload(plan, node)].flatMap(([workload, count]) =>
      sample('aim_gpu_placements', { node, workload }, count),
    ),
    ...sample('aim_gpu_fragmentation_ratio', { node }, fragmentation),
  ];
}

function placementsByWorkload(plan: Plan, node: NodeName): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const { workload, shares } of plan.placements) {
    if (!shares.some((share) => share.node === node)) continue;
    counts.set(workload, (counts.get(workload) ?? 0) + 1);
  }
  return counts;
}

/** What could not be read has no sample. */
function sample(name: string, labels: MetricLabels, value: number | null): readonly Sample[] {
  return value === null ? [] : [{ name, labels, value }];
}
