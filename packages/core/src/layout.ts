/**
 * Compute mode, memory mode and their pair, the layout of a card. Owns the words and the arithmetic that follows
 * from them; which layouts a product allows is in core/products.
 */

/** How a card's XCDs are grouped into partitions: 1, 2, 3, 4 or one each. */
export type ComputeMode = 'SPX' | 'DPX' | 'TPX' | 'QPX' | 'CPX';
/** Into how many memory domains a hive's HBM is split. */
export type MemoryMode = 'NPS1' | 'NPS2' | 'NPS4' | 'NPS8';

/** The layout of one card. */
export interface Layout {
  readonly compute: ComputeMode;
  readonly memory: MemoryMode;
}

/** Every compute mode, in the kernel's order. */
export const COMPUTE_MODES: readonly ComputeMode[] = ['SPX', 'DPX', 'TPX', 'QPX', 'CPX'];
/** Every memory mode. */
export const MEMORY_MODES: readonly MemoryMode[] = ['NPS1', 'NPS2', 'NPS4', 'NPS8'];

/** How many partitions a card of `xcds` XCDs has in a compute mode. */
export function partitionCount(mode: ComputeMode, xcds: number): number {
  switch (mode) {
    case 'SPX':
      return 1;
    case 'DPX':
      return 2;
    case 'TPX':
      return 3;
    case 'QPX':
      return 4;
    case 'CPX':
      return xcds;
  }
}

/** How many memory domains a memory mode makes of a card's HBM. */
export function memoryDomainCount(mode: MemoryMode): number {
  return Number(mode.slice(3));
}

/** Writes a layout as people do: `CPX/NPS4`. */
export function formatLayout(layout: Layout): string {
  return `${layout.compute}/${layout.memory}`;
}

/** Reads `CPX/NPS4` or `cpx_nps4`; null when it is neither. */
export function toLayout(text: string): Layout | null {
  const match = /^(SPX|DPX|TPX|QPX|CPX)[/_](NPS[1248])$/i.exec(text.trim());
  if (match?.[1] === undefined || match[2] === undefined) return null;
  return {
    compute: match[1].toUpperCase() as ComputeMode,
    memory: match[2].toUpperCase() as MemoryMode,
  };
}

/** Whether two layouts are the same. */
export function sameLayout(a: Layout, b: Layout): boolean {
  return a.compute === b.compute && a.memory === b.memory;
}
