/**
 * The driver of real AMD GPUs: the GpuDriver port over sysfs and KFD. Owns the composition only; what is read is in
 * discovery.ts. Changing a layout is refused with a clear error until it is proven; nothing here pretends.
 */
import {
  AimError,
  type CallOptions,
  type CardId,
  type Clock,
  type GpuDriver,
  type NodeName,
  type ObservedCard,
} from '@aim-gpu/core';
import { type CardHealth, readCardHealth } from './card-health.js';
import { readHolders } from './device-holders.js';
import { type Discovery, discoverCards } from './discovery.js';
import type { FileTree } from './file-tree.js';
import { createHostFiles } from './host-files.js';
import { watchInventory } from './inventory-watch.js';

/** Options of {@link createRocmDriver}. */
export interface RocmDriverOptions {
  readonly node: NodeName;
  readonly clock: Clock;
  /** Directory that holds `sys` and `proc`; `/` unless a recorded tree is read. */
  readonly root?: string;
  /** Files in place of those below `root`: those of a capture, or ones that fail as a test wants them to. */
  readonly files?: FileTree;
  /** Time between two looks of a watch; 1 s unless said otherwise. */
  readonly watchIntervalMs?: number;
}

/** The GpuDriver port, and what only real cards have. */
export interface RocmDriver extends GpuDriver {
  /** Health of every card: RAS, reset, memory in use, isolation. Reads only. */
  health(options?: CallOptions): Promise<readonly CardHealth[]>;
}

/**
 * Makes a driver that reads this host's AMD GPUs, or those of a recorded tree. Starts no process. `setComputeMode`,
 * `stageMemoryMode` and `reload` throw `ERR_DRIVER_READ_ONLY` (refused).
 */
export function createRocmDriver(options: RocmDriverOptions): RocmDriver {
  const { node, clock, root = '/', watchIntervalMs = 1000 } = options;
  const tree = options.files ?? createHostFiles(root);
  const watchers = new Set<() => void>();
  const discover = (call: CallOptions = {}): Promise<Discovery> =>
    discoverCards({ tree, node, ...call });

  const cardOf = async (card: CardId, call: CallOptions = {}): Promise<ObservedCard> => {
    const { cards } = (await discover(call)).inventory;
    const found = cards.find((entry) => entry.id === card);
    if (found !== undefined) return found;
    throw new AimError({
      code: 'ERR_DEVICE_UNKNOWN',
      kind: 'missing',
      message: `${node} has no card ${card}`,
      hint: `cards are: ${cards.map((entry) => entry.id).join(', ') || 'none'}`,
    });
  };

  return {
    specVersion: 1,
    id: 'rocm',
    discover: async (call) => (await discover(call)).inventory,
    setComputeMode: (card) => Promise.reject(readOnly(`switching the compute mode of ${card}`)),
    stageMemoryMode: (card) => Promise.reject(readOnly(`switching the memory mode of ${card}`)),
    reload: () => Promise.reject(readOnly('reloading the driver')),
    holders: async (card, call) => readHolders(tree, await cardOf(card, call)),
    health: async (call) => {
      const { inventory, directories } = await discover(call);
      return Promise.all(
        inventory.cards.map((card) =>
          readCardHealth(
            tree,
            card,
            directories.find((place) => place.id === card.id),
          ),
        ),
      );
    },
    watch: (onEvent) => {
      const cancel = watchInventory({
        tree,
        clock,
        intervalMs: watchIntervalMs,
        discover: () => discover(),
        onEvent,
      });
      const stop = (): void => {
        cancel();
        watchers.delete(stop);
      };
      watchers.add(stop);
      return stop;
    },
    close: () => {
      for (const stop of [...watchers]) stop();
      return Promise.resolve();
    },
  };
}

function readOnly(what: string): AimError {
  return new AimError({
    code: 'ERR_DRIVER_READ_ONLY',
    kind: 'refused',
    message: `${what} is not done by this version: it has only been proven on recordings`,
    hint: 'set the layout with amd-smi and use `policy.repartition.allow: false`',
  });
}
