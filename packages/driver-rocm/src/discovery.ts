/**
 * Discovery: from KFD nodes and sysfs cards to an inventory. Rules: a partition's identity is (PCI address, partition);
 * modes come from the primary's files; a compute mode may be derived where the counts allow one only, a memory mode
 * never; capacity of a partition is its KFD memory bank. What a tree does not say stays null.
 */
import { createHash } from 'node:crypto';
import {
  type CallOptions,
  type CardId,
  COMPUTE_MODES,
  type ComputeMode,
  hiveId,
  type Inventory,
  type Layout,
  type NodeName,
  type ObservedCard,
  type ObservedPartition,
  type Problem,
  partitionCount,
} from '@aim-gpu/core';
import { findProductByPciId, isVirtualPciId, type Product } from '@aim-gpu/core/products';
import type { FileTree } from './file-tree.js';
import { type KfdNode, readKfdTopology } from './kfd-topology.js';
import { readSysfsCards, type SysfsCard } from './sysfs-card.js';

/** Reads every card of a host or of a recorded tree. Spawns nothing and reads no file twice. */
export async function discoverCards(
  options: CallOptions & { readonly tree: FileTree; readonly node: NodeName },
): Promise<Inventory> {
  const { tree, node, signal } = options;
  signal?.throwIfAborted();
  const [topology, sysfs] = await Promise.all([readKfdTopology(tree), readSysfsCards(tree)]);
  signal?.throwIfAborted();
  const ids = new Set<CardId>([
    ...topology.nodes.map((entry) => entry.card),
    ...sysfs.map((card) => card.id),
  ]);
  const found = [...ids].sort().map((id) =>
    toCard({
      id,
      nodes: topology.nodes.filter((entry) => entry.card === id),
      sysfs: sysfs.find((card) => card.id === id) ?? null,
    }),
  );
  const cards = found.map(({ card }) => card);
  const problems = [
    ...topology.problems,
    ...sysfs.flatMap((card) => card.problems),
    ...found.flatMap((entry) => entry.problems),
  ];
  if (!topology.present && sysfs.length > 0) {
    problems.push({
      code: 'KFD_ABSENT',
      message:
        'there is no KFD topology: partitions, their capacity and their render nodes are unknown',
      where: 'sys/class/kfd/kfd/topology/nodes',
    });
  }
  return { node, driver: 'rocm', generation: generationOf(cards), cards, problems };
}

interface CardParts {
  readonly id: CardId;
  readonly nodes: readonly KfdNode[];
  readonly sysfs: SysfsCard | null;
}

function toCard(parts: CardParts): {
  readonly card: ObservedCard;
  readonly problems: readonly Problem[];
} {
  const { id, nodes, sysfs } = parts;
  const deviceId = sysfs?.deviceId ?? nodes[0]?.deviceId ?? null;
  const product = deviceId === null ? null : findProductByPciId(deviceId);
  const problems: Problem[] = [];
  if (product === null) {
    const message = `device id ${deviceId ?? 'unknown'} of ${id} is no product this version knows`;
    problems.push({ code: 'PRODUCT_UNKNOWN', message, where: sysfs?.directory ?? 'sys/class/kfd' });
  }
  const partitions = toPartitions(product, nodes);
  const compute = sysfs?.compute ?? derivedMode(product, nodes);
  problems.push(...missingPartitions(id, product, compute, partitions));
  const whole =
    compute === 'SPX' && partitions.length === 1 ? (partitions[0]?.memoryBytes ?? null) : null;
  const card: ObservedCard = {
    id,
    product: product?.name ?? null,
    hive:
      nodes.map((entry) => entry.hiveId).find((hive) => hive !== null) === undefined
        ? null
        : hiveId(toHex(nodes)),
    numaNode: sysfs?.numaNode ?? null,
    memoryBytes: sysfs?.memoryBytes ?? whole,
    layout: { compute, memory: sysfs?.memory ?? null },
    partitions,
    offered: toOffered(product, sysfs),
    // A virtual function's modes are its host's; it may look, never change.
    writable: deviceId !== null && !isVirtualPciId(deviceId),
  };
  return { card, problems };
}

