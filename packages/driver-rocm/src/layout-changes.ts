/**
 * The changing half of the driver port over real cards: compare-and-set on the generation, refusals that need no try,
 * the change itself, and reading back until the devices are there. Owns the order of these steps.
 */
import type {
  CallOptions,
  CardId,
  ChangeOptions,
  ComputeMode,
  DeviceHolder,
  Inventory,
  MemoryMode,
  NodeName,
  ObservedCard,
} from '@aim-gpu/core';
import { AimError, partitionCount } from '@aim-gpu/core';
import { deviceBusy, staleGeneration, unknownCard, unsupportedMode } from './change-errors.js';
import type { Discovery } from './discovery.js';
import { reloadDriver } from './driver-reload.js';
import { type ChangeHost, changeMode, type ModeRequest, settle } from './mode-change.js';

/** What the changes need beside the host. */
export interface LayoutChangesOptions {
  readonly host: ChangeHost;
  readonly node: NodeName;
  readonly discover: (call?: CallOptions) => Promise<Discovery>;
  readonly holdersOf: (card: ObservedCard) => Promise<readonly DeviceHolder[]>;
  /** Whether amdgpu may be unloaded and loaded; it stops every GPU of the node. */
  readonly allowReload: boolean;
}

/** The three changes of the driver port. */
export interface LayoutChanges {
  setComputeMode(card: CardId, mode: ComputeMode, options: ChangeOptions): Promise<Inventory>;
  stageMemoryMode(card: CardId, mode: MemoryMode, options: ChangeOptions): Promise<Inventory>;
  reload(options: ChangeOptions): Promise<Inventory>;
}

/** Makes them. */
export function createLayoutChanges(options: LayoutChangesOptions): LayoutChanges {
  const { host, node, discover, holdersOf, allowReload } = options;

  const read = async (expect: string, call: CallOptions): Promise<Discovery> => {
    const seen = await discover(call);
    const { generation } = seen.inventory;
    if (generation !== expect) throw staleGeneration(expect, generation);
    return seen;
  };
  const assertFresh = async (expect: string, call: CallOptions): Promise<void> => {
    await read(expect, call);
  };
  // Compare and set must be one step among the callers of this process; other processes are kept out by the node's lock.
  let last: Promise<unknown> = Promise.resolve();
  const oneAtATime = <T>(work: () => Promise<T>): Promise<T> => {
    const next = last.then(work, work);
    last = next.catch(() => undefined);
    return next;
  };
  const find = (seen: Discovery, id: CardId): ObservedCard => {
    const { cards } = seen.inventory;
    const card = cards.find((entry) => entry.id === id);
    if (card !== undefined) return card;
    throw unknownCard(
      node,
      id,
      cards.map((entry) => entry.id),
    );
  };
  const directoryOf = (seen: Discovery, id: CardId): string | null =>
    seen.directories.find((place) => place.id === id)?.directory ?? null;

  const ask = (
    wish: Pick<ModeRequest, 'what' | 'kind' | 'mode'> & {
      readonly seen: Discovery;
      readonly card: ObservedCard;
    },
    { expect, ...call }: ChangeOptions,
  ): Promise<void> => {
    const { what, kind, mode, seen, card } = wish;
    const request: ModeRequest = {
      what,
      card: card.id,
      kind,
      mode,
      directory: directoryOf(seen, card.id),
      holders: () => holdersOf(card),
      assertFresh: () => assertFresh(expect, call),
      isMoving: async () => isMoving((await discover(call)).inventory, card.id),
    };
    return changeMode(host, request, call);
  };

  return {
    setComputeMode: (id, mode, { expect, ...call }) =>
      oneAtATime(async () => {
        const seen = await read(expect, call);
        const card = find(seen, id);
        const what = `switching ${id} to ${mode}`;
        refuseGuest(what, card);
        if (card.layout.compute === mode) return seen.inventory;
        const { memory } = card.layout;
        const offered = card.offered?.some(
          (layout) => layout.compute === mode && (memory === null || layout.memory === memory),
        );
        if (offered === false)
          throw unsupportedMode(
            what,
            `the card does not offer it in ${memory ?? 'any memory mode'}`,
          );
        await ask({ what, seen, card, kind: 'compute', mode }, { expect, ...call });
        const after = await settle(host, {
          ...call,
          what,
          look: () => discover(call),
          isSettled: ({ inventory }) => isIn(inventory, card, mode),
          isMoving: ({ inventory }) => isMoving(inventory, id),
          forMs: host.timing.settleForMs,
        });
        return after.inventory;
      }),
    stageMemoryMode: (id, mode, { expect, ...call }) =>
      oneAtATime(async () => {
        const seen = await read(expect, call);
        const card = find(seen, id);
        const what = `asking for ${mode} of the hive of ${id}`;
        refuseGuest(what, card);
        if (card.offered?.some((layout) => layout.memory === mode) === false)
          throw unsupportedMode(what, 'the card does not offer it');
        await ask({ what, seen, card, kind: 'memory', mode }, { expect, ...call });
        return (await discover(call)).inventory;
      }),
    reload: ({ expect, ...call }) =>
      oneAtATime(async () => {
        const seen = await read(expect, call);
        if (!allowReload) throw reloadNotAllowed();
        const { cards } = seen.inventory;
        const holders = async (): Promise<readonly DeviceHolder[]> => {
          const found = new Map<number, DeviceHolder>();
          for (const card of cards)
            for (const holder of await holdersOf(card)) found.set(holder.pid, holder);
          return [...found.values()];
        };
        const holding = await holders();
        if (holding.length > 0) throw deviceBusy('reloading amdgpu', holding);
        await reloadDriver(host, { ...call, holders });
        const back = {
          ...call,
          what: 'reloading amdgpu',
          look: () => discover(call),
          isMoving: () => false,
        } as const;
        await settle(host, {
          ...back,
          isSettled: ({ inventory }) => isBack(inventory, cards),
          forMs: host.timing.reloadTimeoutMs,
        });
        // A card says its mode before all its partitions are there.
        const after = await settle(host, {
          ...back,
          isSettled: ({ inventory }) => isWhole(inventory, cards),
          forMs: host.timing.settleForMs,
        });
        return after.inventory;
      }),
  };
}

