/**
 * Holds what the tools print against what the kernel's files say. Every disagreement is a problem that names both sides
 * and which one is right; the inventory itself is not changed. The rules: the kernel's files and KFD win over the tool;
 * a secondary partition's mode is its primary's, whatever the tool shows for it (mirrored before 6.4.1, N/A after);
 * capacity is KFD's (the tool shows the whole card on the first partition); the tool's numbers are no identity. Pure.
 */
import {
  formatLayout,
  type Inventory,
  type ObservedCard,
  type Problem,
  sameLayout,
} from '@aim-gpu/core';
import type { AmdSmiGpu, AmdSmiReport } from './amd-smi/report.js';
import { problem } from './problems.js';

/** Compares an inventory with any number of outputs of amd-smi and rocm-smi. */
export function crossCheck(options: {
  readonly inventory: Inventory;
  readonly reports: readonly AmdSmiReport[];
}): readonly Problem[] {
  const { inventory, reports } = options;
  const gpus = mergeByIndex(reports);
  const addressed = gpus.filter((gpu) => gpu.pci !== null);
  const problems: Problem[] = [];
  for (const card of inventory.cards) {
    const mine = addressed.filter((gpu) => cardOf(gpu) === card.id);
    if (addressed.length === 0) continue;
    if (mine.length === 0) {
      const message = `${card.id} is known to the kernel and not shown by the tool: the kernel is right; the tool may see fewer devices (device cgroup)`;
      problems.push(problem('TOOL_LACKS_CARD', message, 'amd-smi list'));
      continue;
    }
    problems.push(
      ...compareCounts(card, mine),
      ...compareModes(card, mine),
      ...compareMemory(card, mine),
      ...compareProfiles(card, mine),
    );
  }
  const known = new Set<string>(inventory.cards.map((card) => card.id));
  for (const gpu of addressed) {
    const id = cardOf(gpu);
    if (id === null || known.has(id) || partitionOf(gpu) !== 0) continue;
    const message = `the tool shows ${id}, of which the kernel's files say nothing: it is left out`;
    problems.push(problem('TOOL_ONLY_CARD', message, 'amd-smi list'));
  }
  return problems;
}

/** Facts of one GPU come from several outputs; they meet in the tool's own number of one and the same moment. */
function mergeByIndex(reports: readonly AmdSmiReport[]): readonly AmdSmiGpu[] {
  const merged = new Map<number | string, AmdSmiGpu>();
  for (const gpu of reports.flatMap((report) => report.gpus)) {
    const key = gpu.index ?? gpu.pci ?? '';
    const known = merged.get(key);
    merged.set(
      key,
      known === undefined
        ? gpu
        : {
            ...known,
            pci: known.pci ?? gpu.pci,
            partitionId: known.partitionId ?? gpu.partitionId,
            compute: known.compute ?? gpu.compute,
            memory: known.memory ?? gpu.memory,
            memoryTotalBytes: known.memoryTotalBytes ?? gpu.memoryTotalBytes,
            ...(known.profiles === undefined && gpu.profiles !== undefined
              ? { profiles: gpu.profiles }
              : {}),
          },
    );
  }
  return [...merged.values()];
}

/** The card behind the tool's address, whose function is the partition. */
function cardOf(gpu: AmdSmiGpu): string | null {
  return gpu.pci === null ? null : `${gpu.pci.slice(0, -1)}0`;
}

function partitionOf(gpu: AmdSmiGpu): number {
  return gpu.partitionId ?? Number.parseInt(gpu.pci?.slice(-1) ?? '0', 16);
}

function compareCounts(card: ObservedCard, gpus: readonly AmdSmiGpu[]): readonly Problem[] {
  if (card.partitions.length === 0 || gpus.length === card.partitions.length) return [];
  const message = `${card.id}: KFD shows ${card.partitions.length} partitions and the tool ${gpus.length}; KFD is right once a switch has settled`;
  return [problem('TOOL_PARTITIONS_DISAGREE', message, 'amd-smi list')];
}

function compareModes(card: ObservedCard, gpus: readonly AmdSmiGpu[]): readonly Problem[] {
  const primary = gpus.find((gpu) => partitionOf(gpu) === 0);
  if (primary === undefined) return [];
  const differs = (what: string, file: string | null, tool: string | null): readonly Problem[] => {
    if (file === null || tool === null || file === tool) return [];
    const message = `${what} mode of ${card.id}: sysfs says ${file}, the tool ${tool}; sysfs is right`;
    return [problem('TOOL_MODE_DISAGREES', message, 'amd-smi partition')];
  };
  return [
    ...differs('compute', card.layout.compute, primary.compute),
    ...differs('memory', card.layout.memory, primary.memory),
  ];
}

function compareMemory(card: ObservedCard, gpus: readonly AmdSmiGpu[]): readonly Problem[] {
  return gpus.flatMap((gpu) => {
    const index = partitionOf(gpu);
    const total = gpu.memoryTotalBytes;
    const capacity = card.partitions.find((partition) => partition.index === index)?.memoryBytes;
    if (total === null || capacity == null || isSame(total, capacity)) return [];
    // The whole card on the first partition is what the tool always shows there.
    if (card.memoryBytes !== null && isSame(total, card.memoryBytes)) return [];
    const message = `memory of ${card.id} partition ${index}: KFD says ${capacity} bytes, the tool ${total}; KFD is right`;
    return [problem('TOOL_MEMORY_DISAGREES', message, 'amd-smi')];
  });
}

/** Profiles are firmware's own list, for root only; the files of an older kernel may know less of it. */
function compareProfiles(card: ObservedCard, gpus: readonly AmdSmiGpu[]): readonly Problem[] {
  const { offered } = card;
  const profiles = gpus.find((gpu) => partitionOf(gpu) === 0)?.profiles ?? [];
  if (offered === null) return [];
  const unknown = profiles.flatMap(({ type, memoryModes }) =>
    memoryModes
      .filter((memory) => !offered.some((own) => sameLayout(own, { compute: type, memory })))
      .map((memory) => formatLayout({ compute: type, memory })),
  );
  if (unknown.length === 0) return [];
  const message = `${card.id}: the tool lists ${unknown.join(', ')}, which the kernel's files do not offer: they are not used`;
  return [problem('TOOL_PROFILES_DISAGREE', message, 'amd-smi partition')];
}

/** The tool prints whole MiB. */
function isSame(a: number, b: number): boolean {
  return Math.abs(a - b) < 2 ** 20;
}
