/**
 * Which compute mode a card is expected to have after its driver was loaded. A forecast for plans only: kernels differ
 * (in four memory domains older ones pair the XCDs), so whoever applies a plan reads the mode back.
 */
import {
  type ComputeMode,
  type Layout,
  type MemoryMode,
  memoryDomainCount,
  type ObservedCard,
} from '@aim-gpu/core';
import { findProduct } from '@aim-gpu/core/products';
import { legalLayouts } from './layout-rules.js';

/**
 * How many XCDs a card has: by its product, which no switch changes, else by the partitions that were read (which may
 * not all be there yet); null when neither says.
 */
export function xcdsOf(card: ObservedCard): number | null {
  const product = card.product === null ? null : findProduct(card.product);
  if (product !== null) return product.xcds;
  const read = card.partitions.reduce((sum, partition) => sum + partition.xcds, 0);
  return read > 0 ? read : null;
}

/**
 * The compute mode expected after a load in a memory mode, by the automatic choice of amdgpu (aqua_vanjaram.c): one
 * domain SPX; as many domains as XCDs, or half as many, CPX (TPX where memory is the CPU's too); two domains DPX.
 */
export function expectedLoadMode(card: ObservedCard, memory: MemoryMode): ComputeMode {
  const product = card.product === null ? null : findProduct(card.product);
  const legal = legalLayouts(card).legal.filter((entry) => entry.layout.memory === memory);
  const wish = automaticMode(memory, xcdsOf(card), product?.unifiedMemory ?? false);
  const layouts: readonly Layout[] = legal.map((entry) => entry.layout);
  if (layouts.some((layout) => layout.compute === wish)) return wish;
  return layouts[0]?.compute ?? wish;
}

function automaticMode(memory: MemoryMode, xcds: number | null, unified: boolean): ComputeMode {
  const domains = memoryDomainCount(memory);
  if (domains === 1) return 'SPX';
  if (domains === xcds) return 'CPX';
  if (xcds !== null && domains === xcds / 2) return unified ? 'TPX' : 'CPX';
  return domains === 2 ? 'DPX' : 'CPX';
}
