/**
 * What keeps tenants of one card apart, where the kernel has the files: how much of a memory domain a partition may
 * allocate, taking turns, and the cleaner shader between two tenants. Each write is read back where the file can be.
 */
import { AimError, type CardId } from '@aim-gpu/core';
import type { MemoryAllocationMode } from './card-health.js';
import { deviceBusy, unsupportedMode, writeRefused } from './change-errors.js';
import { type FileTree, textOf } from './file-tree.js';
import type { CardDirectory } from './sysfs-card.js';

const ALLOCATION = 'compute_partition_mem_alloc_mode';
const ISOLATION = 'enforce_isolation';
const CLEANER = 'run_cleaner_shader';

/** Sets how much a partition may allocate; every compute switch sets it back to its even part. */
export async function setMemoryAllocation(
  tree: FileTree,
  { id, directory }: CardDirectory,
  mode: MemoryAllocationMode,
): Promise<void> {
  const file = `${directory}/${ALLOCATION}`;
  const before = await present(tree, id, file, 'limiting what a partition allocates');
  // The first posting of the kernel's patch said EVEN where it now says CAPPING.
  const even = /^(?:EVEN|CAPPING)$/i.test(before) ? before : 'CAPPING';
  const text = mode === 'all' ? 'ALL' : even;
  await writeAndCompare(tree, file, text, `setting ${ALLOCATION} of ${id}`);
}

/** Makes processes of one partition take turns, or lets them run together again. */
export async function setIsolation(
  tree: FileTree,
  { id, directory }: CardDirectory,
  partition: number,
  isolated: boolean,
): Promise<void> {
  const file = `${directory}/${ISOLATION}`;
  const before = await present(tree, id, file, 'isolating processes');
  const flags = before.split(/\s+/);
  if (flags[partition] === undefined) throw noPartition(id, partition, flags.length);
  const text = flags
    .map((flag, index) => (index === partition ? Number(isolated) : flag))
    .join(' ');
  await writeAndCompare(tree, file, text, `setting ${ISOLATION} of ${id}`);
}

/** Wipes registers and local memory of one partition: for the hand-over from one tenant to the next. */
export async function runCleanerShader(
  tree: FileTree,
  { id, directory }: CardDirectory,
  partition: number,
): Promise<void> {
  const file = `${directory}/${CLEANER}`;
  const what = `cleaning partition ${partition} of ${id}`;
  if ((await tree.access(file)) === null) throw lacking(id, what, CLEANER);
  const errno = await tree.write(file, String(partition));
  if (errno !== null) throw refused(what, errno, file);
}

async function present(tree: FileTree, id: CardId, file: string, what: string): Promise<string> {
  const text = await textOf(tree, file);
  if (text === null) throw lacking(id, what, file.split('/').at(-1) ?? file);
  return text;
}

async function writeAndCompare(
  tree: FileTree,
  file: string,
  text: string,
  what: string,
): Promise<void> {
  const errno = await tree.write(file, text);
  if (errno !== null) throw refused(what, errno, file);
  const after = await textOf(tree, file);
  if (after?.toUpperCase() === text.toUpperCase()) return;
  throw new AimError({
    code: 'ERR_DRIVER_IO',
    kind: 'unavailable',
    message: `${what}: the kernel took ${text} and now says ${after ?? 'nothing'}`,
    details: { file, wanted: text, found: after },
  });
}

function refused(what: string, errno: string, file: string): AimError {
  return errno === 'EBUSY' ? deviceBusy(what, []) : writeRefused(what, errno, file);
}

function lacking(id: CardId, what: string, name: string): AimError {
  return unsupportedMode(`${what} of ${id}`, `this kernel has no ${name}`);
}

function noPartition(id: CardId, partition: number, count: number): AimError {
  return new AimError({
    code: 'ERR_DEVICE_UNKNOWN',
    kind: 'missing',
    message: `${id} has no partition ${partition}`,
    details: { card: id, partition, partitions: count },
  });
}
