/**
 * The framed overview that `amd-smi` prints without a command (26 and later): two lines for each GPU, then processes.
 */
import { toLayout } from '@aim-gpu/core';
import { toAmount, toIndex, toPci, toWord } from './cell.js';
import type { GpuCollector } from './gpu-collector.js';

const PROCESS =
  /^(\d{1,6}) +(\d{1,10}) +(.{1,200}?) +(?:[\d.]{1,20} [KMGT]?B|N\/A) +([\d.]{1,20} [KMGT]?B|N\/A)(?: |$)/;

/** Reads the overview; true when there is one. */
export function readOverview(collector: GpuCollector, lines: readonly string[]): boolean {
  let pci: string | null = null;
  const indexes: number[] = [];
  for (const [number, line] of lines.entries()) {
    if (!line.startsWith('|')) continue;
    const where = `line ${number + 1}`;
    const [left = '', right = ''] = line
      .split('|')
      .slice(1)
      .map((cell) => cell.trim());
    const words = left.split(/ +/);
    const process = PROCESS.exec(left);
    if (toPci(words[0]) !== null) {
      pci = toPci(words[0]);
    } else if (pci !== null && words.length === 4 && right !== '') {
      const index = toIndex(words[0]);
      const layout = toLayout(words[3] ?? '');
      const total = /\/(\d{1,15} [KMGT]?B)$/.exec(right)?.[1];
      collector.add(
        {
          index,
          pci,
          compute: layout?.compute ?? null,
          memory: layout?.memory ?? null,
          memoryTotalBytes: toAmount(total),
        },
        where,
      );
      if (index !== null) indexes.push(index);
      pci = null;
    } else if (process !== null && indexes.length > 0) {
      const found = {
        pid: Number(process[2]),
        name: toWord(process[3]),
        memoryBytes: toAmount(process[4]),
      };
      collector.add({ index: Number(process[1]), processes: [found] }, where);
    } else if (/^No running processes/i.test(left)) {
      for (const index of indexes) collector.add({ index, processes: [] }, where);
    }
  }
  return indexes.length > 0;
}
