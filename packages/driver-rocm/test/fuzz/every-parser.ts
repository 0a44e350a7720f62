/**
 * Every reader of this package over one text: the tools' parser, and discovery, health, holders, host facts and captures
 * over a tree whose files all hold it. What comes back must keep the contract's forms, whatever the text was.
 */
import { AimError, COMPUTE_MODES, type Inventory, MEMORY_MODES, nodeName } from '@aim-gpu/core';
import { readCardHealth } from '../../src/card-health.js';
import { crossCheck } from '../../src/cross-check.js';
import { readHolders } from '../../src/device-holders.js';
import { discoverCards } from '../../src/discovery.js';
import { readHostFacts } from '../../src/doctor/host-facts.js';
import { judgeHost } from '../../src/doctor/host-rules.js';
import {
  type AmdSmiReport,
  createCaptureFiles,
  parseAmdSmi,
  parseCapture,
} from '../../src/index.js';
import { capture } from '../support/trees.js';

const NODES = 'sys/class/kfd/kfd/topology/nodes';
const DRIVER = 'sys/module/amdgpu/drivers/pci:amdgpu';
const CARD = `${DRIVER}/0000:05:00.0`;
const PROPERTIES = capture('10-kfd-node2-properties-mi300x-cpx.txt');
const CARD_FILES = [
  'device',
  'current_compute_partition',
  'current_memory_partition',
  'available_compute_partition',
  'available_memory_partition',
  'numa_node',
  'mem_info_vram_total',
  'mem_info_vram_used',
  'compute_partition_mem_alloc_mode',
  'enforce_isolation',
  'ras/umc_err_count',
  'ras/gpu_vram_bad_pages',
];
const HOST_FILES = [
  'proc/cpuinfo',
  'proc/self/status',
  'proc/self/limits',
  'proc/self/cgroup',
  'proc/sys/kernel/osrelease',
  'sys/module/amdgpu/version',
  'sys/module/amdgpu/parameters/user_partt_mode',
  'sys/fs/cgroup/cgroup.controllers',
  'sys/fs/cgroup/memory.max',
  'sys/fs/cgroup/cpu.max',
  'sys/bus/pci/devices/0000:05:00.0/vendor',
  'proc/77/status',
  'proc/77/comm',
  'sys/class/kfd/kfd/proc/77/vram_1',
];

function treeOf(text: string): Parameters<typeof createCaptureFiles>[0] {
  const all = [
    `${NODES}/3/mem_banks/0/properties`,
    `${NODES}/3/mem_banks/0/used_memory`,
    `${NODES}/3/gpu_id`,
    ...CARD_FILES.map((name) => `${CARD}/${name}`),
    ...HOST_FILES,
  ];
  return {
    files: {
      ...Object.fromEntries(all.map((file) => [file, text])),
      [`${NODES}/2/properties`]: text,
      [`${NODES}/3/properties`]: PROPERTIES,
    },
    lists: {
      [NODES]: ['2', '3'],
      [DRIVER]: ['0000:05:00.0'],
      [CARD]: ['ras', 'run_cleaner_shader'],
      [`${CARD}/ras`]: ['umc_err_count', 'gpu_vram_bad_pages'],
      proc: ['77'],
      'proc/77/fd': ['3'],
      'sys/class/kfd/kfd/proc': ['77'],
      'sys/class/kfd/kfd/proc/77': ['vram_1'],
      'sys/bus/pci/devices': ['0000:05:00.0'],
      'sys/class/drm': ['card0', 'renderD128'],
    },
    links: { 'proc/77/fd/3': '/dev/kfd', 'sys/class/drm/card0/device': text.slice(0, 80) },
    unreadable: {},
    access: {},
  };
}

