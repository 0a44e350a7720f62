/**
 * What a GPU product is: dies, memory, peaks and the layouts its rules allow. Owns the shape and the geometry that
 * follows from it; the figures, each with its source, are in catalogue.ts. A capacity computed here is an expectation
 * for planning and simulation: what a real card offers is always read from the device.
 */
import { AimError } from '../errors.js';
import { formatLayout, type Layout, memoryDomainCount, partitionCount } from '../layout.js';
import { type Bytes, bytesFloor } from '../units.js';

/** How well a layout is supported by evidence. */
export type LayoutGrade =
  /** AMD lists it as validated. */
  | 'validated'
  /** Kernel and firmware offer it, seen on real cards or in the driver's source. */
  | 'offered'
  /** Follows from sister products; no capture shows it. */
  | 'unverified';

/** A layout that a product's rules allow. */
export interface ProductLayout extends Layout {
  readonly grade: LayoutGrade;
  readonly source: string;
}

/** Peak rates of a whole card, dense, in FLOP/s and bytes/s; null where the product has no such unit. */
export interface ProductPeaks {
  readonly memoryBytesPerSecond: number;
  readonly fp16FlopsPerSecond: number;
  readonly fp8FlopsPerSecond: number;
  readonly fp4FlopsPerSecond: number | null;
}

/** One GPU product. */
export interface Product {
  /** Key used in fleet files and JSON: `MI300X`. */
  readonly name: string;
  readonly architecture: 'CDNA3' | 'CDNA4';
  /** KFD's gfx_target_version. */
  readonly gfxTargetVersion: number;
  readonly xcds: number;
  readonly computeUnitsPerXcd: number;
  /** IO dies that carry XCDs; XCDs of one IO die share its memory stacks in NPS4. */
  readonly ioDies: number;
  /** HBM as the driver shows it. */
  readonly memoryBytes: Bytes;
  /** HBM as the data sheet names it. AMD's "GB" of HBM are 2^30 bytes: MI300X's 192 show as 196592 MiB. */
  readonly soldMemoryGb: number;
  /** GPU memory is the CPU's memory too (APU); its memory mode cannot change. */
  readonly unifiedMemory: boolean;
  readonly infinityCacheBytes: Bytes;
  readonly peaks: ProductPeaks;
  /** PCI device ids, lower-case hex without 0x; `virtual` ones are SR-IOV functions and read-only. */
  readonly pciIds: readonly { readonly id: string; readonly virtual: boolean }[];
  readonly layouts: readonly ProductLayout[];
  /** Layouts only some firmware has: legal where the card itself offers them, never assumed otherwise. */
  readonly firmwareLayouts: readonly ProductLayout[];
  /** Layout after a fresh driver load. */
  readonly initialLayout: Layout;
  /** Where the figures above come from. */
  readonly sources: readonly string[];
}

/** One partition of a card in a layout, as the rules say it will be. */
export interface PartitionGeometry {
  readonly index: number;
  readonly xcds: number;
  readonly computeUnits: number;
  readonly memoryBytes: Bytes;
  /** Which memory domain of the card it belongs to. */
  readonly memoryDomain: number;
}

/**
 * The partitions a card will have in a layout. Memory is divided evenly, as the kernel caps it in its default mode:
 * memory domain ÷ partitions in it (amdgpu_amdkfd_xcp_memory_size).
 * Throws `ERR_LAYOUT_UNSUPPORTED` (refused) for a layout no firmware can give the dies: XCDs that do not divide
 * evenly, or fewer partitions than memory domains.
 */
export function partitionGeometry(
  product: Product,
  layout: Layout,
  cardMemoryBytes: Bytes = product.memoryBytes,
): readonly PartitionGeometry[] {
  const count = partitionCount(layout.compute, product.xcds);
  const domains = memoryDomainCount(layout.memory);
  if (product.xcds % count !== 0 || count % domains !== 0) {
    throw new AimError({
      code: 'ERR_LAYOUT_UNSUPPORTED',
      kind: 'refused',
      message: `${product.name} with ${product.xcds} XCDs cannot be laid out as ${formatLayout(layout)}`,
      details: { product: product.name, layout: formatLayout(layout) },
      hint: `it allows ${product.layouts.map(formatLayout).join(', ')}`,
    });
  }
  const xcds = product.xcds / count;
  const memoryBytes = bytesFloor(cardMemoryBytes / count);
  return Array.from({ length: count }, (_, index) => ({
    index,
    xcds,
    computeUnits: xcds * product.computeUnitsPerXcd,
    memoryBytes,
    memoryDomain: Math.floor((index * domains) / count),
  }));
}

/** Whether a product's rules allow a layout; the entry with grade and source, or null. */
export function productLayout(product: Product, layout: Layout): ProductLayout | null {
  return (
    product.layouts.find(
      (entry) => entry.compute === layout.compute && entry.memory === layout.memory,
    ) ?? null
  );
}
