/**
 * The whole machine as a tree: what can be read of it at a time. Pure; the parts are in kfd-image.ts and card-image.ts.
 */
import type { CardId, Inventory } from '@aim-gpu/core';
import type { KernelVariant } from '../kernel.js';
import { holdersOf, type MachineState, type ProcessState } from '../machine.js';
import { addCard, addModule } from './card-image.js';
import { addKfdTopology } from './kfd-image.js';
import { createTreeBuilder, type TreeBuilder, type TreeImage } from './tree-image.js';

/** Makes the tree of a machine. */
export function toTreeImage(options: {
  readonly state: MachineState;
  readonly inventory: Inventory;
  readonly kernel: KernelVariant;
  /** What `xcp_config` of a card was asked to describe. */
  readonly described: ReadonlyMap<CardId, string>;
}): TreeImage {
  const { state, inventory, kernel, described } = options;
  const tree = createTreeBuilder();
  const used = (card: CardId): number =>
    state.processes
      .filter((entry) => entry.card === card && entry.goneAtMs === null)
      .reduce((sum, entry) => sum + entry.memoryBytes, 0);
  const loaded = inventory.cards.length > 0;
  tree.file('proc/modules', loaded ? `amdgpu 20000000 ${state.processes.length} - Live 0x0\n` : '');
  for (const card of state.cards) {
    // The bus knows a card also while no driver does.
    if (!loaded) tree.file(`sys/devices/pci0000:00/${card.id}/vendor`, '0x1002');
  }
  if (loaded) {
    addModule(tree, kernel, state.processes.length);
    addKfdTopology(tree, { inventory, kernel, usedBytes: (card) => used(card.id) });
    inventory.cards.forEach((card, position) => {
      const known = state.cards[position];
      if (known === undefined) return;
      addCard(tree, {
        card,
        state: known,
        position,
        kernel,
        usedBytes: used(card.id),
        described: described.get(card.id) ?? null,
      });
    });
  }
  addProcesses(tree, inventory, holdersOf(state, null));
  return tree.image;
}

/** Processes that hold cards, as /proc shows them: each has the compute driver and its partition's render node open. */
function addProcesses(
  tree: TreeBuilder,
  inventory: Inventory,
  processes: readonly ProcessState[],
): void {
  const descriptors = new Map<number, number>();
  for (const process of processes) {
    const directory = `proc/${process.pid}`;
    const first = descriptors.get(process.pid) ?? 3;
    if (first === 3) {
      tree.file(`${directory}/comm`, process.command ?? '');
      tree.file(`${directory}/status`, `Name:\t${process.command ?? ''}\nUid:\t0\t0\t0\t0\n`);
      tree.link(`${directory}/fd/3`, '/dev/kfd');
    }
    const next = first === 3 ? 4 : first;
    const card = inventory.cards.find((entry) => entry.id === process.card);
    const partition = card?.partitions.find((entry) => entry.index === process.partition);
    if (partition?.renderMinor != null) {
      tree.link(`${directory}/fd/${next}`, `/dev/dri/renderD${partition.renderMinor}`);
    }
    descriptors.set(process.pid, next + 1);
  }
}
