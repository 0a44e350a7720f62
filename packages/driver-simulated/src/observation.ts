/**
 * What a driver reads from the simulated machine at a time: from state to inventory. Pure. Owns numbering (render
 * nodes, KFD nodes, UUIDs) and what is hidden while a change is under way.
 */
import { createHash } from 'node:crypto';
import {
  type CardId,
  type Inventory,
  type NodeName,
  type ObservedCard,
  type ObservedPartition,
  type Problem,
  partitionCount,
} from '@aim-gpu/core';
import { partitionGeometry } from '@aim-gpu/core/products';
import { type KernelVariant, offeredLayouts } from './kernel.js';
import { type CardState, type MachineState, partitionsOf, phaseOf, productOf } from './machine.js';

/** The driver id of simulated nodes. */
export const DRIVER_ID = 'simulated';

/** First render node of the kernel; each card owns eight minors, whatever its mode (amdgpu_xcp.c). */
const FIRST_RENDER_MINOR = 128;
const RENDER_MINORS_PER_CARD = 8;
/** KFD lists the CPU sockets before the GPUs. */
export const CPU_NODES = 2;
/** 64 render minors in all (DRM_MINOR_RENDER); a management controller's display leaves 63 (captured). */
const LAST_RENDER_MINOR = FIRST_RENDER_MINOR + 63;

/** Reads the machine. The generation follows from what is seen and from the number of changes asked for. */
export function observe(options: {
  readonly node: NodeName;
  readonly state: MachineState;
  readonly nowMs: number;
  readonly kernel: KernelVariant;
}): Inventory {
  const { node, state, nowMs, kernel } = options;
  const reload = state.reloading === null ? 'done' : phaseOf(state.reloading, nowMs);
  const loaded = reload !== 'changing' && state.unloaded !== true;
  const kfdNodes = loaded ? numberKfdNodes(state, nowMs, kernel) : new Map<string, number>();
  const cards = loaded
    ? state.cards.map((card, index) => observeCard({ card, index, state, nowMs, kernel, kfdNodes }))
    : [];
  const problems = loaded
    ? [...state.cards.flatMap((card) => problemsOf(card, nowMs)), ...cards.flatMap(disagreements)]
    : [state.unloaded === true ? UNLOADED : RELOADING];
  const seen = JSON.stringify([cards, problems]);
  const digest = createHash('sha256').update(seen).digest('hex').slice(0, 12);
  return { node, driver: DRIVER_ID, generation: `${state.revision}-${digest}`, cards, problems };
}

const RELOADING: Problem = {
  code: 'DRIVER_RELOADING',
  message: 'the GPU driver is being reloaded; no card can be seen',
  where: 'amdgpu',
};

const UNLOADED: Problem = {
  code: 'DRIVER_UNLOADED',
  message: 'the GPU driver is not loaded; no card can be seen',
  where: 'amdgpu',
};

/** A card that shows other partitions than its mode has: still appearing, without a render minor, or wrongly reported. */
function disagreements(card: ObservedCard): readonly Problem[] {
  const { compute } = card.layout;
  if (compute === null || card.product === null) return [];
  const want = partitionCount(compute, productOf({ product: card.product }).xcds);
  const seen = card.partitions.length;
  if (seen === want) return [];
  return [
    {
      code: seen < want ? 'PARTITION_MISSING' : 'LAYOUT_DISAGREES',
      message: `${card.id} in ${compute} shows ${seen} of ${want} partitions`,
      where: card.id,
    },
  ];
}

function problemsOf(card: CardState, nowMs: number): readonly Problem[] {
  if (card.switching === null || phaseOf(card.switching, nowMs) !== 'changing') return [];
  return [
    {
      code: 'DEVICE_IN_RESET',
      message: `card ${card.id} is being switched; reading its mode fails with EPERM`,
      where: card.id,
    },
  ];
}

