/**
 * Partitions on demand: which partition that is there serves a request, else which card is to be split otherwise, and
 * when a card that nobody uses may go back to its whole. Owns the hysteresis that keeps cards from being switched to and
 * fro. Pure: what comes out is a choice or a plan.
 */
import {
  type Assignment,
  type Bytes,
  type CardId,
  type EpochMs,
  formatBytes,
  type Inventory,
  type Layout,
  type ObservedCard,
  type Reason,
  sameLayout,
} from '@aim-gpu/core';
import { findProduct, partitionGeometry } from '@aim-gpu/core/products';
import type { DesiredLayout } from './assert-layout.js';
import { legalLayouts } from './layout-rules.js';
import type { ShareLedger } from './share-ledger.js';

/** A partition that somebody wants. */
export interface PartitionRequest {
  readonly memoryBytes: Bytes;
  /** Compute units it must have; any when left out. */
  readonly computeUnits?: number;
  /** Nobody else on it. */
  readonly exclusive?: boolean;
  /** Whether a card's memory mode may be changed for it, which reloads the driver of the node. */
  readonly allowReload?: boolean;
}

/** How reluctantly cards are switched. */
export interface SwitchPolicy {
  /** A card that was switched stays as it is at least so long. */
  readonly minDwellMs: number;
  /** A card whose partitions nobody holds is made whole after so long. */
  readonly idleBeforeMergeMs: number;
}

/** Twice the longest reload that was measured, so that switching never takes more of the time than serving does. */
export const DEFAULT_SWITCH_POLICY: SwitchPolicy = {
  minDwellMs: 300_000,
  idleBeforeMergeMs: 600_000,
};

/** When things last happened to a card; null for never. */
export interface CardActivity {
  readonly card: CardId;
  readonly switchedAt: EpochMs | null;
  readonly lastHeldAt: EpochMs | null;
}

/** Where a request can be served. */
export type PartitionChoice =
  | {
      readonly ok: true;
      readonly kind: 'existing';
      readonly card: CardId;
      readonly partition: number;
    }
  /** After the card was brought to this layout; its partitions are all alike. */
  | { readonly ok: true; readonly kind: 'switch'; readonly desired: readonly DesiredLayout[] }
  | { readonly ok: false; readonly reasons: readonly Reason[] };

/** What choosing needs to know. */
export interface ChoiceOptions {
  readonly inventory: Inventory;
  readonly ledger: ShareLedger;
  readonly activity: readonly CardActivity[];
  readonly policy: SwitchPolicy;
  readonly now: EpochMs;
}

/**
 * Chooses a partition for a request: the one that is there with the least left over, else a card that nobody holds,
 * split into the smallest partitions that are large enough. A request for a partition of one's own does not take a
 * large one where an idle card can be split. Reasons: `NO_PARTITION_FREE`, `LAYOUT_TOO_SMALL` (no layout of the card has
 * such a partition), `CARD_IN_USE` (with the holders), `CARD_DWELLS` (switched too recently, with the time that is left).
 */
export function choosePartition(
  request: PartitionRequest,
  options: ChoiceOptions,
): PartitionChoice {
  const existing = bestExisting(request, options);
  if (existing !== null && request.exclusive !== true) return existing.choice;
  const reasons: Reason[] = [];
  let best: { readonly card: ObservedCard; readonly layout: Layout; readonly size: number } | null =
    null;
  for (const card of options.inventory.cards) {
    const candidate = smallestLayout(card, request, options.ledger.memoryReserve);
    if (candidate === null) {
      reasons.push({
        code: 'LAYOUT_TOO_SMALL',
        message: `no layout of ${card.id} has a partition of ${formatBytes(request.memoryBytes)}`,
      });
      continue;
    }
    const obstacle = whyNotSwitched(card, candidate.layout, options);
    if (obstacle !== null) reasons.push(obstacle);
    else if (best === null || candidate.size < best.size) best = { card, ...candidate };
  }
  if (existing !== null && (best === null || existing.capacityBytes <= best.size))
    return existing.choice;
  if (best === null) {
    const message = `no partition has ${formatBytes(request.memoryBytes)} free`;
    return { ok: false, reasons: [{ code: 'NO_PARTITION_FREE', message }, ...reasons] };
  }
  return { ok: true, kind: 'switch', desired: wishesFor(best.card, best.layout, options) };
}

/**
 * The cards that may go back to their product's initial layout: split, held by nobody for long enough, and not switched
 * recently. Cards whose memory mode would have to change are left alone: that reload would stop the others.
 */