function toHex(nodes: readonly KfdNode[]): string {
  const hive = nodes.map((entry) => entry.hiveId).find((entry) => entry !== null) ?? '0';
  return `0x${BigInt(hive).toString(16).padStart(16, '0')}`;
}

/** Partitions in order. Their number is in the partition bits, on older kernels in the function bits. */
function toPartitions(
  product: Product | null,
  nodes: readonly KfdNode[],
): readonly ObservedPartition[] {
  const newer = nodes.some((entry) => entry.partitionBits !== 0);
  const ids = new Set(nodes.map((entry) => entry.uniqueId));
  // Kernels before ROCm 7.0 give all partitions of a card the card's id: a lone partition of several proves nothing.
  const lone = nodes.length === 1 && nodes[0]?.xcds === product?.xcds;
  const ownIds = lone || (nodes.length > 1 && ids.size === nodes.length);
  return nodes
    .map(
      (entry): ObservedPartition => ({
        index: newer ? entry.partitionBits : entry.functionBits,
        xcds: entry.xcds,
        computeUnits: entry.computeUnits,
        memoryBytes: entry.memoryBytes,
        renderMinor: entry.renderMinor,
        uuid:
          ownIds && entry.uniqueId !== null
            ? `GPU-${BigInt(entry.uniqueId).toString(16).padStart(16, '0')}`
            : null,
        kfdNode: entry.index,
      }),
    )
    .sort((a, b) => a.index - b.index);
}

/** The one mode of the product whose partitions have as many XCDs as the nodes show; null when there are several. */
function derivedMode(product: Product | null, nodes: readonly KfdNode[]): ComputeMode | null {
  const xcds = nodes[0]?.xcds;
  if (product === null || xcds === undefined || nodes.some((entry) => entry.xcds !== xcds))
    return null;
  const modes = COMPUTE_MODES.filter(
    (mode) =>
      product.layouts.some((layout) => layout.compute === mode) &&
      partitionCount(mode, product.xcds) * xcds === product.xcds,
  );
  return modes.length === 1 ? (modes[0] ?? null) : null;
}

function missingPartitions(
  id: CardId,
  product: Product | null,
  compute: ComputeMode | null,
  partitions: readonly ObservedPartition[],
): readonly Problem[] {
  if (product === null || compute === null || partitions.length === 0) return [];
  const want = partitionCount(compute, product.xcds);
  if (partitions.length === want) return [];
  if (partitions.length > want) {
    return [
      {
        code: 'LAYOUT_DISAGREES',
        message: `${id} says it is in ${compute}, which has ${want} partitions, but KFD shows ${partitions.length}. A switch may be under way: look again`,
        where: 'sys/class/kfd/kfd/topology/nodes',
      },
    ];
  }
  const there = new Set(partitions.map((partition) => partition.index));
  const missing = Array.from({ length: want }, (_, index) => index).filter(
    (index) => !there.has(index),
  );
  return [
    {
      code: 'PARTITION_MISSING',
      message: `${id} in ${compute} shows ${partitions.length} of ${want} partitions${missing.length === 0 ? '' : `; missing: ${missing.join(', ')}`}. The driver runs out of DRM minors when another display driver, such as a BMC's, takes one`,
      where: 'sys/class/kfd/kfd/topology/nodes',
    },
  ];
}

/** Layouts the device offers. Newer kernels list compute modes for the current memory mode only, older ones all. */
function toOffered(product: Product | null, sysfs: SysfsCard | null): readonly Layout[] | null {
  if (sysfs === null || product === null || sysfs.computeOffered === null) return null;
  const { computeOffered, memoryOffered, memory } = sysfs;
  if (memoryOffered === null && memory === null) return null;
  // The memory file exists only where more than one mode is offered.
  const memories = memoryOffered ?? (memory === null ? [] : [memory]);
  return product.layouts
    .filter((layout) => memories.includes(layout.memory))
    .filter((layout) => layout.memory !== memory || computeOffered.includes(layout.compute))
    .map(({ compute, memory: mode }) => ({ compute, memory: mode }));
}

function generationOf(cards: readonly ObservedCard[]): string {
  return createHash('sha256').update(JSON.stringify(cards)).digest('hex').slice(0, 16);
}