/** How many partitions can be seen: none in a switch, the first alone while the others are still appearing. */
function visiblePartitions(card: CardState, state: MachineState, nowMs: number): number {
  const window = card.switching ?? state.reloading;
  const phase = window === null ? 'done' : phaseOf(window, nowMs);
  if (phase === 'changing') return 0;
  return phase === 'settling' ? 1 : partitionsOf(card);
}

/** N of /dev/dri/renderDN of a partition of the card at `position`; null when the node has run out of them. */
function renderMinorOf(kernel: KernelVariant, position: number, partition: number): number | null {
  const minor = FIRST_RENDER_MINOR + RENDER_MINORS_PER_CARD * position + partition;
  return minor > (kernel.bmc ? LAST_RENDER_MINOR - 1 : LAST_RENDER_MINOR) ? null : minor;
}

function numberKfdNodes(
  state: MachineState,
  nowMs: number,
  kernel: KernelVariant,
): Map<string, number> {
  const numbers = new Map<string, number>();
  const listed = [...state.cards].sort((a, b) => a.topologyRank - b.topologyRank);
  let next = CPU_NODES;
  for (const card of listed) {
    const position = state.cards.indexOf(card);
    for (let index = 0; index < visiblePartitions(card, state, nowMs); index += 1) {
      if (renderMinorOf(kernel, position, index) === null) continue;
      numbers.set(`${card.id}/${index}`, next);
      next += 1;
    }
  }
  return numbers;
}

function observeCard(options: {
  readonly card: CardState;
  readonly index: number;
  readonly state: MachineState;
  readonly nowMs: number;
  readonly kernel: KernelVariant;
  readonly kfdNodes: ReadonlyMap<string, number>;
}): ObservedCard {
  const { card, index, state, nowMs, kernel, kfdNodes } = options;
  const product = productOf(card);
  const visible = visiblePartitions(card, state, nowMs);
  const layout = { compute: card.compute, memory: card.memory };
  const partitions = partitionGeometry(product, layout)
    .slice(0, visible)
    .flatMap((partition): readonly ObservedPartition[] => {
      const renderMinor = renderMinorOf(kernel, index, partition.index);
      // KFD leaves out a partition that got no render minor.
      if (renderMinor === null) return [];
      const { xcds, computeUnits, memoryBytes } = partition;
      return [
        {
          index: partition.index,
          xcds,
          computeUnits,
          memoryBytes,
          renderMinor,
          uuid: uuidOf(card, partition, kernel),
          kfdNode: kfdNodes.get(`${card.id}/${partition.index}`) ?? null,
        },
      ];
    });
  return {
    id: card.id,
    product: card.product,
    hive: card.hive,
    numaNode: index < state.cards.length / 2 ? 0 : 1,
    // Memory that is the CPU's too has no file that tells its whole; only an undivided card says it.
    memoryBytes: product.unifiedMemory && partitions.length !== 1 ? null : product.memoryBytes,
    layout: {
      compute: visible === 0 ? null : (card.says?.compute ?? card.compute),
      memory: card.memory,
    },
    partitions,
    offered: offeredLayouts(product, kernel),
    writable: true,
  };
}

/**
 * A partition's UUID as ROCr and HIP know it: the unique id of its first XCD. Null where the driver gives all
 * partitions of a card the card's.
 */
function uuidOf(
  card: CardState,
  partition: { readonly index: number; readonly xcds: number },
  kernel: KernelVariant,
): string | null {
  if (kernel.uuid === 'card' && partitionsOf(card) > 1) return null;
  return `GPU-${serialOf(card.id, partition.index * partition.xcds)}`;
}

/** The unique id of an XCD, 16 hex digits; that of the first is the card's own. */
export function serialOf(card: CardId, xcd: number = 0): string {
  const digest = createHash('sha256').update(`${card}/${xcd}`).digest('hex');
  // Zero stands for none, so the first digit never is.
  return `c${digest.slice(0, 15)}`;
}
