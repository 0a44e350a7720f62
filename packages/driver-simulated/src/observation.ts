/**
 * What a driver reads from the simulated machine at a time: from state to inventory. Pure. Owns numbering (render
 * nodes, KFD nodes, UUIDs) and what is hidden while a change is under way.
 */
import { createHash } from 'node:crypto';
import type { Inventory, NodeName, ObservedCard, ObservedPartition, Problem } from '@aim-gpu/core';
import { partitionGeometry } from '@aim-gpu/core/products';
import { type KernelVariant, offeredLayouts } from './kernel.js';
import { type CardState, type MachineState, partitionsOf, phaseOf, productOf } from './machine.js';

/** The driver id of simulated nodes. */
export const DRIVER_ID = 'simulated';

/** First render node of the kernel; each card owns eight minors, whatever its mode (amdgpu_xcp.c). */
const FIRST_RENDER_MINOR = 128;
const RENDER_MINORS_PER_CARD = 8;
/** KFD lists the CPU sockets before the GPUs. */
const CPU_NODES = 2;

/** Reads the machine. The generation follows from what is seen and from the number of changes asked for. */
export function observe(options: {
  readonly node: NodeName;
  readonly state: MachineState;
  readonly nowMs: number;
  readonly kernel: KernelVariant;
}): Inventory {
  const { node, state, nowMs, kernel } = options;
  const reload = state.reloading === null ? 'done' : phaseOf(state.reloading, nowMs);
  const loaded = reload !== 'changing';
  const kfdNodes = loaded ? numberKfdNodes(state, nowMs) : new Map<string, number>();
  const cards = loaded
    ? state.cards.map((card, index) => observeCard({ card, index, state, nowMs, kernel, kfdNodes }))
    : [];
  const problems = loaded ? state.cards.flatMap((card) => problemsOf(card, nowMs)) : [RELOADING];
  const seen = JSON.stringify([cards, problems]);
  const digest = createHash('sha256').update(seen).digest('hex').slice(0, 12);
  return { node, driver: DRIVER_ID, generation: `${state.revision}-${digest}`, cards, problems };
}

const RELOADING: Problem = {
  code: 'DRIVER_RELOADING',
  message: 'the GPU driver is being reloaded; no card can be seen',
  where: 'amdgpu',
};

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

function numberKfdNodes(state: MachineState, nowMs: number): Map<string, number> {
  const numbers = new Map<string, number>();
  const listed = [...state.cards].sort((a, b) => a.topologyRank - b.topologyRank);
  let next = CPU_NODES;
  for (const card of listed) {
    for (let index = 0; index < visiblePartitions(card, state, nowMs); index += 1) {
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
    .map(
      (partition): ObservedPartition => ({
        index: partition.index,
        xcds: partition.xcds,
        computeUnits: partition.computeUnits,
        memoryBytes: partition.memoryBytes,
        renderMinor: FIRST_RENDER_MINOR + RENDER_MINORS_PER_CARD * index + partition.index,
        uuid: uuidOf(card, partition.index, kernel),
        kfdNode: kfdNodes.get(`${card.id}/${partition.index}`) ?? null,
      }),
    );
  return {
    id: card.id,
    product: card.product,
    hive: card.hive,
    numaNode: index < state.cards.length / 2 ? 0 : 1,
    memoryBytes: product.memoryBytes,
    layout: visible === 0 ? { compute: null, memory: card.memory } : layout,
    partitions,
    offered: offeredLayouts(product, kernel),
    writable: true,
  };
}

/**
 * A partition's UUID in amd-smi's form: first byte of the serial, `ff`, PCI device id, then the other seven bytes
 * (from the published pair serial 0xC62AC130EE448403 and c6ff75a3-0000-1000-802a-c130ee448403). Null where the driver
 * gives all partitions of a card the same one.
 */
function uuidOf(card: CardState, partition: number, kernel: KernelVariant): string | null {
  const own = kernel.uuid === 'partition' || partitionsOf(card) === 1;
  if (!own) return null;
  const unit = kernel.uuid === 'partition' ? `${card.id}/${partition}` : card.id;
  const serial = createHash('sha256').update(unit).digest('hex').slice(0, 16);
  const device = productOf(card).pciIds.find((entry) => !entry.virtual)?.id ?? '0000';
  return `${serial.slice(0, 2)}ff${device}-0000-1000-80${serial.slice(2, 4)}-${serial.slice(4)}`;
}
