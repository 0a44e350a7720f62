/**
 * The driver of real AMD GPUs, reading side: the GpuDriver port over sysfs and KFD. Changing a layout is refused with a
 * clear error until it is proven; nothing here pretends.
 */
import {
  AimError,
  type CallOptions,
  type CardId,
  type Clock,
  type DeviceHolder,
  type GpuDriver,
  type Inventory,
  type InventoryEvent,
  type NodeName,
} from '@aim-gpu/core';
import { readHolders } from './device-holders.js';
import { discoverCards } from './discovery.js';
import { createFileTree } from './file-tree.js';

/** Options of {@link createRocmDriver}. */
export interface RocmDriverOptions {
  readonly node: NodeName;
  readonly clock: Clock;
  /** Directory that holds `sys` and `proc`; `/` unless a recorded tree is read. */
  readonly root?: string;
  /** Time between two looks of a watch; 1 s unless said otherwise. */
  readonly watchIntervalMs?: number;
}

/**
 * Makes a driver that reads this host's AMD GPUs, or those of a recorded tree. Starts no process. `setComputeMode`,
 * `stageMemoryMode` and `reload` throw `ERR_DRIVER_READ_ONLY` (refused).
 */
export function createRocmDriver(options: RocmDriverOptions): GpuDriver {
  const { node, clock, root = '/', watchIntervalMs = 1000 } = options;
  const tree = createFileTree(root);
  const watchers = new Set<() => void>();
  const discover = (call: CallOptions = {}): Promise<Inventory> =>
    discoverCards({ tree, node, ...call });

  const watch = (onEvent: (event: InventoryEvent) => void): (() => void) => {
    let before: Inventory | null = null;
    let cancel = (): void => undefined;
    let stopped = false;
    const look = async (): Promise<void> => {
      const after = await discover();
      if (stopped) return;
      const event =
        before !== null && before.generation !== after.generation ? { before, after } : null;
      before = after;
      cancel = clock.timer(watchIntervalMs, () => void look());
      if (event !== null) tell(onEvent, event);
    };
    void look();
    const stop = (): void => {
      stopped = true;
      cancel();
      watchers.delete(stop);
    };
    watchers.add(stop);
    return stop;
  };

  return {
    specVersion: 1,
    id: 'rocm',
    discover,
    setComputeMode: (card) => Promise.reject(readOnly(`switching the compute mode of ${card}`)),
    stageMemoryMode: (card) => Promise.reject(readOnly(`switching the memory mode of ${card}`)),
    reload: () => Promise.reject(readOnly('reloading the driver')),
    holders: (card, call) => holdersOf(card, call),
    watch,
    close: () => {
      for (const stop of [...watchers]) stop();
      return Promise.resolve();
    },
  };

  async function holdersOf(card: CardId, call: CallOptions = {}): Promise<readonly DeviceHolder[]> {
    const { cards } = await discover(call);
    const found = cards.find((entry) => entry.id === card);
    if (found === undefined) {
      throw new AimError({
        code: 'ERR_DEVICE_UNKNOWN',
        kind: 'missing',
        message: `${node} has no card ${card}`,
        hint: `cards are: ${cards.map((entry) => entry.id).join(', ') || 'none'}`,
      });
    }
    return readHolders(tree, found);
  }
}

/** A listener that throws ends neither the watch nor, as a rejection nobody awaits, the process. */
function tell(onEvent: (event: InventoryEvent) => void, event: InventoryEvent): void {
  try {
    onEvent(event);
  } catch {
    // Its error is the listener's own to report; the port has no place for it.
  }
}

function readOnly(what: string): AimError {
  return new AimError({
    code: 'ERR_DRIVER_READ_ONLY',
    kind: 'refused',
    message: `${what} is not done by this version: it has only been proven on recordings`,
    hint: 'set the layout with amd-smi and use `policy.repartition.allow: false`',
  });
}
