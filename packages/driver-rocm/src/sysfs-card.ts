/**
 * A card's own sysfs directory: modes, what modes are offered, NUMA node, whole memory. Only the primary has these
 * files; a secondary partition is always resolved through it. Owns names and text forms of the files.
 */
import {
  type Bytes,
  bytes,
  type CardId,
  COMPUTE_MODES,
  type ComputeMode,
  cardId,
  MEMORY_MODES,
  type MemoryMode,
  type Problem,
} from '@aim-gpu/core';
import type { FileTree } from './file-tree.js';

/** What a card's directory says; null is not said. */
export interface SysfsCard {
  readonly id: CardId;
  /** Where it was read, relative to the root. */
  readonly directory: string;
  /** Lower-case hex without 0x. */
  readonly deviceId: string | null;
  readonly compute: ComputeMode | null;
  readonly memory: MemoryMode | null;
  readonly computeOffered: readonly ComputeMode[] | null;
  readonly memoryOffered: readonly MemoryMode[] | null;
  readonly numaNode: number | null;
  readonly memoryBytes: Bytes | null;
  readonly problems: readonly Problem[];
}

const DRIVER = 'sys/module/amdgpu/drivers/pci:amdgpu';
const DRM = 'sys/class/drm';
const AMD_VENDOR = '0x1002';

/** Reads every card that the driver's directory or the DRM class names, each once. */
export async function readSysfsCards(tree: FileTree): Promise<readonly SysfsCard[]> {
  const directories = new Map<CardId, string>();
  for (const name of await tree.list(DRIVER)) {
    const id = toCardId(name);
    if (id !== null && !directories.has(id)) directories.set(id, `${DRIVER}/${name}`);
  }
  for (const name of (await tree.list(DRM)).filter((entry) => /^card\d+$/.test(entry))) {
    const directory = `${DRM}/${name}/device`;
    const id = await addressOf(tree, directory);
    if (id !== null && !directories.has(id)) directories.set(id, directory);
  }
  const cards = await Promise.all(
    [...directories].map(([id, directory]) => readCard(tree, id, directory)),
  );
  return cards.flatMap((card) => (card === null ? [] : [card]));
}

/** The PCI address behind a DRM card: the link's target, else what uevent says. */
async function addressOf(tree: FileTree, directory: string): Promise<CardId | null> {
  const target = toCardId((await tree.linkName(directory)) ?? '');
  if (target !== null) return target;
  const uevent = await tree.read(`${directory}/uevent`);
  if (uevent.kind !== 'text') return null;
  return toCardId(/^PCI_SLOT_NAME=(\S+)/m.exec(uevent.text)?.[1] ?? '');
}

function toCardId(text: string): CardId | null {
  return /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i.test(text) ? cardId(text) : null;
}

async function readCard(tree: FileTree, id: CardId, directory: string): Promise<SysfsCard | null> {
  const problems: Problem[] = [];
  const read = async (name: string): Promise<string | null> => {
    const where = `${directory}/${name}`;
    const file = await tree.read(where);
    if (file.kind === 'text') return file.text.trim();
    if (file.kind === 'unreadable') {
      problems.push({
        code: 'SYSFS_UNREADABLE',
        message: `${name} of ${id}: ${file.reason}`,
        where,
      });
    }
    return null;
  };
  const [vendor, device, compute, memory, computeOffered, memoryOffered, numa, vram] =
    await Promise.all(
      [
        'vendor',
        'device',
        'current_compute_partition',
        'current_memory_partition',
        'available_compute_partition',
        'available_memory_partition',
        'numa_node',
        'mem_info_vram_total',
      ].map(read),
    );
  // Some other vendor's display, or a management controller.
  if (vendor != null && vendor.toLowerCase() !== AMD_VENDOR) return null;
  const mode = <M extends string>(
    known: readonly M[],
    name: string,
    text: string | null | undefined,
  ): M | null => {
    if (text == null || text === '') return null;
    const found = known.find((entry) => entry === text.toUpperCase());
    if (found !== undefined) return found;
    const where = `${directory}/${name}`;
    problems.push({
      code: 'SYSFS_MODE_UNKNOWN',
      message: `${name} of ${id} says ${clip(text)}`,
      where,
    });
    return null;
  };
  return {
    id,
    directory,
    deviceId: /^0x[0-9a-f]{4}$/i.test(device ?? '') ? (device ?? '').slice(2).toLowerCase() : null,
    compute: mode(COMPUTE_MODES, 'current_compute_partition', compute),
    memory: mode(MEMORY_MODES, 'current_memory_partition', memory),
    computeOffered: toModes(COMPUTE_MODES, computeOffered),
    memoryOffered: toModes(MEMORY_MODES, memoryOffered),
    numaNode: /^\d+$/.test(numa ?? '') ? Number(numa) : null,
    memoryBytes: toBytes(vram),
    problems,
  };
}

/** `SPX, DPX, QPX, CPX`; "Not supported" and the like offer nothing. */
function toModes<M extends string>(
  known: readonly M[],
  text: string | null | undefined,
): readonly M[] | null {
  if (text == null || text === '') return null;
  const words = text.split(/[\s,]+/).map((word) => word.toUpperCase());
  return known.filter((mode) => words.includes(mode));
}

function toBytes(text: string | null | undefined): Bytes | null {
  if (text == null || !/^\d+$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) && value > 0 ? bytes(value) : null;
}

function clip(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
