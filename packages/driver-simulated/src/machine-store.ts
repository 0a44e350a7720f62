/**
 * Where the simulated machine is kept, so that separate commands and processes see one machine: a snapshot of the
 * state store, read anew whenever it has changed and changed under its lock. Owns reading, checking and locking; no rule
 * of the machine itself.
 */
import {
  AimError,
  type CallOptions,
  type Clock,
  isAbort,
  type Lease,
  type NodeName,
  nodeName,
  type SimulatedCard,
  type StateStore,
} from '@aim-gpu/core';
import {
  createMachine,
  hasCards,
  type MachineState,
  type ProcessState,
  settle,
} from './machine.js';
import type { ProcessTable } from './process-table.js';

const NAME = 'simulated-machines';
const LOCK_RETRY_MS = 20;
const LOCK_WAIT_MS = 10_000;

/** The file form: one machine for each node of the state directory. */
interface StoredMachines {
  readonly format: 1;
  readonly machines: Readonly<Record<string, MachineState>>;
}

/** Options of {@link createMachineStore}. */
export interface MachineStoreOptions {
  readonly node: NodeName;
  /** The cards the machine shall have; null takes those it has. */
  readonly cards: readonly SimulatedCard[] | null;
  readonly store: StateStore;
  readonly clock: Clock;
  readonly processes: ProcessTable;
  readonly lingerMs: number;
}

/** Access to one machine. */
export interface MachineStore {
  /** The machine as it is now. */
  read(): Promise<MachineState>;
  /**
   * Changes the machine under its lock. Processes that vanished are marked first. What `change` returns as `error` is
   * thrown after the state was kept.
   */
  update<T>(
    change: (state: MachineState, nowMs: number) => MachineChange<T>,
    options?: CallOptions,
  ): Promise<T>;
}

/** The outcome of a change: the next state with a value, or with an error to throw. */
export type MachineChange<T> =
  | { readonly state: MachineState; readonly value: T }
  | { readonly state: MachineState; readonly error: AimError };

/** The nodes that have a simulated machine in a state store. */
export async function readSimulatedNodes(store: StateStore): Promise<readonly NodeName[]> {
  const stored = toStoredMachines(await store.snapshot<unknown>(NAME).read());
  return Object.keys(stored.machines).map(nodeName);
}

/** Opens the machine of a node. Nothing is written before the first change. */
export function createMachineStore(options: MachineStoreOptions): MachineStore {
  const { node, cards, store, clock, processes, lingerMs } = options;
  const snapshot = store.snapshot<unknown>(NAME);
  let queue: Promise<unknown> = Promise.resolve();
  /** As read last, with what the snapshot was then: whoever watches the machine reads it often. */
  let known: { readonly version: string; readonly stored: StoredMachines } | null = null;

  const isAlive = (entry: ProcessState): boolean => {
    const startTime = processes.startTime(entry.pid);
    return startTime !== null && (entry.startTime === null || entry.startTime === startTime);
  };
  const open = (stored: StoredMachines, nowMs: number): MachineState => {
    const found = stored.machines[node];
    if (found === undefined) {
      if (cards === null) throw noMachine(node);
      return createMachine(cards);
    }
    const state = settle(found, nowMs, lingerMs);
    if (cards === null || hasCards(state, cards)) return state;
    if (state.processes.some((entry) => entry.goneAtMs === null && isAlive(entry))) {
      throw machineInUse(node, state);
    }
    // Other cards in the file means that somebody opened the machine; that takes a power-off, which resets everything.
    return createMachine(cards, state.revision + 1);
  };
  const readStored = async (): Promise<StoredMachines> => {
    const version = (await snapshot.version?.()) ?? null;
    if (version !== null && version === known?.version) return known.stored;
    const stored = toStoredMachines(await snapshot.read());
    known = version === null ? null : { version, stored };
    return stored;
  };
  const exclusively = async <T>(work: () => Promise<T>, call?: CallOptions): Promise<T> => {
    const turn = queue.then(async () => {
      const lease = await takeLock(store, clock, call);
      try {
        return await work();
      } finally {
        await lease.release();
      }
    });
    queue = turn.catch(() => undefined);
    return turn;
  };

  return {
    read: async () => open(await readStored(), clock.epochMs()),
    update: (change, call) =>
      exclusively(async () => {
        const stored = toStoredMachines(await snapshot.read());
        const nowMs = clock.epochMs();
        const before = open(stored, nowMs);
        const vanished = before.processes.some(
          (entry) => entry.goneAtMs === null && !isAlive(entry),
        );
        const marked = vanished ? markVanished(before, isAlive, nowMs) : before;
        const result = change(marked, nowMs);
        if (result.state !== before) {
          const machines = { ...stored.machines, [node]: result.state };
          await snapshot.write({ format: 1, machines } satisfies StoredMachines);
        }
        if ('error' in result) throw result.error;
        return result.value;
      }, call),
  };
}

function markVanished(
  state: MachineState,
  isAlive: (entry: ProcessState) => boolean,
  nowMs: number,
): MachineState {
  const processes = state.processes.map((entry) =>
    entry.goneAtMs === null && !isAlive(entry) ? { ...entry, goneAtMs: nowMs } : entry,
  );
  return { ...state, processes };
}

async function takeLock(store: StateStore, clock: Clock, options?: CallOptions): Promise<Lease> {
  const deadline = clock.monoMs() + LOCK_WAIT_MS;
  for (;;) {
    try {
      return await store.lock(NAME, options);
    } catch (error) {
      if (isAbort(error, options?.signal) || !AimError.is(error, 'ERR_STATE_LOCKED')) throw error;
      if (clock.monoMs() >= deadline) throw error;
      await clock.sleep(LOCK_RETRY_MS, options);
    }
  }
}

function toStoredMachines(value: unknown): StoredMachines {
  if (value === null) return { format: 1, machines: {} };
  const stored = value as Partial<StoredMachines>;
  const whole =
    stored.format === 1 &&
    typeof stored.machines === 'object' &&
    stored.machines !== null &&
    Object.values(stored.machines).every(isMachine);
  if (whole) return stored as StoredMachines;
  throw new AimError({
    code: 'ERR_STATE_CORRUPT',
    kind: 'internal',
    message: 'the stored simulated machine cannot be read',
    details: { snapshot: NAME },
    hint: 'remove the state directory, or use another one with --state-dir',
  });
}

function isMachine(value: unknown): boolean {
  const machine = value as Partial<MachineState> | null;
  return (
    Number.isSafeInteger(machine?.revision) &&
    Number.isSafeInteger(machine?.nextKey) &&
    Array.isArray(machine?.processes) &&
    Array.isArray(machine?.cards) &&
    machine.cards.every((card) => typeof card?.id === 'string' && typeof card.product === 'string')
  );
}

function noMachine(node: NodeName): AimError {
  return new AimError({
    code: 'ERR_DEVICE_UNKNOWN',
    kind: 'missing',
    message: `there is no simulated machine ${node} in this state directory`,
    details: { node },
    hint: 'name a fleet file that says which cards it has',
  });
}

function machineInUse(node: NodeName, state: MachineState): AimError {
  const pids = state.processes.map((entry) => entry.pid);
  return new AimError({
    code: 'ERR_DEVICE_BUSY',
    kind: 'conflict',
    message: `the simulated machine ${node} has other cards than the fleet file says, and processes use them`,
    details: { node, cards: state.cards.map(({ id, product }) => ({ id, product })), pids },
    hint: 'stop them first, or use another state directory with --state-dir',
  });
}
