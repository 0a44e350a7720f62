/**
 * rocm-smi's text: the concise table, whose column "Partitions" holds `NPS1, CPX, 7`, and `GPU[0] : Name: value` lines.
 */
import { toAmount, toComputeMode, toIndex, toMemoryMode, toPci, toWord } from './cell.js';
import type { GpuCollector } from './gpu-collector.js';

const CONCISE =
  /^(\d{1,6}) .{1,200}? (NPS\d|N\/A), {0,4}([A-Z]PX|N\/A)(?:, {0,4}(\d{1,3}|N\/A))? .*(?:Mhz|%|W)/;
const PAIR = /^GPU\[(\d{1,6})\]\s{0,16}: {0,4}([A-Za-z][A-Za-z ()]{0,60}): ?(.*)$/;

/** Reads the lines; true when there are any. */
export function readRocmSmiText(collector: GpuCollector, lines: readonly string[]): boolean {
  let found = false;
  for (const [number, line] of lines.entries()) {
    const where = `line ${number + 1}`;
    const concise = CONCISE.exec(line);
    if (concise !== null) {
      found = true;
      collector.add(
        {
          index: toIndex(concise[1]),
          memory: toMemoryMode(concise[2]),
          compute: toComputeMode(concise[3]),
          partitionId: toIndex(concise[4]),
        },
        where,
      );
    }
    const pair = PAIR.exec(line);
    if (pair === null) continue;
    found = true;
    const index = toIndex(pair[1]);
    const value = (pair[3] ?? '').trim();
    switch (pair[2]) {
      case 'Compute Partition':
        collector.add({ index, compute: toComputeMode(value) }, where);
        break;
      case 'Memory Partition':
        collector.add({ index, memory: toMemoryMode(value) }, where);
        break;
      case 'PCI Bus':
        collector.add({ index, pci: toPci(value) }, where);
        break;
      case 'VRAM Total Memory (B)':
        collector.add({ index, memoryTotalBytes: toAmount(`${toWord(value) ?? ''} B`) }, where);
        break;
      default:
        collector.add({ index }, where);
    }
  }
  return found;
}
