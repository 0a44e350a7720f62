/**
 * One card from what KFD and sysfs say of it. Rules: a partition's identity is (PCI address, partition); modes come from
 * the primary's files; a compute mode may be derived where the counts allow one only, a memory mode never; capacity of a
 * partition is its KFD memory bank. What neither says stays null. Pure.
 */
import {
  type CardId,
  COMPUTE_MODES,
  type ComputeMode,
  type HiveId,
  hiveId,
  type Layout,
  type ObservedCard,
  type ObservedPartition,
  type Problem,
  partitionCount,
} from '@aim-gpu/core';
import {
  findProductByPciId,
  isVirtualPciId,
  type Product,
  productLayout,
} from '@aim-gpu/core/products';
import { KFD_NODES, type KfdNode } from './kfd-topology.js';
import type { DrmDevices } from './platform-devices.js';
import { problem } from './problems.js';
import type { SysfsCard } from './sysfs-card.js';

/** What the sources say of one card. */
export interface CardSources {
  readonly id: CardId;
  readonly nodes: readonly KfdNode[];
  readonly sysfs: SysfsCard | null;
  readonly drm: DrmDevices;
  /** Whether there is a KFD topology at all: its absence is told once for the node, not for each card. */
  readonly kfdPresent: boolean;
  readonly virtualMachine: boolean | null;
}

/** A card, and what its sources lack or disagree on. */
export interface AssembledCard {
  readonly card: ObservedCard;
  readonly problems: readonly Problem[];
}

/** Puts a card together. */
export function toCard(sources: CardSources): AssembledCard {
  const { id, nodes, sysfs, virtualMachine } = sources;
  const deviceId = sysfs?.deviceId ?? nodes[0]?.deviceId ?? null;
  const product = deviceId === null ? null : findProductByPciId(deviceId);
  const partitions = toPartitions(product, nodes);
  const compute = sysfs?.compute ?? derivedMode(product, nodes);
  const first = partitions[0];
  const lone = compute === 'SPX' && partitions.length === 1 ? first : undefined;
  // An APU's VRAM file tells its carve-out only; KFD knows what it may allocate.
  const told = product?.unifiedMemory === true ? null : (sysfs?.memoryBytes ?? null);
  const largest = Math.max(0, ...partitions.map((partition) => partition.memoryBytes ?? 0));
  // KFD wins: a card that has less memory than one of its partitions has told something else.
  const whole = told !== null && told >= largest ? told : null;
  const virtualFunction = deviceId !== null && isVirtualPciId(deviceId);
  const card: ObservedCard = {
    id,
    product: product?.name ?? null,
    hive: toHive(nodes),
    numaNode: sysfs?.numaNode ?? null,
    memoryBytes: whole ?? lone?.memoryBytes ?? null,
    layout: { compute, memory: sysfs?.memory ?? null },
    partitions,
    offered: toOffered(product, sysfs),
    // The layout of a virtual function, or of a card passed through to a guest, is its host's: look, never change.
    writable: deviceId !== null && !virtualFunction && virtualMachine !== true,
  };
  const problems = [
    ...productProblems(id, deviceId, product, sysfs),
    ...guestProblems(id, { virtualFunction, virtualMachine }),
    ...(sysfs === null ? [sysfsAbsent(id)] : []),
    ...(told === whole ? [] : [memoryDisagrees(id, sysfs)]),
    ...partitionProblems(id, product, compute, partitions),
    ...(sources.kfdPresent ? missingFacts(sources, partitions) : []),
  ];
  return { card, problems };
}

