/**
 * The driver of a simulated node: the port's calls over the stored machine, with waiting, compare-and-set and watching.
 * Owns no rule of the machine; those are in kernel.ts and operations.ts.
 */
import {
  type CardId,
  type ChangeOptions,
  type Clock,
  createLease,
  type GpuDriver,
  type Inventory,
  type InventoryEvent,
  type Lease,
  type NodeName,
  type Rng,
  type SharedDevice,
  type SimulatedCard,
  type StateStore,
} from '@aim-gpu/core';
import { createFaultScript, type FaultControl, type FaultRule } from './faults.js';
import { type KernelVariant, NEWEST_KERNEL } from './kernel.js';
import { type ChangeRequest, createMachineChanges } from './machine-changes.js';
import { createMachineStore } from './machine-store.js';
import {
  createMaterializedMachine,
  type MaterializedMachine,
  type MaterializeOptions,
} from './materialize/materialized-machine.js';
import { DRIVER_ID } from './observation.js';
import { reboot, reloadDriver, stageMemory, switchCompute, toHolders } from './operations.js';
import { hostProcesses, type ProcessTable } from './process-table.js';
import { switchTimeout, unknownCard } from './refusals.js';
import { createSimulatedSharedDevice, detach } from './shared-device.js';
import type { SimulatedTiming } from './timing.js';

/** How long the kernel holds a card after its process has left. */
const LINGER_MS = 250;
const WATCH_INTERVAL_MS = 500;
/** Limits of a compute switch (AMD-AGI/Hyperloom) and of a reload (twice the longest progress bar of amd-smi). */
const COMPUTE_TIMEOUT_MS = 120_000;
const RELOAD_TIMEOUT_MS = 300_000;

/** Options of {@link createSimulatedDriver}. */
export interface SimulatedDriverOptions {
  readonly node: NodeName;
  /**
   * The cards of the machine. Left out: those of the machine in the store. Other cards than those in the store stand
   * for a machine that was opened: it starts anew, and is refused with `ERR_DEVICE_BUSY` while processes use it.
   */
  readonly cards?: readonly SimulatedCard[];
  readonly store: StateStore;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly timing: SimulatedTiming;
  /** Differences from the newest kernel. */
  readonly kernel?: Partial<KernelVariant>;
  /** What shall go wrong. */
  readonly faults?: readonly FaultRule[];
  /** `driver`: calls return when all partitions can be seen; `caller`: as early as the kernel does. */
  readonly settle?: 'driver' | 'caller';
  /** False makes every change fail with `ERR_DRIVER_PERMISSION`, as for a user who is not root. */
  readonly privileged?: boolean;
  /** The processes of the host. */
  readonly processes?: ProcessTable;
}

/** A driver over a simulated machine, with the controls a test needs. */
export interface SimulatedDriver extends GpuDriver {
  /** The machine as its engine processes see it. */
  readonly sharedDevice: SharedDevice;
  readonly faults: FaultControl;
  /**
   * Writes the machine into a directory as a live tree of `sys`, `proc` and `dev` and executables `amd-smi` and
   * `modprobe` in `bin`, until it is closed: a driver of real GPUs runs against it unchanged. Plain writes to its
   * partition files take effect within 100 ms; a plain file cannot refuse, so errors of a write are told by
   * {@link MaterializedMachine.write}, and those of the tools by exit code and text.
   * Throws `ERR_TREE_OCCUPIED` (conflict) for a directory that has other files in it, `ERR_STATE_IO` (unavailable).
   */
  materialize(directory: string, options?: MaterializeOptions): Promise<MaterializedMachine>;
  /** Cuts the power and switches the machine on again. */
  reboot(): Promise<Inventory>;
  /** Lets a process that is no engine, such as a metrics exporter, open a card until the lease is released. */
  hold(holder: {
    readonly card: CardId;
    readonly pid: number;
    readonly command: string;
  }): Promise<Lease>;
}

/**
 * Makes a driver of a simulated node. Cheap and without effects: the machine is created, in its products' initial
 * layouts, by the first call, and written down by the first change. Its calls throw as the port says, and
 * `ERR_CONFIG_INVALID` (invalid) for an unknown product, `ERR_STATE_CORRUPT` (internal) for an unreadable machine,
 * `ERR_DEVICE_UNKNOWN` (missing) when no cards were given and none are stored.
 */