export function chooseMerges(options: ChoiceOptions): readonly DesiredLayout[] {
  const { inventory, activity, policy, now } = options;
  return inventory.cards.flatMap((card) => {
    const { layout } = card;
    const initial = findProduct(card.product ?? '')?.initialLayout;
    if (initial === undefined || layout.compute === null || layout.memory !== initial.memory)
      return [];
    if (layout.compute === initial.compute || whyNotSwitched(card, initial, options) !== null)
      return [];
    const lastHeld = activity.find((entry) => entry.card === card.id)?.lastHeldAt ?? null;
    if (lastHeld !== null && now - lastHeld < policy.idleBeforeMergeMs) return [];
    return [{ card: card.id, layout: initial }];
  });
}

/** Stamps what an assignment or a switch did to cards, for the next decision. */
export function toCardActivity(options: {
  readonly before: readonly CardActivity[];
  readonly inventory: Inventory;
  readonly assignments: readonly Assignment[];
  readonly switched: readonly CardId[];
  readonly now: EpochMs;
}): readonly CardActivity[] {
  const { before, inventory, assignments, switched, now } = options;
  const held = new Set(assignments.flatMap(({ shares }) => shares.map((share) => share.card)));
  return inventory.cards.map(({ id }) => {
    const known = before.find((entry) => entry.card === id);
    return {
      card: id,
      switchedAt: switched.includes(id) ? now : (known?.switchedAt ?? null),
      lastHeldAt: held.has(id) ? now : (known?.lastHeldAt ?? null),
    };
  });
}

function bestExisting(
  request: PartitionRequest,
  options: ChoiceOptions,
): { readonly choice: PartitionChoice; readonly capacityBytes: Bytes } | null {
  const { inventory, ledger } = options;
  const fitting = ledger.accounts
    .filter((account) => {
      const partition = inventory.cards
        .find((card) => card.id === account.card)
        ?.partitions.find((entry) => entry.index === account.partition);
      const free = account.held.length === 0 || request.exclusive !== true;
      const open = account.held.every((share) => share.exclusive !== true);
      const units = (partition?.computeUnits ?? 0) >= (request.computeUnits ?? 0);
      return free && open && units && account.freeBytes >= request.memoryBytes;
    })
    .sort((a, b) => a.freeBytes - b.freeBytes);
  const [first] = fitting;
  if (first === undefined) return null;
  const { card, partition, capacityBytes } = first;
  return { choice: { ok: true, kind: 'existing', card, partition }, capacityBytes };
}

/** The layout with the smallest partitions that are large enough when the reserve is taken off. */
function smallestLayout(
  card: ObservedCard,
  request: PartitionRequest,
  memoryReserve: number,
): { readonly layout: Layout; readonly size: number } | null {
  const product = findProduct(card.product ?? '');
  if (product === null) return null;
  let best: { readonly layout: Layout; readonly size: number } | null = null;
  for (const { layout } of legalLayouts(card).legal) {
    if (layout.memory !== card.layout.memory && request.allowReload !== true) continue;
    const [partition] = partitionGeometry(product, layout);
    if (partition === undefined) continue;
    const usable = partition.memoryBytes - Math.ceil(partition.memoryBytes * memoryReserve);
    if (usable < request.memoryBytes) continue;
    if (partition.computeUnits < (request.computeUnits ?? 0)) continue;
    if (best === null || partition.memoryBytes < best.size)
      best = { layout, size: partition.memoryBytes };
  }
  return best;
}

function whyNotSwitched(
  card: ObservedCard,
  layout: Layout,
  { ledger, activity, policy, now }: ChoiceOptions,
): Reason | null {
  const { compute, memory } = card.layout;
  const holders = ledger.accounts
    .filter((account) => account.card === card.id || layout.memory !== memory)
    .flatMap((account) => account.held.map((share) => share.instance));
  if (holders.length > 0)
    return { code: 'CARD_IN_USE', message: `${card.id} is held by ${holders.join(', ')}` };
  // A card in this layout has such partitions already; all of them are taken.
  if (compute !== null && memory !== null && sameLayout({ compute, memory }, layout))
    return { code: 'CARD_IN_USE', message: `${card.id} is in that layout already` };
  const switchedAt = activity.find((entry) => entry.card === card.id)?.switchedAt ?? null;
  const left = switchedAt === null ? 0 : switchedAt + policy.minDwellMs - now;
  if (left <= 0) return null;
  return {
    code: 'CARD_DWELLS',
    message: `${card.id} was switched recently and stays as it is for ${Math.ceil(left / 1000)} s more`,
  };
}

/** A memory mode is a hive's: its other cards go along, in a compute mode that the new memory mode has. */
function wishesFor(
  card: ObservedCard,
  layout: Layout,
  { inventory }: ChoiceOptions,
): readonly DesiredLayout[] {
  const wish = { card: card.id, layout };
  if (layout.memory === card.layout.memory || card.hive === null) return [wish];
  const others = inventory.cards.filter(
    (other) => other.hive === card.hive && other.id !== card.id,
  );
  return [wish, ...others.map((other) => ({ card: other.id, layout }))];
}
