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
import { type FileTree, linkName } from './file-tree.js';
import { problem, unreadable } from './problems.js';

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

/** Where a card's directory is. */
export interface CardDirectory {
  readonly id: CardId;
  readonly directory: string;
}

const DRIVER = 'sys/module/amdgpu/drivers/pci:amdgpu';
const DRM = 'sys/class/drm';
const AMD_VENDOR = '0x1002';
const COMPUTE = 'current_compute_partition';
const MEMORY = 'current_memory_partition';
const COMPUTE_OFFERED = 'available_compute_partition';
const MEMORY_OFFERED = 'available_memory_partition';
const VRAM = 'mem_info_vram_total';
const FILES = [
  'vendor',
  'device',
  COMPUTE,
  MEMORY,
  COMPUTE_OFFERED,
  MEMORY_OFFERED,
  'numa_node',
  VRAM,
] as const;
// The kernel makes it only where more than one memory mode is offered, and the vendor only guards against others.
const OPTIONAL: readonly string[] = [MEMORY_OFFERED, 'vendor'];

/** Finds every directory of a card that the driver or the DRM class names, each card once. `names`: the DRM class. */
export async function findCardDirectories(
  tree: FileTree,
  names: readonly string[],
): Promise<{
  readonly directories: readonly CardDirectory[];
  readonly problems: readonly Problem[];
}> {
  const found = new Map<CardId, string>();
  const listed = await tree.list(DRIVER);
  const problems =
    listed.kind === 'unreadable'
      ? [unreadable('SYSFS_UNREADABLE', 'the cards of amdgpu', listed.reason, DRIVER)]
      : [];
  for (const name of listed.kind === 'names' ? listed.names : []) {
    const id = toCardId(name);
    if (id !== null && !found.has(id)) found.set(id, `${DRIVER}/${name}`);
  }
  for (const name of names.filter((entry) => /^card\d+$/.test(entry))) {
    const directory = `${DRM}/${name}/device`;
    const id = await addressOf(tree, directory);
    if (id !== null && !found.has(id)) found.set(id, directory);
  }
  return { directories: [...found].map(([id, directory]) => ({ id, directory })), problems };
}

/** The PCI address behind a DRM card: the link's target, else what uevent says. */
async function addressOf(tree: FileTree, directory: string): Promise<CardId | null> {
  const target = toCardId((await linkName(tree, directory)) ?? '');
  if (target !== null) return target;
  const uevent = await tree.read(`${directory}/uevent`);
  if (uevent.kind !== 'text') return null;
  return toCardId(/^PCI_SLOT_NAME=(\S+)/m.exec(uevent.text)?.[1] ?? '');
}

/** The card behind a PCI address, or null when the text is none. */
function toCardId(text: string): CardId | null {
  return /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i.test(text) ? cardId(text) : null;
}

/** Reads one card's files, each once; null when it is another vendor's. */
export async function readSysfsCard(
  tree: FileTree,
  { id, directory }: CardDirectory,
): Promise<SysfsCard | null> {
  const files = await Promise.all(FILES.map((name) => tree.read(`${directory}/${name}`)));
  const problems: Problem[] = [];
  const absent: string[] = [];
  const values = FILES.map((name, index): string | null => {
    const file = files[index];
    if (file?.kind === 'text') return file.text.trim();
    if (file?.kind === 'unreadable')
      problems.push(unreadableFile(id, name, file.reason, `${directory}/${name}`));
    else if (!OPTIONAL.includes(name)) absent.push(name);
    return null;
  });
  const [vendor, device, compute, memory, computeOffered, memoryOffered, numa, vram] = values;
  // Some other vendor's display, or a management controller. What is no vendor id at all is a broken file.
  const vendorId = /^0x[0-9a-f]{4}$/i.test(vendor ?? '') ? vendor?.toLowerCase() : null;
  if (vendorId != null && vendorId !== AMD_VENDOR) return null;
  if (absent.length > 0) {
    const message = `${id} lacks ${absent.join(', ')}: what they tell is unknown`;
    problems.push(problem('SYSFS_FILE_ABSENT', message, directory));
  }
  const told = <T>(name: string, text: string | null | undefined, value: T | null): T | null => {
    if (text != null && value === null) {
      const message = `${name} of ${id} says ${clip(text)}`;
      problems.push(problem('SYSFS_VALUE_UNKNOWN', message, `${directory}/${name}`));
    }
    return value;
  };
  told('vendor', vendor, vendorId ?? null);
  return {
    id,
    directory,
    deviceId: told('device', device, toDeviceId(device)),
    compute: told(COMPUTE, compute, toMode(COMPUTE_MODES, compute)),
    memory: told(MEMORY, memory, toMode(MEMORY_MODES, memory)),
    computeOffered: told(COMPUTE_OFFERED, computeOffered, toModes(COMPUTE_MODES, computeOffered)),
    memoryOffered: told(MEMORY_OFFERED, memoryOffered, toModes(MEMORY_MODES, memoryOffered)),
    // -1 is the kernel's way to say that the machine has no NUMA nodes.
    numaNode: told('numa_node', numa === '-1' ? null : numa, toCount(numa)),
    memoryBytes: told(VRAM, vram, toBytes(vram)),
    problems,
  };
}

/** While a card resets, the kernel refuses even root with EPERM; a file that one may not open is EACCES. */
function unreadableFile(id: CardId, name: string, reason: string, where: string): Problem {
  if (reason === 'EPERM') {
    const message = `${id} refuses to tell ${name}: it is being reset`;
    return problem('CARD_RESETTING', message, where);
  }
  return unreadable('SYSFS_UNREADABLE', `${name} of ${id}`, reason, where);
}

function toMode<M extends string>(known: readonly M[], text: string | null | undefined): M | null {
  return known.find((mode) => mode === text?.toUpperCase()) ?? null;
}

/** `SPX, DPX, QPX, CPX`; "Not supported" offers nothing. A list with an unknown word may be cut off: it is no answer. */
function toModes<M extends string>(
  known: readonly M[],
  text: string | null | undefined,
): readonly M[] | null {
  if (text == null) return null;
  if (/^not supported$/i.test(text)) return [];
  const words = text.split(/[\s,]+/).map((word) => word.toUpperCase());
  const modes = known.filter((mode) => words.includes(mode));
  return words.length === modes.length ? modes : null;
}

function toDeviceId(text: string | null | undefined): string | null {
  return /^0x[0-9a-f]{4}$/i.test(text ?? '') ? (text ?? '').slice(2).toLowerCase() : null;
}

function toCount(text: string | null | undefined): number | null {
  return /^\d{1,9}$/.test(text ?? '') ? Number(text) : null;
}

function toBytes(text: string | null | undefined): Bytes | null {
  if (text == null || !/^\d{1,16}$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) && value > 0 ? bytes(value) : null;
}

function clip(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
