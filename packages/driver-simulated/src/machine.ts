/**
 * The simulated machine as data: its cards, what runs on them, and changes that are under way. Pure: time comes in as
 * a number, and a change that has begun finishes by itself when its time has come, whether or not the process that
 * asked for it still lives. Owns no rules of the kernel (kernel.ts) and no storage (machine-store.ts).
 */
import type { CardId, ComputeMode, HiveId, MemoryMode, SimulatedCard } from '@aim-gpu/core';
import { AimError, partitionCount } from '@aim-gpu/core';
import { findProduct, type Product } from '@aim-gpu/core/products';

/** When a change begins, when the set call returns, and when all new partitions can be seen. */
export interface ChangeWindow {
  readonly startedAtMs: number;
  readonly endsAtMs: number;
  readonly visibleAtMs: number;
}

/** One card of the machine. */
export interface CardState {
  readonly id: CardId;
  readonly product: string;
  readonly hive: HiveId;
  readonly compute: ComputeMode;
  readonly memory: MemoryMode;
  /** Memory mode asked for; applied when the driver is reloaded. */
  readonly staged: MemoryMode | null;
  /** Rank among the cards in the KFD topology: a switched card is listed anew, behind the others. */
  readonly topologyRank: number;
  readonly switching:
    | (ChangeWindow & { readonly to: ComputeMode; readonly says?: WrongReport })
    | null;
  /** What the card says of itself instead of what is true, until it is switched or loaded again. */
  readonly says?: WrongReport | undefined;
  /** Whether each partition may allocate its whole memory domain; taken back by every switch. */
  readonly allocatesAll?: boolean | undefined;
  /** Whether processes of a partition are kept apart, by partition; none when absent. */
  readonly isolated?: readonly boolean[] | undefined;
}

/** A report that is not true. */
interface WrongReport {
  /** The compute mode its file shows. */
  readonly compute: ComputeMode;
}

/** A process that has opened a card. */
export interface ProcessState {
  readonly key: number;
  readonly pid: number;
  /** Start time of the process, so that a reused pid is not taken for it; null where the host does not say. */
  readonly startTime: string | null;
  readonly command: string | null;
  readonly card: CardId;
  readonly partition: number;
  readonly memoryBytes: number;
  /** When it left; the kernel holds the card for a moment longer. */
  readonly goneAtMs: number | null;
}

/** A driver reload under way and what it will lead to. */
interface ReloadState extends ChangeWindow {
  readonly after: readonly {
    readonly id: CardId;
    readonly compute: ComputeMode;
    readonly memory: MemoryMode;
  }[];
}

/** The whole machine. */
export interface MachineState {
  /** Counts the changes that were asked for. */
  readonly revision: number;
  readonly cards: readonly CardState[];
  readonly reloading: ReloadState | null;
  /** Whether the driver is unloaded: no card can be seen until it is loaded. */
  readonly unloaded?: boolean | undefined;
  readonly processes: readonly ProcessState[];
  readonly nextKey: number;
}

/** Finds the product of a card. Throws `ERR_CONFIG_INVALID` when core/products does not know it. */
export function productOf(card: { readonly product: string }): Product {
  const product = findProduct(card.product);
  if (product !== null) return product;
  throw new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `unknown GPU product ${JSON.stringify(card.product)}`,
    details: { product: card.product },
  });
}

/** A machine that was just switched on: every card in its product's initial layout, nothing running. */
export function createMachine(cards: readonly SimulatedCard[], revision: number = 0): MachineState {
  return {
    revision,
    cards: cards.map((card, index) => {
      const product = productOf(card);
      return {
        id: card.id,
        product: product.name,
        hive: card.hive,
        compute: product.initialLayout.compute,
        memory: product.initialLayout.memory,
        staged: null,
        topologyRank: index,
        switching: null,
      };
    }),
    reloading: null,
    processes: [],
    nextKey: 1,
  };
}

/** Whether the machine has exactly these cards, in this order. */
export function hasCards(state: MachineState, cards: readonly SimulatedCard[]): boolean {
  return (
    state.cards.length === cards.length &&
    state.cards.every((card, index) => {
      const wanted = cards[index];
      return (
        wanted !== undefined &&
        card.id === wanted.id &&
        card.hive === wanted.hive &&
        card.product === productOf(wanted).name
      );
    })
  );
}

/** Where in its window a change is. A wall clock that was set back ends it, so that it can never take for ever. */
export function phaseOf(window: ChangeWindow, nowMs: number): 'changing' | 'settling' | 'done' {
  if (nowMs < window.startedAtMs || nowMs >= window.visibleAtMs) return 'done';
  return nowMs < window.endsAtMs ? 'changing' : 'settling';
}

/** Whether no change is under way. */
export function isAtRest({ reloading, cards }: MachineState): boolean {
  return reloading === null && cards.every((card) => card.switching === null);
}

/** The machine at a time: changes whose time has come are done, processes that left long enough ago are forgotten. */
export function settle(state: MachineState, nowMs: number, lingerMs: number): MachineState {
  let next = state;
  const { reloading } = state;
  if (reloading !== null && phaseOf(reloading, nowMs) !== 'changing') {
    const cards = next.cards.map((card, index) => {
      const after = reloading.after.find((entry) => entry.id === card.id);
      const { compute, memory } = after ?? card;
      return { ...freshCard(card, index), compute, memory };
    });
    next = { ...next, cards, reloading: phaseOf(reloading, nowMs) === 'done' ? null : reloading };
  }
  if (next.cards.some((card) => card.switching !== null)) {
    next = { ...next, cards: next.cards.map((card) => settleCard(next, card, nowMs)) };
  }
  const processes = next.processes.filter(
    (entry) =>
      entry.goneAtMs === null || (entry.goneAtMs <= nowMs && nowMs < entry.goneAtMs + lingerMs),
  );
  return processes.length === next.processes.length ? next : { ...next, processes };
}

/** A card as a load of the driver leaves it, but for its modes. */
function freshCard(card: CardState, topologyRank: number): CardState {
  const { id, product, hive, compute, memory } = card;
  return { id, product, hive, compute, memory, staged: null, topologyRank, switching: null };
}

function settleCard(state: MachineState, card: CardState, nowMs: number): CardState {
  if (card.switching === null) return card;
  const phase = phaseOf(card.switching, nowMs);
  if (phase === 'changing') return card;
  const { to, says } = card.switching;
  const last = Math.max(...state.cards.map((other) => other.topologyRank));
  const changed = to !== card.compute;
  return {
    ...card,
    compute: to,
    topologyRank: changed ? last + 1 : card.topologyRank,
    says,
    allocatesAll: changed ? false : card.allocatesAll,
    isolated: changed ? undefined : card.isolated,
    switching: phase === 'done' ? null : card.switching,
  };
}

/** How many partitions a card has. */
export function partitionsOf(card: CardState): number {
  return partitionCount(card.compute, productOf(card).xcds);
}

/** Processes that hold something: those alive, and those the kernel has not finished cleaning up after. */
export function holdersOf(state: MachineState, card: CardId | null): readonly ProcessState[] {
  return card === null ? state.processes : state.processes.filter((entry) => entry.card === card);
}
