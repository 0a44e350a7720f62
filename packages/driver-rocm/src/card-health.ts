/**
 * Health of a card, where the kernel has the files: RAS errors, whether it is being reset, memory in use, and the
 * switches that decide how partitions are kept apart. Read apart from discovery: these files may be slow, and a layout
 * does not depend on them. What a tree does not say is null.
 */
import { type Bytes, bytes, type CardId, type ObservedCard } from '@aim-gpu/core';
import { type FileTree, namesIn, textOf } from './file-tree.js';
import { KFD_NODES } from './kfd-topology.js';
import type { CardDirectory } from './sysfs-card.js';

/** How much memory a partition may allocate: its even part, or all of its memory domain. */
export type MemoryAllocationMode = 'capping' | 'all';

/** Errors that one block of a card has counted since the driver was loaded. */
export interface RasCount {
  /** The kernel's name of the block: `umc` is memory, `gfx` the compute dies, … */
  readonly block: string;
  readonly uncorrectable: number;
  readonly correctable: number;
  /** Found by scrubbing and not yet used; null on kernels that do not count them. */
  readonly deferred: number | null;
}

/** Health of one partition. */
export interface PartitionHealth {
  readonly index: number;
  /** Null as well where the kernel shows the card's whole use on every partition, which says nothing of this one. */
  readonly memoryUsedBytes: Bytes | null;
  /** Whether processes take turns, with the cleaner shader between them. */
  readonly isolated: boolean | null;
}

/** Health of one card. */
export interface CardHealth {
  readonly card: CardId;
  /** The kernel answers EPERM to everybody while it resets a card. */
  readonly resetting: boolean;
  /** Null where the card has no RAS files. */
  readonly ras: readonly RasCount[] | null;
  /** Pages taken out of use; null where the card does not say. */
  readonly retiredPages: number | null;
  readonly memoryUsedBytes: Bytes | null;
  readonly memoryAllocation: MemoryAllocationMode | null;
  /** Whether there is a cleaner shader to run between tenants. */
  readonly hasCleanerShader: boolean;
  readonly partitions: readonly PartitionHealth[];
}

/** Reads one card's health. */
export async function readCardHealth(
  tree: FileTree,
  card: ObservedCard,
  place: CardDirectory | undefined,
): Promise<CardHealth> {
  const used = await Promise.all(
    card.partitions.map((partition) => readUsed(tree, partition.kfdNode)),
  );
  const poolWide = isPoolWide(used);
  const none = { resetting: false, ras: null, retiredPages: null, memoryAllocation: null };
  if (place === undefined) {
    return {
      card: card.id,
      ...none,
      memoryUsedBytes: poolWide ? (used[0] ?? null) : null,
      hasCleanerShader: false,
      partitions: card.partitions.map(({ index }, at) => ({
        index,
        memoryUsedBytes: poolWide ? null : (used[at] ?? null),
        isolated: null,
      })),
    };
  }
  const { directory } = place;
  const [mode, vram, allocation, isolation, names, ras] = await Promise.all([
    tree.read(`${directory}/current_compute_partition`),
    textOf(tree, `${directory}/mem_info_vram_used`),
    textOf(tree, `${directory}/compute_partition_mem_alloc_mode`),
    textOf(tree, `${directory}/enforce_isolation`),
    namesIn(tree, directory),
    readRas(tree, directory),
  ]);
  // One number for each partition, by its place.
  const isolated = isolation === null ? [] : isolation.split(/\s+/);
  return {
    card: card.id,
    resetting: mode.kind === 'unreadable' && mode.reason === 'EPERM',
    ...ras,
    memoryUsedBytes: toBytes(vram) ?? (poolWide ? (used[0] ?? null) : null),
    memoryAllocation: toAllocation(allocation),
    hasCleanerShader: names.includes('run_cleaner_shader'),
    partitions: card.partitions.map(({ index }, at) => ({
      index,
      memoryUsedBytes: poolWide ? null : (used[at] ?? null),
      isolated: toFlag(isolated[index]),
    })),
  };
}

async function readUsed(tree: FileTree, node: number | null): Promise<Bytes | null> {
  if (node === null) return null;
  return toBytes(await textOf(tree, `${KFD_NODES}/${node}/mem_banks/0/used_memory`));
}

/** Captures show one number on all partitions of a card: the use of the pool, not of any of them. */
function isPoolWide(used: readonly (Bytes | null)[]): boolean {
  const [first] = used;
  return used.length > 1 && first != null && first > 0 && used.every((entry) => entry === first);
}

/** `ras/<block>_err_count` holds `ue: 0` and `ce: 0`, newer kernels also `de: 0`, each on its line. */
async function readRas(
  tree: FileTree,
  directory: string,
): Promise<Pick<CardHealth, 'ras' | 'retiredPages'>> {
  const names = await namesIn(tree, `${directory}/ras`);
  const blocks = names.filter((name) => name.endsWith('_err_count'));
  const counts = await Promise.all(
    blocks.map(async (name): Promise<RasCount | null> => {
      const text = (await textOf(tree, `${directory}/ras/${name}`)) ?? '';
      const count = (key: string): number | null => {
        const digits = new RegExp(`^${key}:\\s*(\\d{1,15})\\s*$`, 'm').exec(text)?.[1];
        return digits === undefined ? null : Number(digits);
      };
      const uncorrectable = count('ue');
      const correctable = count('ce');
      if (uncorrectable === null || correctable === null) return null;
      const block = name.slice(0, -'_err_count'.length);
      return { block, uncorrectable, correctable, deferred: count('de') };
    }),
  );
  const read = counts.filter((entry) => entry !== null);
  return {
    ras: read.length === 0 ? null : read,
    retiredPages: names.includes('gpu_vram_bad_pages')
      ? toPages(await textOf(tree, `${directory}/ras/gpu_vram_bad_pages`))
      : null,
  };
}

/** A line for each page, `0x… : 0x… : R`; P and F are pages not yet, or never, retired. */
function toPages(text: string | null): number | null {
  if (text === null) return null;
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.filter((line) => /:\s*R\s*$/.test(line)).length;
}

/** The first posting of the kernel's patch said EVEN where it now says CAPPING. */
function toAllocation(text: string | null): MemoryAllocationMode | null {
  if (text === null) return null;
  if (/^all$/i.test(text)) return 'all';
  return /^(?:capping|even)$/i.test(text) ? 'capping' : null;
}

function toFlag(text: string | undefined): boolean | null {
  // 2 and 3 are newer kernels' weaker forms, which still serialise.
  if (text === undefined || !/^\d$/.test(text)) return null;
  return text !== '0';
}

function toBytes(text: string | null): Bytes | null {
  if (text === null || !/^\d{1,16}$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? bytes(value) : null;
}