function toHive(nodes: readonly KfdNode[]): HiveId | null {
  const hive = nodes.map((entry) => entry.hiveId).find((entry) => entry !== null);
  return hive == null ? null : hiveId(`0x${BigInt(hive).toString(16).padStart(16, '0')}`);
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

/** Layouts the device offers. Newer kernels list compute modes for the current memory mode only, older ones all. */
function toOffered(product: Product | null, sysfs: SysfsCard | null): readonly Layout[] | null {
  if (sysfs === null || product === null || sysfs.computeOffered === null) return null;
  const { computeOffered, memoryOffered, memory } = sysfs;
  if (memoryOffered === null && memory === null) return null;
  // The memory file exists only where more than one mode is offered.
  const memories = memoryOffered ?? (memory === null ? [] : [memory]);
  return [...product.layouts, ...product.firmwareLayouts]
    .filter((layout) => memories.includes(layout.memory))
    .filter((layout) => layout.memory !== memory || computeOffered.includes(layout.compute))
    .filter((layout) => isTold(product, sysfs, layout))
    .map(({ compute, memory: mode }) => ({ compute, memory: mode }));
}

/**
 * Whether the files themselves tell of a layout that only some firmware has. The list of compute modes is for the memory
 * mode in force; older kernels list all there are, which shows in SPX, that no other mode than NPS1 allows.
 */
function isTold(product: Product, sysfs: SysfsCard, layout: Layout): boolean {
  if (productLayout(product, layout) !== null) return true;
  const current = layout.memory === sysfs.memory && layout.memory !== 'NPS1';
  return current && sysfs.computeOffered?.includes('SPX') === false;
}

function productProblems(
  id: CardId,
  deviceId: string | null,
  product: Product | null,
  sysfs: SysfsCard | null,
): readonly Problem[] {
  if (product !== null) return [];
  const message = `device id ${deviceId ?? 'unknown'} of ${id} is no product this version knows`;
  return [problem('PRODUCT_UNKNOWN', message, sysfs?.directory ?? 'sys/class/kfd')];
}

function guestProblems(
  id: CardId,
  guest: { readonly virtualFunction: boolean; readonly virtualMachine: boolean | null },
): readonly Problem[] {
  if (guest.virtualFunction) {
    const message = `${id} is a virtual function: its layout is set by the host of this virtual machine`;
    return [problem('CARD_IS_VIRTUAL', message, 'sys/module/amdgpu/drivers/pci:amdgpu')];
  }
  if (guest.virtualMachine !== true) return [];
  const message = `${id} is passed through to a virtual machine: layouts are changed on bare metal only`;
  return [problem('CARD_IS_PASSED_THROUGH', message, 'proc/cpuinfo')];
}

function sysfsAbsent(id: CardId): Problem {
  const message = `${id} has no directory in sysfs: its memory mode, NUMA node, whole memory and what it offers are unknown`;
  return problem('SYSFS_CARD_ABSENT', message, 'sys/module/amdgpu/drivers/pci:amdgpu');
}

function memoryDisagrees(id: CardId, sysfs: SysfsCard | null): Problem {
  const message = `mem_info_vram_total of ${id} is less than what KFD lets one partition allocate: KFD is right, the whole is unknown`;
  return problem('MEMORY_DISAGREES', message, `${sysfs?.directory ?? ''}/mem_info_vram_total`);
}

/** Too many partitions for the mode, too few, or of the wrong size. */
function partitionProblems(
  id: CardId,
  product: Product | null,
  compute: ComputeMode | null,
  partitions: readonly ObservedPartition[],
): readonly Problem[] {
  if (product === null || compute === null || partitions.length === 0) return [];
  const want = partitionCount(compute, product.xcds);
  const disagrees = (what: string): readonly Problem[] => [
    problem(
      'LAYOUT_DISAGREES',
      `${id} says it is in ${compute}, which has ${want} partitions${what}. A switch may be under way: look again`,
      KFD_NODES,
    ),
  ];
  if (partitions.length > want) return disagrees(`, but KFD shows ${partitions.length}`);
  const odd = partitions.find((partition) => partition.xcds * want !== product.xcds);
  if (odd !== undefined)
    return disagrees(` of ${product.xcds / want} XCDs, but KFD shows one of ${odd.xcds}`);
  if (partitions.length === want) return [];
  const there = new Set(partitions.map((partition) => partition.index));
  const missing = Array.from({ length: want }, (_, index) => index).filter(
    (index) => !there.has(index),
  );
  const message = `${id} in ${compute} shows ${partitions.length} of ${want} partitions${missing.length === 0 ? '' : `; missing: ${missing.join(', ')}`}. The driver runs out of DRM minors when another display driver, such as a BMC's, takes one`;
  return [problem('PARTITION_MISSING', message, KFD_NODES)];
}

/** What a card's partitions do not say, once for each kind of fact. */
function missingFacts(
  sources: CardSources,
  partitions: readonly ObservedPartition[],
): readonly Problem[] {
  const { id, drm } = sources;
  if (partitions.length === 0) {
    const message = `KFD has no node of ${id}: its partitions are unknown`;
    return [problem('KFD_CARD_ABSENT', message, KFD_NODES)];
  }
  const told = (
    code: string,
    what: string,
    lacks: readonly ObservedPartition[],
  ): readonly Problem[] =>
    lacks.length === 0
      ? []
      : [
          problem(
            code,
            `${what} of partition ${lacks.map((partition) => partition.index).join(', ')} of ${id}`,
            `${KFD_NODES}/${lacks[0]?.kfdNode ?? ''}`,
          ),
        ];
  const minors = drm.renderMinors;
  const broken = new Set(sources.nodes.filter((node) => node.bankBroken).map((node) => node.index));
  return [
    ...told(
      'KFD_BANK_ABSENT',
      'KFD shows no memory bank',
      partitions.filter(
        ({ memoryBytes, kfdNode }) => memoryBytes === null && !broken.has(kfdNode ?? -1),
      ),
    ),
    ...told(
      'KFD_MINOR_ABSENT',
      'KFD shows no render node',
      partitions.filter((partition) => partition.renderMinor === null),
    ),
    ...told(
      'RENDER_NODE_MISSING',
      'the host has no such render node as KFD shows',
      partitions.filter(
        ({ renderMinor }) => renderMinor !== null && minors !== null && !minors.has(renderMinor),
      ),
    ),
  ];
}
