/**
 * Watching by polling: Node cannot listen to udev's netlink socket. A look at an idle node costs a few small files: the
 * modes of each card, the names of KFD's nodes and its generation number, which the kernel raises with every change of
 * its topology (kfd_topology.c). Only when one of them differs, shortly after that, or when a minute has gone by, is
 * everything read again.
 */
import type { Clock, Inventory, InventoryEvent } from '@aim-gpu/core';
import type { Discovery } from './discovery.js';
import { type FileTree, namesIn, textOf } from './file-tree.js';
import { KFD_NODES } from './kfd-topology.js';

const GENERATION = 'sys/class/kfd/kfd/topology/generation_id';
const MODES = ['current_compute_partition', 'current_memory_partition'];
const FULL_LOOK_MS = 60_000;
// Devices of a new mode appear 1 to 2 s after the mode does, at the latest after 5 s (AMD-AGI/Hyperloom).
const SETTLE_MS = 5000;

/** Options of {@link watchInventory}. */
export interface WatchOptions {
  readonly tree: FileTree;
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly discover: () => Promise<Discovery>;
  readonly onEvent: (event: InventoryEvent) => void;
}

/** Calls back on each change of the inventory until the returned function is called. Never throws. */
export function watchInventory(options: WatchOptions): () => void {
  const { tree, clock, intervalMs, discover, onEvent } = options;
  let before: Inventory | null = null;
  let mark: string | null = null;
  let lastFullMs = Number.NEGATIVE_INFINITY;
  let restlessUntilMs = Number.NEGATIVE_INFINITY;
  let directories: readonly string[] = [];
  let cancel = (): void => undefined;
  let stopped = false;

  const look = async (): Promise<void> => {
    const now = clock.monoMs();
    const current = await readMark(tree, directories);
    const changed = current === null || current !== mark;
    if (changed) restlessUntilMs = now + SETTLE_MS;
    const due = now < restlessUntilMs || now - lastFullMs >= FULL_LOOK_MS;
    const event = changed || due ? await lookFully(now) : null;
    if (stopped) return;
    cancel = clock.timer(intervalMs, () => void look());
    if (event !== null) tell(onEvent, event);
  };

  const lookFully = async (now: number): Promise<InventoryEvent | null> => {
    const found = await discover();
    directories = found.directories.map((place) => place.directory);
    // Taken after the reading: what changes in between shows in the next look.
    mark = await readMark(tree, directories);
    lastFullMs = now;
    const previous = before;
    before = found.inventory;
    return previous !== null && previous.generation !== before.generation
      ? { before: previous, after: before }
      : null;
  };

  void look();
  return () => {
    stopped = true;
    cancel();
  };
}

/** What changes whenever a layout does; null where the kernel has no generation number, so that nothing is proven. */
async function readMark(tree: FileTree, directories: readonly string[]): Promise<string | null> {
  const [generation, nodes] = await Promise.all([
    textOf(tree, GENERATION),
    namesIn(tree, KFD_NODES),
  ]);
  if (generation === null) return null;
  const modes = await Promise.all(
    directories.flatMap((directory) => MODES.map((name) => textOf(tree, `${directory}/${name}`))),
  );
  return [generation, nodes.join(' '), ...modes].join('\n');
}

/** A listener that throws ends neither the watch nor, as a rejection nobody awaits, the process. */
function tell(onEvent: (event: InventoryEvent) => void, event: InventoryEvent): void {
  try {
    onEvent(event);
  } catch {
    // Its error is the listener's own to report; the port has no place for it.
  }
}
