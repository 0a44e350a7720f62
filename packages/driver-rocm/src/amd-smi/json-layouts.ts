/**
 * What the JSON documents of amd-smi and rocm-smi mean: lists of GPUs (before 26), `gpu_data` (26 and later), the four
 * tables of `partition`, errors, versions, and rocm-smi's cards. Unknown keys are left alone.
 */
import {
  isRecord,
  type JsonRecord,
  toAmount,
  toComputeMode,
  toIndex,
  toMemoryMode,
  toPci,
  toSetMode,
  toUuid,
  toWord,
} from './cell.js';
import { toJsonError } from './error-text.js';
import type { GpuCollector } from './gpu-collector.js';
import { addProfiles } from './profile-rows.js';
import type { AmdSmiError, AmdSmiProcess, AmdSmiReport } from './report.js';

/** What a document says beside what it says about GPUs. */
export interface DocumentReading {
  readonly tool: AmdSmiReport['tool'];
  readonly version: string | null;
  readonly errors: readonly AmdSmiError[];
}

const PARTITION_TABLES: readonly string[] = [
  'current_partition',
  'memory_partition',
  'partition_profiles',
  'partition_resources',
];
const UNKNOWN: DocumentReading = { tool: 'unknown', version: null, errors: [] };
const AMD_SMI: DocumentReading = { ...UNKNOWN, tool: 'amd-smi' };

/** Reads one document into the collector. */
export function readDocument(
  collector: GpuCollector,
  document: unknown,
  where: string,
): DocumentReading {
  const reading = recognise(collector, document, where);
  if (reading.tool === 'unknown') {
    const message = 'a JSON document of no layout this version knows';
    collector.problem('JSON_LAYOUT_UNKNOWN', message, where);
  }
  return reading;
}

function recognise(collector: GpuCollector, document: unknown, where: string): DocumentReading {
  if (Array.isArray(document)) return readList(collector, document, where);
  if (!isRecord(document)) return UNKNOWN;
  const { gpu_data: gpuData } = document;
  if (Array.isArray(gpuData)) return { ...readList(collector, gpuData, where), tool: 'amd-smi' };
  if (PARTITION_TABLES.some((table) => Array.isArray(document[table])))
    return readPartitionTables(collector, document, where);
  const error = toJsonError(document['error'], document['code']);
  if (error !== null) return { ...AMD_SMI, errors: [error] };
  const keys = Object.keys(document);
  if (keys.some((key) => /^card\d+$/.test(key))) return readRocmSmi(collector, document, where);
  if (keys.length > 0 && keys.every((key) => toPci(key) !== null)) {
    for (const key of keys) {
      const value = document[key];
      if (isRecord(value)) collector.add({ pci: toPci(key), uuid: toUuid(value['uuid']) }, where);
    }
    return AMD_SMI;
  }
  return readList(collector, [document], where);
}

/** Objects about one GPU each, or the tool's version. An empty list is what a host without GPUs prints. */
function readList(
  collector: GpuCollector,
  list: readonly unknown[],
  where: string,
): DocumentReading {
  let known = list.length === 0;
  let version: string | null = null;
  const errors: AmdSmiError[] = [];
  for (const entry of list) {
    if (!isRecord(entry)) continue;
    const error = toJsonError(entry['error'], entry['code']);
    if (error !== null) errors.push(error);
    if ('gpu' in entry || 'bdf' in entry) {
      known = true;
      readGpu(collector, entry, where);
    } else if (typeof entry['tool'] === 'string' && 'version' in entry) {
      known = true;
      version ??= toWord(entry['version']);
    }
  }
  return { tool: known || errors.length > 0 ? 'amd-smi' : 'unknown', version, errors };
}

