/**
 * The cards as the search sees them: which layouts each may take and which partitions it then has. Owns what keeps a
 * card as it is; decides nothing.
 */
import {
  type Assignment,
  type Bytes,
  bytesFloor,
  type CardId,
  type Fleet,
  type HiveId,
  type InstanceId,
  type Inventory,
  type Layout,
  type NodeName,
  type ObservedCard,
  sameLayout,
} from '@aim-gpu/core';
import { findProduct, type Product, partitionGeometry } from '@aim-gpu/core/products';
import { legalLayouts } from '@aim-gpu/partitioning';
import type { FleetProblem } from './fleet-problem.js';

/** A card that the search may lay out. */
export interface CardChoice {
  readonly node: NodeName;
  readonly driver: string;
  readonly id: CardId;
  readonly hive: HiveId | null;
  readonly product: Product;
  readonly observed: ObservedCard;
  readonly current: Layout;
  /** Layouts the search may choose from, the current one first. */
  readonly layouts: readonly Layout[];
  /** Takes nothing new. */
  readonly cordoned: boolean;
}

/** One partition of a card in a chosen layout. */
export interface Slot {
  readonly card: CardChoice;
  readonly layout: Layout;
  readonly index: number;
  readonly memoryBytes: Bytes;
  /** Memory that may be handed out: capacity less the policy's reserve. */
  readonly usableBytes: Bytes;
  readonly computeUnits: number;
  readonly xcds: number;
}

/** The cards of a node that can be planned with; `kept` is what must stay where it runs. */
export function toCardChoices(
  inventory: Inventory,
  problem: FleetProblem,
  kept: ReadonlyMap<InstanceId, Assignment>,
): readonly CardChoice[] {
  const { fleet, cordoned = [] } = problem;
  const wished = fleet.nodes.find(({ name }) => name === inventory.node)?.cordoned ?? [];
  return inventory.cards.flatMap((observed) => {
    const product = observed.product === null ? null : findProduct(observed.product);
    const { compute, memory } = observed.layout;
    // A card whose product or layout the driver could not tell cannot be planned with; the driver's problem says so.
    if (product === null || compute === null || memory === null) return [];
    const current: Layout = { compute, memory };
    const isHere = (place: { readonly node: NodeName; readonly card: CardId }): boolean =>
      place.node === inventory.node && place.card === observed.id;
    const isCordoned = cordoned.some(isHere) || wished === 'all' || wished.includes(observed.id);
    const isGuarded = [...kept.values()].some(({ shares }) => shares.some(isHere));
    const mayChange =
      fleet.policy.repartition.allow &&
      observed.writable &&
      !isCordoned &&
      !isGuarded &&
      !isDegraded(observed, product, current);
    const others = mayChange
      ? legalLayouts(observed)
          .legal.map(({ layout }) => layout)
          .filter((layout) => !sameLayout(layout, current))
      : [];
    return [
      {
        node: inventory.node,
        driver: inventory.driver,
        id: observed.id,
        hive: observed.hive,
        product,
        observed,
        current,
        layouts: [current, ...others],
        cordoned: isCordoned,
      },
    ];
  });
}

/**
 * Whether a card shows less than its product has in this layout: a partition that is lost, or dies of one. What is left
 * is used as it is; another layout would hand the loss to somebody else.
 */
function isDegraded(observed: ObservedCard, product: Product, layout: Layout): boolean {
  const whole = partitionGeometry(product, layout);
  const xcds = (list: readonly { readonly xcds: number }[]): number =>
    list.reduce((sum, one) => sum + one.xcds, 0);
  return observed.partitions.length < whole.length || xcds(observed.partitions) < xcds(whole);
}

/** The partitions of a card in a layout: as observed when it is the current one, else as the product's rules say. */
export function toSlots(card: CardChoice, layout: Layout, fleet: Fleet): readonly Slot[] {
  const reserve = 1 - fleet.policy.memoryReserve;
  const slot = (index: number, memoryBytes: Bytes, computeUnits: number, xcds: number): Slot => ({
    card,
    layout,
    index,
    memoryBytes,
    usableBytes: bytesFloor(memoryBytes * reserve),
    computeUnits,
    xcds,
  });
  if (sameLayout(layout, card.current)) {
    return card.observed.partitions.flatMap((partition) =>
      partition.memoryBytes === null
        ? []
        : [slot(partition.index, partition.memoryBytes, partition.computeUnits, partition.xcds)],
    );
  }
  return partitionGeometry(
    card.product,
    layout,
    card.observed.memoryBytes ?? card.product.memoryBytes,
  ).map((partition) =>
    slot(partition.index, partition.memoryBytes, partition.computeUnits, partition.xcds),
  );
}
