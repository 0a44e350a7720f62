/**
 * A machine of the fewest words: the rules of the table, changes that happen at once, a kernel whose automatic mode can
 * be chosen. Independent of the planner and of the simulated driver, so that tests do not check rules against themselves.
 */
import {
  AimError,
  type CardId,
  type ComputeMode,
  cardId,
  type GpuDriver,
  type HiveId,
  hiveId,
  type Inventory,
  type MemoryMode,
  nodeName,
} from '@aim-gpu/core';
import {
  findProduct,
  type Product,
  partitionGeometry,
  productLayout,
} from '@aim-gpu/core/products';

interface ModelCard {
  readonly id: CardId;
  readonly hive: HiveId;
  readonly compute: ComputeMode;
  readonly memory: MemoryMode;
  readonly staged: MemoryMode | null;
}

export type ModelMachine = readonly ModelCard[];

export type ModelOperation =
  | { readonly kind: 'set-compute'; readonly card: CardId; readonly to: ComputeMode }
  | { readonly kind: 'stage-memory'; readonly card: CardId; readonly to: MemoryMode }
  | { readonly kind: 'reload' };

export const MI300X: Product = findProduct('MI300X') as Product;

export function aModel(cards: number, hives: number): ModelMachine {
  return Array.from({ length: cards }, (_, index) => ({
    id: cardId(`0000:${(16 + index).toString(16)}:00.0`),
    hive: hiveId(`hive${Math.floor((index * hives) / cards)}`),
    compute: 'SPX',
    memory: 'NPS1',
    staged: null,
  }));
}

/** Modes after a load on an MI300X: the newer kernel's choice. */
const LOADED: Readonly<Record<MemoryMode, ComputeMode>> = {
  NPS1: 'SPX',
  NPS2: 'DPX',
  NPS4: 'CPX',
  NPS8: 'CPX',
};

/** The machine after an operation; null when it refuses. */
export function operate(
  machine: ModelMachine,
  operation: ModelOperation,
  loaded: Readonly<Record<MemoryMode, ComputeMode>> = LOADED,
): ModelMachine | null {
  switch (operation.kind) {
    case 'set-compute': {
      const card = machine.find((entry) => entry.id === operation.card);
      if (card === undefined) return null;
      if (productLayout(MI300X, { compute: operation.to, memory: card.memory }) === null)
        return null;
      return machine.map((entry) => (entry === card ? { ...card, compute: operation.to } : entry));
    }
    case 'stage-memory': {
      const hive = machine.find((entry) => entry.id === operation.card)?.hive;
      if (!MI300X.layouts.some((layout) => layout.memory === operation.to)) return null;
      return machine.map((entry) =>
        entry.hive === hive ? { ...entry, staged: operation.to } : entry,
      );
    }
    case 'reload':
      return machine.map((entry) => {
        const memory = entry.staged ?? entry.memory;
        return { ...entry, memory, compute: loaded[memory], staged: null };
      });
  }
}

export function toInventory(machine: ModelMachine, generation = 'g0'): Inventory {
  return {
    node: nodeName('node-a'),
    driver: 'model',
    generation,
    problems: [],
    cards: machine.map((card, index) => ({
      id: card.id,
      product: 'MI300X',
      hive: card.hive,
      numaNode: 0,
      memoryBytes: MI300X.memoryBytes,
      layout: { compute: card.compute, memory: card.memory },
      partitions: partitionGeometry(MI300X, card).map((partition) => ({
        ...partition,
        renderMinor: 128 + 8 * index + partition.index,
        uuid: null,
        kfdNode: null,
      })),
      offered: MI300X.layouts,
      writable: true,
    })),
  };
}

export interface ModelDriver extends GpuDriver {
  machine(): ModelMachine;
  readonly calls: string[];
  /** Called before each change; may throw, or return a machine to have instead of the change's effect. */
  intercept: (operation: ModelOperation, count: number) => ModelMachine | null;
}

/** A driver over the model; every change makes a new generation. */
export function createModelDriver(
  start: ModelMachine,
  loaded: Readonly<Record<MemoryMode, ComputeMode>> = LOADED,
): ModelDriver {
  let machine = start;
  let generation = 0;
  const calls: string[] = [];
  const read = async (): Promise<Inventory> => toInventory(machine, `g${generation}`);
  const change = async (operation: ModelOperation, expect: string): Promise<Inventory> => {
    if (expect !== `g${generation}`) {
      throw new AimError({ code: 'ERR_GENERATION_STALE', kind: 'conflict', message: 'stale' });
    }
    const instead = driver.intercept(operation, calls.length);
    const next = instead ?? operate(machine, operation, loaded);
    if (next === null)
      throw new AimError({ code: 'ERR_LAYOUT_UNSUPPORTED', kind: 'refused', message: 'EINVAL' });
    calls.push(operation.kind === 'reload' ? 'reload' : `${operation.kind} ${operation.to}`);
    machine = next;
    generation += 1;
    return read();
  };
  const driver: ModelDriver = {
    specVersion: 1,
    id: 'model',
    calls,
    intercept: () => null,
    machine: () => machine,
    discover: read,
    setComputeMode: (card, to, { expect }) => change({ kind: 'set-compute', card, to }, expect),
    stageMemoryMode: (card, to, { expect }) => change({ kind: 'stage-memory', card, to }, expect),
    reload: ({ expect }) => change({ kind: 'reload' }, expect),
    holders: async () => [],
    watch: () => () => undefined,
    close: async () => undefined,
  };
  return driver;
}
