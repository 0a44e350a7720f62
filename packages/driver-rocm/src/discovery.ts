/**
 * Discovery: reads KFD and sysfs, each file once and all at a time, and puts the cards together. Spawns no process and
 * writes nothing. What a card is, is in card-assembly.ts.
 */
import { createHash } from 'node:crypto';
import type {
  CallOptions,
  CardId,
  Inventory,
  NodeName,
  ObservedCard,
  Problem,
} from '@aim-gpu/core';
import { toCard } from './card-assembly.js';
import type { FileTree } from './file-tree.js';
import { KFD_NODES, type KfdNode, readKfdTopology } from './kfd-topology.js';
import { type DrmDevices, readDrmDevices } from './platform-devices.js';
import { problem } from './problems.js';
import {
  type CardDirectory,
  findCardDirectories,
  readSysfsCard,
  type SysfsCard,
} from './sysfs-card.js';
import { isVirtualMachine } from './virtual-machine.js';

/** What discovery read, beside the inventory made of it. */
export interface Discovery {
  readonly inventory: Inventory;
  /** Where each card's own files are, for those who read more of them. */
  readonly directories: readonly CardDirectory[];
}

/** Reads every card of a host or of a recorded tree. Spawns nothing and reads no file twice. */
export async function discoverCards(
  options: CallOptions & { readonly tree: FileTree; readonly node: NodeName },
): Promise<Discovery> {
  const { tree, node, signal } = options;
  signal?.throwIfAborted();
  const [topology, sysfs, virtualMachine] = await Promise.all([
    readKfdTopology(tree),
    readSysfs(tree),
    isVirtualMachine(tree),
  ]);
  signal?.throwIfAborted();
  const nodesOf = groupByCard(topology.nodes);
  const sysfsOf = new Map(sysfs.cards.map((card) => [card.id, card]));
  const ids = new Set<CardId>([...nodesOf.keys(), ...sysfsOf.keys()]);
  const found = [...ids].sort().map((id) =>
    toCard({
      id,
      nodes: nodesOf.get(id) ?? [],
      sysfs: sysfsOf.get(id) ?? null,
      drm: sysfs.drm,
      kfdPresent: topology.present,
      virtualMachine,
    }),
  );
  const cards = found.map(({ card }) => card);
  const problems = [
    ...topology.problems,
    ...sysfs.problems,
    ...sysfs.cards.flatMap((card) => card.problems),
    ...found.flatMap((entry) => entry.problems),
  ];
  if (!topology.present && sysfs.cards.length > 0) {
    const message =
      'there is no KFD topology: partitions, their capacity and their render nodes are unknown';
    problems.push(problem('KFD_ABSENT', message, KFD_NODES));
  }
  const generation = generationOf(cards);
  return {
    inventory: { node, driver: 'rocm', generation, cards, problems },
    directories: sysfs.cards.map(({ id, directory }) => ({ id, directory })),
  };
}

async function readSysfs(tree: FileTree): Promise<{
  readonly cards: readonly SysfsCard[];
  readonly drm: DrmDevices;
  readonly problems: readonly Problem[];
}> {
  const drm = await readDrmDevices(tree);
  const { directories, problems } = await findCardDirectories(tree, drm.names);
  const cards = await Promise.all(directories.map((place) => readSysfsCard(tree, place)));
  return { cards: cards.flatMap((card) => (card === null ? [] : [card])), drm, problems };
}

function groupByCard(nodes: readonly KfdNode[]): ReadonlyMap<CardId, readonly KfdNode[]> {
  const groups = new Map<CardId, KfdNode[]>();
  for (const node of nodes) {
    const group = groups.get(node.card);
    if (group === undefined) groups.set(node.card, [node]);
    else group.push(node);
  }
  return groups;
}

function generationOf(cards: readonly ObservedCard[]): string {
  return createHash('sha256').update(JSON.stringify(cards)).digest('hex').slice(0, 16);
}
