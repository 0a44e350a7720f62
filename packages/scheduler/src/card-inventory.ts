/**
 * Cards that are not there yet, as inventories: what a planner needs to answer "and with one more?". Figures are the
 * product's rules; a real card's own answer replaces them once it exists.
 */
import {
  AimError,
  cardId,
  hiveId,
  type Inventory,
  type Layout,
  type NodeName,
  nodeName,
  type ObservedCard,
} from '@aim-gpu/core';
import { findProduct, PRODUCTS, partitionGeometry } from '@aim-gpu/core/products';

/** Cards of one node are one hive of at most this many (Instinct platforms have eight). */
const CARDS_OF_A_NODE = 8;

/** Inventories of as many nodes as a number of cards of a product needs. Throws `ERR_PRODUCT_UNKNOWN` (invalid). */
export function toNewInventories(options: {
  readonly product: string;
  readonly count: number;
  /** What node names start with; `new` when left out. */
  readonly name?: string;
}): readonly Inventory[] {
  const { product, count, name = 'new' } = options;
  const nodes = Math.ceil(count / CARDS_OF_A_NODE);
  return Array.from({ length: nodes }, (_, index) => {
    const cards = Math.min(CARDS_OF_A_NODE, count - index * CARDS_OF_A_NODE);
    const node = nodeName(nodes === 1 ? name : `${name}-${index}`);
    return {
      node,
      driver: 'simulated',
      generation: 'not-there',
      cards: Array.from({ length: cards }, (_unused, at) => toNewCard(product, at, node)),
      problems: [],
    };
  });
}

/** One card of a product as it will be after a fresh driver load. Throws `ERR_PRODUCT_UNKNOWN` (invalid). */
export function toNewCard(name: string, index: number, node: NodeName): ObservedCard {
  const product = findProduct(name);
  if (product === null) {
    throw new AimError({
      code: 'ERR_PRODUCT_UNKNOWN',
      kind: 'invalid',
      message: `there is no product ${name}`,
      hint: `known are ${PRODUCTS.map((known) => known.name).join(', ')}`,
    });
  }
  return {
    id: cardId(`00${(0xf0 + index).toString(16)}:00:00.0`),
    product: product.name,
    hive: hiveId(`hive-of-${node}`),
    numaNode: null,
    memoryBytes: product.memoryBytes,
    layout: product.initialLayout,
    partitions: toPartitions(product.name, product.initialLayout),
    offered: null,
    writable: true,
  };
}

/** The partitions a product's card will have in a layout; empty for a product that is not known. */
export function toPartitions(name: string, layout: Layout): ObservedCard['partitions'] {
  const product = findProduct(name);
  if (product === null) return [];
  return partitionGeometry(product, layout).map(({ index, xcds, computeUnits, memoryBytes }) => ({
    index,
    xcds,
    computeUnits,
    memoryBytes,
    renderMinor: null,
    uuid: null,
    kfdNode: null,
  }));
}