/** A guest's modes are its host's: the kernel has no way to switch them from inside (`switch_partition_mode` is null). */
function refuseGuest(what: string, card: ObservedCard): void {
  if (!card.writable)
    throw unsupportedMode(what, 'its modes are set by the host of this virtual machine');
}

/** Whether the card says the mode and shows all partitions of it, each with its render node. */
function isIn(inventory: Inventory, before: ObservedCard, mode: ComputeMode): boolean {
  const card = inventory.cards.find((entry) => entry.id === before.id);
  if (card?.layout.compute !== mode) return false;
  const xcds = before.partitions.reduce((sum, partition) => sum + partition.xcds, 0);
  const wanted = partitionCount(mode, xcds);
  return (
    card.partitions.length === wanted &&
    card.partitions.every((partition) => partition.renderMinor !== null)
  );
}

/** While a card switches, its mode cannot be read. */
function isMoving({ cards }: Inventory, id: CardId): boolean {
  return cards.find((entry) => entry.id === id)?.layout.compute === null;
}

/** Whether every card shows all partitions of the mode it says. */
function isWhole(inventory: Inventory, before: readonly ObservedCard[]): boolean {
  return before.every((card) => {
    const mode = inventory.cards.find((entry) => entry.id === card.id)?.layout.compute ?? null;
    return mode !== null && isIn(inventory, card, mode);
  });
}

/** Whether every card is there again with a partition. */
function isBack(inventory: Inventory, before: readonly ObservedCard[]): boolean {
  return before.every(({ id }) => {
    const card = inventory.cards.find((entry) => entry.id === id);
    return card !== undefined && card.layout.compute !== null && card.partitions.length > 0;
  });
}

function reloadNotAllowed(): AimError {
  return new AimError({
    code: 'ERR_RELOAD_NOT_ALLOWED',
    kind: 'refused',
    message: 'a memory mode takes a reload of amdgpu, which stops every GPU of the node',
    hint: 'allow it with `allowReload: true` (--allow-driver-reload on the command line)',
  });
}