export function createSimulatedDriver(options: SimulatedDriverOptions): SimulatedDriver {
  const { node, clock, rng, timing } = options;
  const kernel: KernelVariant = { ...NEWEST_KERNEL, ...options.kernel };
  const processes = options.processes ?? hostProcesses;
  const faults = createFaultScript(options.faults ?? []);
  const watchers = new Set<() => void>();
  const trees = new Set<MaterializedMachine>();
  const machine = createMachineStore({
    node,
    cards: options.cards ?? null,
    store: options.store,
    clock,
    processes,
    lingerMs: LINGER_MS,
  });

  const changes = createMachineChanges({
    node,
    machine,
    kernel,
    faults,
    clock,
    rng,
    timing,
    privileged: options.privileged !== false,
  });
  const { discover } = changes;
  const sharedDevice = createSimulatedSharedDevice({ node, machine, clock, kernel, processes });

  const change = async (
    what: Omit<ChangeRequest, 'expect'>,
    { expect, ...call }: ChangeOptions,
  ): Promise<Inventory> => {
    const window = await changes.begin({ ...what, expect }, call);
    if (window !== null) {
      const until = options.settle === 'caller' ? 'end' : 'visible';
      const limitMs = what.kind === 'compute' ? COMPUTE_TIMEOUT_MS : RELOAD_TIMEOUT_MS;
      const ended = await changes.waitAtMost(window, { ...call, until, limitMs });
      if (!ended) throw switchTimeout(what.call, limitMs);
    }
    return discover(call);
  };

  const watch = (onEvent: (event: InventoryEvent) => void): (() => void) => {
    let before: Inventory | null = null;
    let cancel: () => void = () => undefined;
    let stopped = false;
    const poll = async (): Promise<void> => {
      // A machine that cannot be read now is read again at the next turn; a caller that must know calls discover.
      const after = await discover().catch(() => null);
      if (stopped) return;
      const previous = before;
      before = after ?? before;
      if (after !== null && previous !== null && previous.generation !== after.generation) {
        onEvent({ before: previous, after });
      }
      cancel = clock.timer(WATCH_INTERVAL_MS, () => void poll());
    };
    const stop = (): void => {
      stopped = true;
      cancel();
      watchers.delete(stop);
    };
    watchers.add(stop);
    void poll();
    return stop;
  };

  return {
    specVersion: 1,
    id: DRIVER_ID,
    discover,
    setComputeMode: (card, mode, call) =>
      change(
        {
          call: 'set-compute',
          kind: 'compute',
          card,
          work: (context) => switchCompute(context, card, mode),
        },
        call,
      ),
    stageMemoryMode: (card, mode, call) =>
      change(
        {
          call: 'stage-memory',
          kind: 'compute',
          card,
          work: (context) => stageMemory(context, card, mode),
        },
        call,
      ),
    reload: (call) =>
      change({ call: 'reload', kind: 'reload', card: null, work: reloadDriver }, call),
    holders: async (card, call) => {
      const known = await machine.update((state) => ({ state, value: state }), call);
      if (!known.cards.some((entry) => entry.id === card)) {
        throw unknownCard(
          card,
          known.cards.map((entry) => entry.id),
        );
      }
      return toHolders(known, kernel.busyScope === 'card' ? card : null);
    },
    watch,
    close: async () => {
      for (const stop of [...watchers]) stop();
      await Promise.all([...trees].map((tree) => tree.close()));
    },
    sharedDevice,
    faults,
    materialize: async (directory, how) => {
      const tree: MaterializedMachine = await createMaterializedMachine({
        ...how,
        directory,
        changes,
        sharedDevice,
        kernel,
        clock,
        privileged: options.privileged !== false,
        onClose: () => trees.delete(tree),
      });
      trees.add(tree);
      return tree;
    },
    reboot: async () => {
      await machine.update((state) => ({ state: reboot(state), value: null }));
      return discover();
    },
    hold: async ({ card, pid, command }) => {
      const startTime = processes.startTime(pid);
      const key = await machine.update((state) => {
        const entry = {
          key: state.nextKey,
          pid,
          startTime: startTime === '' ? null : startTime,
          command,
        };
        const process = { ...entry, card, partition: 0, memoryBytes: 0, goneAtMs: null };
        return {
          state: { ...state, nextKey: state.nextKey + 1, processes: [...state.processes, process] },
          value: entry.key,
        };
      });
      return createLease(() =>
        machine.update((state, nowMs) => ({ state: detach(state, key, nowMs), value: undefined })),
      );
    },
  };
}
