/**
 * amd-smi's text tables of `partition`: columns by their names, where the names are there; the sparse table of
 * profiles by the place of the mode in a row, since an excerpt may lack its head and a row its end.
 */
import { toComputeMode, toIndex, toMemoryMode } from './cell.js';
import type { GpuCollector } from './gpu-collector.js';
import { addProfiles, type ProfileRow } from './profile-rows.js';

const MODE = /^(?:SPX|DPX|TPX|QPX|CPX)\*?$/;
/** Cells of a whole row of the table of profiles. */
const PROFILE_COLUMNS = 11;

/** Reads the tables; true when there are any. */
export function readTables(collector: GpuCollector, lines: readonly string[]): boolean {
  let columns: readonly string[] | null = null;
  let found = false;
  const profiles: ProfileRow[] = [];
  let firstProfile = '';
  for (const [number, line] of lines.entries()) {
    const where = `line ${number + 1}`;
    const cells = toCells(line);
    if (cells[0] === 'GPU_ID') {
      columns = cells;
      found = true;
      continue;
    }
    if (/^\s*[A-Z][A-Z_ ]{0,60}:/.test(line)) {
      columns = null;
      continue;
    }
    if (columns !== null && !columns.includes('PROFILE_INDEX')) {
      readRow(collector, columns, cells, where);
      continue;
    }
    const row = toProfileRow(cells, columns !== null);
    if (row === null) continue;
    found = true;
    if (firstProfile === '') firstProfile = where;
    profiles.push(row);
  }
  addProfiles(collector, profiles, firstProfile);
  return found;
}

function toCells(line: string): readonly string[] {
  return line.replace(/, +/g, ',').trim().split(/\s+/);
}

function readRow(
  collector: GpuCollector,
  columns: readonly string[],
  cells: readonly string[],
  where: string,
): void {
  const cell = (name: string): string | undefined => {
    const at = columns.indexOf(name);
    return at === -1 ? undefined : cells[at];
  };
  const index = toIndex(cell('GPU_ID'));
  if (index === null) return;
  collector.add(
    {
      index,
      memory: toMemoryMode(cell('MEMORY') ?? cell('CURRENT_MEMORY_PARTITION')),
      compute: toComputeMode(cell('ACCELERATOR_TYPE')),
      partitionId: toIndex(cell('PARTITION_ID')),
    },
    where,
  );
}

/** gpu, profile, memory modes, mode, partition, number of partitions, …; a row for a further profile lacks the gpu. */
function toProfileRow(cells: readonly string[], inTable: boolean): ProfileRow | null {
  const at = cells.findIndex((cell) => MODE.test(cell));
  const whole = at === 3 ? PROFILE_COLUMNS : PROFILE_COLUMNS - 1;
  if ((at === 2 || at === 3) && (inTable || cells.length === whole)) {
    return {
      gpu: at === 3 ? cells[0] : '',
      index: cells[at - 2],
      memoryModes: cells[at - 1],
      type: cells[at],
      partitions: cells[at + 2],
    };
  }
  const untold =
    toIndex(cells[0]) !== null && cells.slice(1, 4).filter((cell) => cell === 'N/A').length === 3;
  if (!untold || !(inTable || cells.length === PROFILE_COLUMNS)) return null;
  return { gpu: cells[0], index: 'N/A', memoryModes: 'N/A', type: 'N/A', partitions: 'N/A' };
}
