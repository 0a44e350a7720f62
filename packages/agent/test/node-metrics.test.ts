import { gib, instanceId, nodeName, workloadName } from '@aim-gpu/core';
import { aCard, anInventory, aPlacement, aPlan, aShare } from '@aim-gpu/core/testing';
import { createMetrics, parseExposition } from '@aim-gpu/metrics';
import { expect, test } from 'vitest';
import { createNodeMetrics } from '../src/node-metrics.js';

const NODE = nodeName('node0');

function aSink() {
  const sink = createMetrics();
  const read = async (name: string) =>
    parseExposition(await sink.exposition())
      .samples.filter((sample) => sample.name === name)
      .map(({ labels, value }) => ({ ...labels, value }));
  return { metrics: createNodeMetrics(sink, NODE), read };
}

test('cards and partitions have the memory that was read; what was not read has no sample', async () => {
  const { metrics, read } = aSink();
  const split = aCard({ layout: { compute: 'DPX', memory: 'NPS1' } });
  metrics.recordInventory(anInventory({ cards: [split] }));
  expect(await read('aim_gpu_card_memory_bytes')).toEqual([
    { node: 'node0', card: split.id, value: split.memoryBytes },
  ]);
  expect(await read('aim_gpu_partition_memory_bytes')).toMatchObject([
    { partition: '0', layout: 'DPX/NPS1', value: split.partitions[0]?.memoryBytes },
    { partition: '1', layout: 'DPX/NPS1', value: split.partitions[1]?.memoryBytes },
  ]);
  const [first] = split.partitions;
  if (first === undefined) throw new Error('no partition');
  const lost = aCard({
    layout: { compute: null, memory: null },
    memoryBytes: null,
    partitions: [first, { ...first, index: 1, memoryBytes: null }],
  });
  metrics.recordInventory(anInventory({ cards: [lost] }));
  expect(await read('aim_gpu_card_memory_bytes')).toEqual([]);
  expect(await read('aim_gpu_partition_memory_bytes')).toMatchObject([
    { partition: '0', layout: 'unknown/unknown' },
  ]);
});

test('a plan says what is reserved, placed and fragmented on its node; the next one replaces it', async () => {
  const { metrics, read } = aSink();
  const base = aPlan();
  const [node] = base.nodes;
  const [card] = node?.cards ?? [];
  if (node === undefined || card === undefined) throw new Error('no card');
  const chat = instanceId(workloadName('chat'), 0);
  const partitions = [30, 10].map((freeGib, index) => ({
    index,
    memoryBytes: gib(40 + freeGib),
    computeUnits: 152,
    shares: [{ instance: chat, memoryBytes: gib(40) }],
  }));
  const layout = { compute: 'DPX', memory: 'NPS1' } as const;
  const plan = aPlan({
    nodes: [{ ...node, cards: [{ ...card, layout, partitions }] }],
    placements: [
      aPlacement(),
      aPlacement({
        instance: instanceId(workloadName('far'), 0),
        workload: workloadName('far'),
        shares: [aShare({ node: nodeName('node9') })],
      }),
    ],
  });
  metrics.recordPlan(plan);
  expect(await read('aim_gpu_partition_memory_reserved_bytes')).toMatchObject([
    { partition: '0', layout: 'DPX/NPS1', value: gib(40) },
    { partition: '1', layout: 'DPX/NPS1', value: gib(40) },
  ]);
  expect(await read('aim_gpu_placements')).toEqual([{ node: 'node0', workload: 'chat', value: 1 }]);
  expect(await read('aim_gpu_fragmentation_ratio')).toEqual([{ node: 'node0', value: 0.25 }]);

  const full = { ...card, partitions: [{ ...partitions[0], memoryBytes: gib(40) }] };
  metrics.recordPlan({
    ...plan,
    nodes: [{ ...node, cards: [full as typeof card] }],
    placements: [],
  });
  expect(await read('aim_gpu_placements')).toEqual([]);
  expect(await read('aim_gpu_fragmentation_ratio')).toEqual([{ node: 'node0', value: 0 }]);
  expect(await read('aim_gpu_partition_memory_reserved_bytes')).toMatchObject([
    { layout: 'SPX/NPS1' },
  ]);
  metrics.recordPlan({ ...plan, nodes: [] });
  expect(await read('aim_gpu_fragmentation_ratio')).toEqual([{ node: 'node0', value: 0 }]);
});