function readGpu(collector: GpuCollector, entry: JsonRecord, where: string): void {
  const partition = inner(entry, 'partition');
  const compute =
    partition['accelerator_partition'] ??
    partition['compute_partition'] ??
    entry['accelerator_partition'] ??
    entry['compute_partition'];
  const memory = partition['memory_partition'] ?? entry['memory_partition'];
  const index = toIndex(entry['gpu']);
  if (toSetMode(compute) !== null || toSetMode(memory) !== null) {
    const message = 'a mode was set: it is in force only once it has been read back';
    collector.problem('SET_NOT_READ_BACK', message, where);
  }
  collector.add(
    {
      index,
      pci: toPci(entry['bdf']) ?? toPci(inner(entry, 'bus')['bdf']),
      uuid: toUuid(entry['uuid']),
      partitionId: toIndex(entry['partition_id']) ?? toIndex(partition['partition_id']),
      compute: toComputeMode(compute) ?? toComputeMode(toSetMode(compute)),
      memory: toMemoryMode(memory) ?? toMemoryMode(toSetMode(memory)),
      memoryTotalBytes:
        toAmount(inner(entry, 'mem_usage')['total_vram']) ?? toAmount(inner(entry, 'vram')['size']),
      processes: toProcesses(entry['process_list']),
    },
    where,
  );
}

/** Entries without a pid are the tool's way to say that there is no process. */
function toProcesses(list: unknown): readonly AmdSmiProcess[] | undefined {
  if (!Array.isArray(list)) return undefined;
  return list.filter(isRecord).flatMap((entry) => {
    const info = isRecord(entry['process_info']) ? entry['process_info'] : entry;
    const pid = toIndex(info['pid']);
    if (pid === null) return [];
    const memoryBytes =
      toAmount(inner(info, 'memory_usage')['vram_mem']) ?? toAmount(info['mem_usage']);
    return [{ pid, name: toWord(info['name']), memoryBytes }];
  });
}

function readPartitionTables(
  collector: GpuCollector,
  document: JsonRecord,
  where: string,
): DocumentReading {
  for (const row of rowsOf(document, 'current_partition')) {
    collector.add(
      {
        index: toIndex(row['gpu_id']),
        memory: toMemoryMode(row['memory']),
        compute: toComputeMode(row['accelerator_type']),
        partitionId: toIndex(row['partition_id']),
      },
      where,
    );
  }
  for (const row of rowsOf(document, 'memory_partition')) {
    const memory = toMemoryMode(row['current_memory_partition']);
    collector.add({ index: toIndex(row['gpu_id']), memory }, where);
  }
  const profiles = rowsOf(document, 'partition_profiles').map((row) => ({
    gpu: row['gpu_id'],
    index: row['profile_index'],
    type: row['accelerator_type'],
    memoryModes: row['memory_partition_caps'],
    partitions: row['num_partitions'],
  }));
  addProfiles(collector, profiles, where);
  return AMD_SMI;
}

/** rocm-smi's objects `card0`, `card1`, … and `system`; its numbers are strings. */
function readRocmSmi(
  collector: GpuCollector,
  document: JsonRecord,
  where: string,
): DocumentReading {
  for (const [key, card] of Object.entries(document)) {
    const index = /^card(\d{1,6})$/.exec(key)?.[1];
    if (index === undefined || !isRecord(card)) continue;
    collector.add(
      {
        index: Number(index),
        pci: toPci(card['PCI Bus']),
        compute: toComputeMode(card['Compute Partition']),
        memory: toMemoryMode(card['Memory Partition']),
        memoryTotalBytes: toAmount(`${toWord(card['VRAM Total Memory (B)']) ?? ''} B`),
      },
      where,
    );
  }
  return { ...UNKNOWN, tool: 'rocm-smi' };
}

function inner(record: JsonRecord, key: string): JsonRecord {
  const value = record[key];
  return isRecord(value) ? value : {};
}

function rowsOf(record: JsonRecord, key: string): readonly JsonRecord[] {
  const value = record[key];
  return Array.isArray(value) ? value.filter(isRecord) : [];
}