/** What is wrong with what the readers made of a text; null when nothing is. Throws what a reader throws. */
export async function flawOf(text: string): Promise<string | null> {
  const report = parseAmdSmi(text);
  const reportFlaw = reportFlawOf(report);
  if (reportFlaw !== null) return reportFlaw;
  const files = createCaptureFiles(treeOf(text));
  const { inventory, directories } = await discoverCards({ tree: files, node: nodeName('n') });
  const flaw = inventoryFlawOf(inventory);
  if (flaw !== null) return flaw;
  for (const card of inventory.cards) {
    const place = directories.find((entry) => entry.id === card.id);
    const health = await readCardHealth(files, card, place);
    const counts = (health.ras ?? []).flatMap((ras) => [ras.correctable, ras.uncorrectable]);
    if (![...counts, health.memoryUsedBytes, health.retiredPages].every(isWhole)) return 'health';
    for (const holder of await readHolders(files, card))
      if (!isWhole(holder.pid) || holder.device === '') return 'a holder';
  }
  for (const problem of crossCheck({ inventory, reports: [report] }))
    if (problem.message === '' || problem.where === '') return 'a disagreement without a place';
  for (const finding of judgeHost(await readHostFacts(files), inventory.cards.length))
    if (finding.evidence === '' || finding.message === '') return 'a finding without evidence';
  return captureFlawOf(text);
}

function captureFlawOf(text: string): string | null {
  try {
    parseCapture(text);
    return 'a capture made of something else';
  } catch (error) {
    return AimError.is(error, 'ERR_CONFIG_INVALID') ? null : `parseCapture: ${String(error)}`;
  }
}

function isWhole(value: number | null): boolean {
  return value === null || (Number.isSafeInteger(value) && value >= 0);
}

function inventoryFlawOf({ cards, problems }: Inventory): string | null {
  for (const card of cards) {
    if (!/^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.0$/.test(card.id)) return `card ${card.id}`;
    const { compute, memory } = card.layout;
    if (compute !== null && !COMPUTE_MODES.includes(compute)) return 'a compute mode of a card';
    if (memory !== null && !MEMORY_MODES.includes(memory)) return 'a memory mode of a card';
    if (![card.numaNode, card.memoryBytes].every(isWhole)) return 'a number of a card';
    for (const partition of card.partitions) {
      const { index, xcds, computeUnits, memoryBytes, renderMinor, uuid } = partition;
      if (![index, xcds, computeUnits, memoryBytes, renderMinor].every(isWhole))
        return 'a number of a partition';
      if (renderMinor !== null && renderMinor < 128) return 'a render minor';
      if (uuid !== null && !/^GPU-[0-9a-f]{16}$/.test(uuid)) return 'a uuid';
    }
  }
  return problems.some((problem) => problem.code === '' || problem.where === '')
    ? 'a problem without a place'
    : null;
}

function reportFlawOf(report: AmdSmiReport): string | null {
  for (const gpu of report.gpus) {
    if (gpu.index === null && gpu.pci === null) return 'a GPU without a name';
    if (![gpu.index, gpu.partitionId, gpu.memoryTotalBytes].every(isWhole)) return 'a number';
    if (gpu.pci !== null && !/^[0-9a-f]{4,8}(:[0-9a-f]{2}){2}\.[0-9a-f]$/.test(gpu.pci))
      return 'an address';
    if (gpu.compute !== null && !COMPUTE_MODES.includes(gpu.compute)) return 'a compute mode';
    if (gpu.memory !== null && !MEMORY_MODES.includes(gpu.memory)) return 'a memory mode';
    for (const profile of gpu.profiles ?? [])
      if (!COMPUTE_MODES.includes(profile.type) || !isWhole(profile.partitions)) return 'a profile';
    for (const process of gpu.processes ?? []) if (!isWhole(process.pid)) return 'a process';
  }
  const indexes = report.gpus.flatMap((gpu) => (gpu.index === null ? [] : [gpu.index]));
  if (new Set(indexes).size !== indexes.length) return 'an index twice';
  const uuids = report.gpus.flatMap((gpu) => (gpu.uuid === null ? [] : [gpu.uuid]));
  if (new Set(uuids).size !== uuids.length) return 'a shared UUID';
  if (report.problems.some((problem) => problem.code === '' || problem.where === ''))
    return 'a problem of the output without a place';
  return report.errors.some((error) => error.name === '') ? 'an error without a name' : null;
}
