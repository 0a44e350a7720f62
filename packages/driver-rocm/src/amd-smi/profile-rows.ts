/**
 * Partition profiles from sparse rows: a row names a profile and one of its resources, and an empty cell means "as in
 * the row above". The same rows come as JSON and as a text table.
 */

import { toComputeMode, toIndex, toMemoryModes, toWord } from './cell.js';
import type { GpuCollector } from './gpu-collector.js';
import type { AmdSmiProfile } from './report.js';

/** One row; cells are as printed. */
export interface ProfileRow {
  /** Empty where it is that of the row above. */
  readonly gpu: unknown;
  readonly index: unknown;
  readonly type: unknown;
  readonly memoryModes: unknown;
  readonly partitions: unknown;
}

/** Adds the profiles of the rows to the GPUs they belong to, and the marked one as the mode in force. */
export function addProfiles(
  collector: GpuCollector,
  rows: readonly ProfileRow[],
  where: string,
): void {
  const byGpu = new Map<number, AmdSmiProfile[]>();
  let gpu: number | null = null;
  for (const row of rows) {
    gpu = toIndex(row.gpu) ?? gpu;
    if (gpu === null) continue;
    const profiles = byGpu.get(gpu) ?? [];
    byGpu.set(gpu, profiles);
    const word = toWord(row.type);
    // A further resource of the profile above, or a GPU whose profiles are not told.
    if (word === null) continue;
    const type = toComputeMode(word);
    if (type === null) {
      collector.problem('MODE_UNKNOWN', `GPU ${gpu} lists a profile ${clip(word)}`, where);
      continue;
    }
    profiles.push({
      index: toIndex(row.index),
      type,
      current: word.endsWith('*'),
      memoryModes: toMemoryModes(row.memoryModes),
      partitions: toIndex(row.partitions),
    });
  }
  for (const [index, profiles] of byGpu) {
    const current = profiles.find((profile) => profile.current);
    collector.add({ index, compute: current?.type ?? null, profiles }, where);
  }
  if (byGpu.size > 0 && [...byGpu.values()].every((profiles) => profiles.length === 0)) {
    const message =
      'every profile is N/A: the tool tells them to root only (ROCm 6.3 to nobody), and exits with 0';
    collector.problem('PROFILES_NOT_TOLD', message, where);
  }
}

function clip(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}
