/**
 * The driver of real AMD GPUs: the GpuDriver port over sysfs and KFD. Owns the composition only; what is read is in
 * discovery.ts, what is changed in layout-changes.ts.
 */
import type {
  CallOptions,
  CardId,
  Clock,
  GpuDriver,
  Logger,
  NodeName,
  ObservedCard,
} from '@aim-gpu/core';
import { type CardHealth, type MemoryAllocationMode, readCardHealth } from './card-health.js';
import { unknownCard, unsupportedMode } from './change-errors.js';
import { type ChangeTiming, REAL_TIMING } from './change-timing.js';
import { type CommandRunner, createHostCommands } from './command-runner.js';
import { assertDeviceAccess } from './device-access.js';
import { readHolders } from './device-holders.js';
import { type Discovery, discoverCards } from './discovery.js';
import type { FileTree } from './file-tree.js';
import { createHostFiles } from './host-files.js';
import { watchInventory } from './inventory-watch.js';
import { createLayoutChanges } from './layout-changes.js';
import { runCleanerShader, setIsolation, setMemoryAllocation } from './partition-hygiene.js';
import type { CardDirectory } from './sysfs-card.js';

/** Options of {@link createRocmDriver}. */
export interface RocmDriverOptions {
  readonly node: NodeName;
  readonly clock: Clock;
  /** Directory that holds `sys` and `proc`; `/` unless a recorded tree is read. */
  readonly root?: string;
  /** Files in place of those below `root`: those of a capture, or ones that fail as a test wants them to. */
  readonly files?: FileTree;
  /** Programs (amd-smi, modprobe) in place of those of this host; they are looked for below `root`. */
  readonly commands?: CommandRunner;
  /** Time between two looks of a watch; 1 s unless said otherwise. */
  readonly watchIntervalMs?: number;
  /**
   * Whether `reload` may unload and load amdgpu with modprobe, which stops every GPU of the node; no unless said.
   * Without it `reload` throws `ERR_RELOAD_NOT_ALLOWED` (refused).
   */
  readonly allowReload?: boolean;
  /** Times of changes; those measured on real machines unless said otherwise. */
  readonly timing?: Partial<ChangeTiming>;
  /** Told which way each change took and why. */
  readonly logger?: Logger;
}

/** The GpuDriver port, and what only real cards have. */
export interface RocmDriver extends GpuDriver {
  /** Health of every card: RAS, reset, memory in use, isolation. Reads only. */
  health(options?: CallOptions): Promise<readonly CardHealth[]>;
  /**
   * Checks that there are cards and that this process may open the device files that engines need. Throws
   * `ERR_DEVICE_UNKNOWN` (missing) and `ERR_DRIVER_PERMISSION` (denied); absent files are not judged.
   */
  assertUsable(options?: CallOptions): Promise<void>;
  /**
   * Lets each partition of a card allocate its even part of the memory domain, or all of it. Lost with every compute
   * switch. Throws `ERR_LAYOUT_UNSUPPORTED` (refused) where the kernel has no such file, else as `setComputeMode`.
   */
  setMemoryAllocation(
    card: CardId,
    mode: MemoryAllocationMode,
    options?: CallOptions,
  ): Promise<void>;
  /** Makes processes of one partition take turns, with the cleaner shader between them. Throws as above. */
  setIsolation(
    card: CardId,
    partition: number,
    isolated: boolean,
    options?: CallOptions,
  ): Promise<void>;
  /** Wipes registers and local memory of one partition, for the hand-over between tenants. Throws as above. */
  cleanPartition(card: CardId, partition: number, options?: CallOptions): Promise<void>;
}

/**
 * Makes a driver of this host's AMD GPUs, or of those of a recorded or simulated tree. Reading starts no process;
 * changing writes the kernel's files, or asks amd-smi where there are none, and always reads back.
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
    throw unknownCard(
      node,
      card,
      cards.map((entry) => entry.id),
    );
  };
  const placeOf = async (card: CardId, call: CallOptions = {}): Promise<CardDirectory> => {
    await cardOf(card, call);
    const place = (await discover(call)).directories.find((entry) => entry.id === card);
    if (place !== undefined) return place;
    throw unsupportedMode(`changing ${card}`, 'its directory in sysfs was not found');
  };
  const changes = createLayoutChanges({
    host: {
      tree,
      root,
      commands: options.commands ?? createHostCommands({ clock }),
      clock,
      timing: { ...REAL_TIMING, ...options.timing },
      logger: options.logger ?? null,
    },
    node,
    discover,
    holdersOf: (card) => readHolders(tree, card),
    allowReload: options.allowReload ?? false,
  });

  return {
    specVersion: 1,
    id: 'rocm',
    discover: async (call) => (await discover(call)).inventory,
    ...changes,
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
    assertUsable: async (call) => assertDeviceAccess(tree, (await discover(call)).inventory),
    setMemoryAllocation: async (card, mode, call) =>
      setMemoryAllocation(tree, await placeOf(card, call), mode),
    setIsolation: async (card, partition, isolated, call) =>
      setIsolation(tree, await placeOf(card, call), partition, isolated),
    cleanPartition: async (card, partition, call) =>
      runCleanerShader(tree, await placeOf(card, call), partition),
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
