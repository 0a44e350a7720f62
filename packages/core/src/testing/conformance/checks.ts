/**
 * What must be true of an inventory, judged against the product's data: each check gives a sentence of what is wrong, or
 * null. Pure.
 */
import type { Inventory, ObservedCard } from '../../inventory.js';
import { formatLayout, type Layout } from '../../layout.js';
import { findProduct } from '../../products/catalogue.js';
import { partitionGeometry } from '../../products/product.js';
import type { ConformanceCheck } from './case.js';

// Firmware keeps a little for itself on a real card; captures differ by less than this from the even part.
const CAPACITY_TOLERANCE = 0.02;

/** What is wrong; null when the check holds. `remembered` is the inventory that was remembered, if any. */
export function failedCheck(
  check: ConformanceCheck,
  inventory: Inventory,
  remembered: Inventory | null,
): string | null {
  const { cards } = inventory;
  switch (check.kind) {
    case 'layout':
      return firstOf(
        cards.filter((_, index) => check.card === undefined || check.card === index),
        (card) => notInLayout(card, check.layout),
      );
    case 'sums':
      return firstOf(cards, wrongSums);
    case 'identity':
      return firstOf(cards, wrongIndices) ?? sharedNames(inventory);
    case 'as-remembered':
      return remembered === null || inventory.generation === remembered.generation
        ? null
        : `the machine has changed: ${describe(remembered)} became ${describe(inventory)}`;
    case 'same-render-nodes':
      return remembered === null ? null : otherRenderNodes(remembered, inventory);
    case 'some-cards': {
      const count = cards.filter((card) => card.layout.memory === check.memory).length;
      return count > 0 && count < cards.length
        ? null
        : `${count} of ${cards.length} cards are in ${check.memory}, and it should be some`;
    }
  }
}

/** The layouts of all cards, for messages. */
export function describe({ cards }: Inventory): string {
  return cards
    .map(({ id, layout, partitions }) => {
      const { compute, memory } = layout;
      return `${id} ${compute ?? '?'}/${memory ?? '?'} with ${partitions.length} partitions`;
    })
    .join(', ');
}

function firstOf<T>(list: readonly T[], judge: (entry: T) => string | null): string | null {
  for (const entry of list) {
    const wrong = judge(entry);
    if (wrong !== null) return wrong;
  }
  return list.length === 0 ? 'there is no card' : null;
}

function notInLayout(card: ObservedCard, layout: Layout): string | null {
  const { compute, memory } = card.layout;
  if (compute !== layout.compute || memory !== layout.memory)
    return `${card.id} is in ${compute ?? '?'}/${memory ?? '?'}, not in ${formatLayout(layout)}`;
  const product = findProduct(card.product ?? '');
  if (product === null) return `${card.id} is of no known product`;
  const expected = partitionGeometry(product, layout);
  if (card.partitions.length !== expected.length)
    return `${card.id} has ${card.partitions.length} partitions, not ${expected.length}`;
  for (const want of expected) {
    const seen = card.partitions.find((partition) => partition.index === want.index);
    const where = `partition ${want.index} of ${card.id}`;
    if (seen === undefined) return `${where} is missing`;
    if (seen.xcds !== want.xcds || seen.computeUnits !== want.computeUnits)
      return `${where} has ${seen.xcds} XCDs and ${seen.computeUnits} CUs, not ${want.xcds} and ${want.computeUnits}`;
    const ratio = (seen.memoryBytes ?? 0) / want.memoryBytes;
    if (Math.abs(ratio - 1) > CAPACITY_TOLERANCE)
      return `${where} has ${seen.memoryBytes ?? 'no'} bytes, not about ${want.memoryBytes}`;
  }
  return null;
}

function wrongSums(card: ObservedCard): string | null {
  const product = findProduct(card.product ?? '');
  if (product === null) return `${card.id} is of no known product`;
  const sum = (of: (partition: ObservedCard['partitions'][number]) => number): number =>
    card.partitions.reduce((total, partition) => total + of(partition), 0);
  const xcds = sum((partition) => partition.xcds);
  if (xcds !== product.xcds) return `${card.id}: ${xcds} XCDs in all, not ${product.xcds}`;
  const units = sum((partition) => partition.computeUnits);
  const wanted = product.xcds * product.computeUnitsPerXcd;
  if (units !== wanted) return `${card.id}: ${units} CUs in all, not ${wanted}`;
  const memory = sum((partition) => partition.memoryBytes ?? 0);
  if (card.memoryBytes !== null && memory > card.memoryBytes)
    return `${card.id}: partitions of ${memory} bytes on ${card.memoryBytes}`;
  return memory === 0 ? `${card.id}: no partition says its capacity` : null;
}

function wrongIndices(card: ObservedCard): string | null {
  const indices = card.partitions.map((partition) => partition.index);
  return indices.every((index, at) => index === at)
    ? null
    : `partitions of ${card.id} are numbered ${indices.join(', ')}`;
}

function sharedNames({ cards }: Inventory): string | null {
  const seen = new Set<string>();
  for (const card of cards)
    for (const { index, renderMinor, uuid } of card.partitions) {
      if (renderMinor === null) return `partition ${index} of ${card.id} has no render node`;
      for (const name of [`renderD${renderMinor}`, ...(uuid === null ? [] : [uuid])]) {
        if (seen.has(name)) return `${name} names two partitions`;
        seen.add(name);
      }
    }
  return null;
}

function otherRenderNodes(before: Inventory, after: Inventory): string | null {
  const nodes = ({ cards }: Inventory): readonly string[] =>
    cards.flatMap((card) =>
      card.partitions.map(({ index, renderMinor }) => `${card.id}/${index}=${renderMinor}`),
    );
  const then = nodes(before).join(' ');
  const now = nodes(after).join(' ');
  return then === now ? null : `render nodes were ${then} and are ${now}`;
}
