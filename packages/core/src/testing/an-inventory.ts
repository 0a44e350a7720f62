/**
 * Builders of observed state for tests: cards that look as their product's rules say they do after a clean switch.
 * Must not be used to stand for a real device's answer outside tests.
 */
import { cardId, hiveId, nodeName } from '../ids.js';
import type { Inventory, ObservedCard, ObservedPartition } from '../inventory.js';
import { findProduct } from '../products/catalogue.js';
import { type Product, partitionGeometry } from '../products/product.js';

/** First minor of the render nodes; each card owns eight (as amdgpu numbers them). */
const FIRST_RENDER_MINOR = 128;
const RENDER_MINORS_PER_CARD = 8;

/**
 * Makes a card, an MI300X in SPX/NPS1 unless overridden. Memory, partitions and offered layouts follow from
 * `product` and `layout` unless given; a card of unknown product or unread layout has none.
 */
export function aCard(overrides: Partial<ObservedCard> = {}): ObservedCard {
  const productName = overrides.product === undefined ? 'MI300X' : overrides.product;
  const product = productName === null ? null : findProduct(productName);
  const layout = overrides.layout ?? product?.initialLayout ?? { compute: null, memory: null };
  return {
    id: cardId('0000:0c:00.0'),
    product: productName,
    hive: hiveId('hive0'),
    numaNode: 0,
    memoryBytes: product?.memoryBytes ?? null,
    layout,
    partitions: product === null ? [] : toPartitions(product, layout),
    offered: product?.layouts.map(({ compute, memory }) => ({ compute, memory })) ?? null,
    writable: true,
    ...overrides,
  };
}

/** Makes an inventory of one simulated node; one MI300X in SPX/NPS1 unless overridden. */
export function anInventory(overrides: Partial<Inventory> = {}): Inventory {
  return {
    node: nodeName('node0'),
    driver: 'simulated',
    generation: 'g1',
    cards: [aCard()],
    problems: [],
    ...overrides,
  };
}

/**
 * Makes `count` cards alike, with PCI buses, render nodes and KFD nodes counted up as on a real node; all in one hive
 * unless overridden.
 */
export function someCards(
  count: number,
  overrides: Partial<Omit<ObservedCard, 'id'>> = {},
): readonly ObservedCard[] {
  let kfdNode = 2;
  return Array.from({ length: count }, (_, index) => {
    const bus = (0x0c + index * 16).toString(16).padStart(2, '0');
    const card = aCard({ ...overrides, id: cardId(`0000:${bus}:00.0`) });
    const partitions = card.partitions.map((partition) => {
      const numbered: ObservedPartition = {
        ...partition,
        renderMinor: FIRST_RENDER_MINOR + RENDER_MINORS_PER_CARD * index + partition.index,
        kfdNode,
      };
      kfdNode += 1;
      return numbered;
    });
    return { ...card, partitions };
  });
}

function toPartitions(
  product: Product,
  layout: ObservedCard['layout'],
): readonly ObservedPartition[] {
  const { compute, memory } = layout;
  if (compute === null || memory === null) return [];
  return partitionGeometry(product, { compute, memory }).map((partition) => ({
    index: partition.index,
    xcds: partition.xcds,
    computeUnits: partition.computeUnits,
    memoryBytes: partition.memoryBytes,
    renderMinor: FIRST_RENDER_MINOR + partition.index,
    uuid: null,
    kfdNode: 2 + partition.index,
  }));
}
