/**
 * amd-smi's indented text: `GPU: 0` and below it `KEY: value`, nested by indentation. Labels changed between versions
 * (COMPUTE_PARTITION, ACCELERATOR_PARTITION); both are read. Also the list of choices that `amd-smi set -h` prints.
 */
import {
  toAmount,
  toComputeMode,
  toIndex,
  toMemoryMode,
  toPci,
  toSetMode,
  toUuid,
  toWord,
} from './cell.js';
import type { GpuCollector } from './gpu-collector.js';
import type { AmdSmiProcess } from './report.js';

const GPU = /^(\s{0,40})GPU: {0,4}(\d{1,6})$/;
const PAIR = /^(\s{0,200})([A-Z][A-Z0-9_]{0,60}):(?: (.*))?$/;
const CHOICE = /ID: {0,4}(\d{1,6}) {0,8}\| BDF: ?(\S{1,40}) {0,8}\| UUID: ?(\S{1,80})/;

/** Reads the blocks; true when there are any. */
export function readBlocks(collector: GpuCollector, lines: readonly string[]): boolean {
  let block: { readonly index: number; readonly indent: number } | null = null;
  let path: { readonly indent: number; readonly key: string }[] = [];
  let process: {
    pid: number | null;
    name: string | null;
    memory: AmdSmiProcess['memoryBytes'];
  } | null = null;
  let found = false;

  const endProcess = (where: string): void => {
    if (process !== null && process.pid !== null && block !== null) {
      const { pid, name, memory } = process;
      collector.add({ index: block.index, processes: [{ pid, name, memoryBytes: memory }] }, where);
    }
    process = null;
  };

  for (const [number, line] of lines.entries()) {
    const where = `line ${number + 1}`;
    const choice = CHOICE.exec(line);
    if (choice !== null) {
      found = true;
      const facts = { index: toIndex(choice[1]), pci: toPci(choice[2]), uuid: toUuid(choice[3]) };
      collector.add(facts, where);
      continue;
    }
    const gpu = GPU.exec(line);
    if (gpu !== null) {
      endProcess(where);
      found = true;
      block = { index: Number(gpu[2]), indent: (gpu[1] ?? '').length };
      path = [];
      collector.add({ index: block.index }, where);
      continue;
    }
    const pair = PAIR.exec(line);
    if (pair === null || block === null) continue;
    const indent = (pair[1] ?? '').length;
    if (indent <= block.indent) {
      endProcess(where);
      block = null;
      continue;
    }
    const key = pair[2] ?? '';
    const value = (pair[3] ?? '').trim();
    path = path.filter((entry) => entry.indent < indent);
    const parent = path.at(-1)?.key ?? '';
    path.push({ indent, key });
    if (key === 'PROCESS_INFO') {
      endProcess(where);
      if (value === '') process = { pid: null, name: null, memory: null };
      else collector.add({ index: block.index, processes: [] }, where);
    } else if (process !== null && path.some((entry) => entry.key === 'PROCESS_INFO')) {
      if (key === 'PID') process.pid ??= toIndex(value);
      if (key === 'NAME') process.name ??= toWord(value);
      if (key === 'VRAM_MEM') process.memory ??= toAmount(value);
    } else {
      readPair(collector, { index: block.index, parent, key, value, where });
    }
  }
  endProcess(`line ${lines.length}`);
  return found;
}

interface Pair {
  readonly index: number;
  readonly parent: string;
  readonly key: string;
  readonly value: string;
  readonly where: string;
}

function readPair(collector: GpuCollector, pair: Pair): void {
  const { index, parent, key, value, where } = pair;
  const set = toSetMode(value);
  if (set !== null) {
    const message = 'a mode was set: it is in force only once it has been read back';
    collector.problem('SET_NOT_READ_BACK', message, where);
  }
  const mode = set ?? value;
  switch (key) {
    case 'BDF':
      collector.add({ index, pci: toPci(value) }, where);
      break;
    case 'UUID':
      collector.add({ index, uuid: toUuid(value) }, where);
      break;
    case 'PARTITION_ID':
      collector.add({ index, partitionId: toIndex(value) }, where);
      break;
    case 'COMPUTE_PARTITION':
    case 'ACCELERATOR_PARTITION':
      collector.add({ index, compute: toComputeMode(mode) }, where);
      break;
    case 'MEMORY_PARTITION':
      collector.add({ index, memory: toMemoryMode(mode) }, where);
      break;
    case 'CURRENT':
      if (parent === 'MEMORY_PARTITION')
        collector.add({ index, memory: toMemoryMode(value) }, where);
      break;
    case 'TOTAL_VRAM':
      collector.add({ index, memoryTotalBytes: toAmount(value) }, where);
      break;
    case 'SIZE':
      if (parent === 'VRAM') collector.add({ index, memoryTotalBytes: toAmount(value) }, where);
      break;
    default:
  }
}
