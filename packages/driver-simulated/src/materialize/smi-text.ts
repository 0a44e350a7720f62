/**
 * What the simulated amd-smi prints: reports as JSON or text, and the exceptions it dies of. Owns wording and layout,
 * which follow the captures of amd-smi 25 (ROCm 6.4) and 26 (ROCm 7); pure.
 */
import type { Inventory, ObservedCard, ObservedPartition } from '@aim-gpu/core';
import type { KernelVariant } from '../kernel.js';
import { productOf } from '../machine.js';
import { type PartitionProfile, partitionProfiles } from './partition-resources.js';

/** One GPU as amd-smi counts them: a partition of a card, in PCI order. */
export interface SmiGpu {
  readonly index: number;
  readonly card: ObservedCard;
  readonly partition: ObservedPartition;
}

/** Statuses of amdsmi.h that this tool knows, with the words of its exceptions. */
const SMI_STATUS = {
  INVAL: [1, 'Invalid parameters'],
  NOT_SUPPORTED: [2, 'Feature not supported'],
  NO_PERM: [10, 'Permission Denied'],
  IO: [12, 'I/O Error'],
  BUSY: [30, 'Device busy'],
  AMDGPU_RESTART_ERR: [54, 'AMDGPU restart failed, please check dmesg for errors'],
  SETTING_UNAVAILABLE: [55, 'Setting is not available'],
} as const;

/** Name of a status. */
export type SmiStatus = keyof typeof SMI_STATUS;

/** Every GPU of a machine. */
export function toSmiGpus(inventory: Inventory): readonly SmiGpu[] {
  return inventory.cards
    .flatMap((card) => card.partitions.map((partition) => ({ card, partition })))
    .map((gpu, index) => ({ index, ...gpu }));
}

/** PCI address as the tool shows it: the function is the partition. */
export function toBdf(gpu: SmiGpu): string {
  return `${gpu.card.id.slice(0, -1)}${gpu.partition.index}`;
}

/** The traceback of an exception of the library, as the shell shows it. */
export function toTraceback(status: SmiStatus, last: string): string {
  const [number, words] = SMI_STATUS[status];
  return [
    'amdsmi.amdsmi_exception.AmdSmiLibraryException: Error code:',
    `\t${number} | AMDSMI_STATUS_${status} - ${words}`,
    '',
    'The above exception was the direct cause of the following exception:',
    '',
    last,
    '',
  ].join('\n');
}

/** `amd-smi version`. */
export function versionReport(kernel: KernelVariant, json: boolean): string {
  const [tool, rocm] = kernel.memoryTool === 'stages' ? ['26.2.0', '7.1.0'] : ['25.3.0', '6.4.0'];
  if (json) {
    const entry = {
      tool: 'AMDSMI Tool',
      version: tool,
      amdsmi_library_version: tool,
      rocm_version: rocm,
    };
    return `${JSON.stringify([entry], null, 4)}\n`;
  }
  return `AMDSMI Tool: ${tool} | AMDSMI Library version: ${tool} | ROCm version: ${rocm}\n`;
}

/** `amd-smi list`. */
export function listReport(gpus: readonly SmiGpu[], json: boolean): string {
  const rows = gpus.map((gpu) => ({
    gpu: gpu.index,
    bdf: toBdf(gpu),
    uuid: gpu.partition.uuid ?? 'N/A',
    node_id: gpu.partition.kfdNode,
    partition_id: gpu.partition.index,
  }));
  if (json) return `${JSON.stringify(rows, null, 4)}\n`;
  return rows
    .map(
      (row) =>
        `GPU: ${row.gpu}\n    BDF: ${row.bdf}\n    UUID: ${row.uuid}\n    NODE_ID: ${row.node_id}\n    PARTITION_ID: ${row.partition_id}\n`,
    )
    .join('\n');
}

/** Sections of `amd-smi partition`. */
export type PartitionSection = 'current' | 'memory' | 'accelerator';

/**
 * `amd-smi partition --json`: an array for each section that was asked for. Secondary partitions say nothing, and
 * nothing of the profiles is told to a user who is not root.
 */
export function partitionReport(options: {
  readonly gpus: readonly SmiGpu[];
  readonly kernel: KernelVariant;
  readonly sections: readonly PartitionSection[];
  readonly privileged: boolean;
}): string {
  const { gpus, kernel, sections, privileged } = options;
  const report: Record<string, unknown> = {};
  if (sections.includes('current')) {
    report['current_partition'] = gpus.map((gpu) => ({
      gpu_id: gpu.index,
      ...currentRow(gpu, kernel),
    }));
  }
  if (sections.includes('memory')) {
    report['memory_partition'] = gpus.map((gpu) => ({
      gpu_id: gpu.index,
      memory_partition_caps: primary(gpu) ? capsOf(gpu) : 'N/A',
      current_memory_partition: primary(gpu) ? (gpu.card.layout.memory ?? 'N/A') : 'N/A',
    }));
  }
  if (sections.includes('accelerator')) {
    report['partition_profiles'] = gpus.flatMap((gpu) =>
      privileged && primary(gpu) ? profileRows(gpu, kernel) : [NO_PROFILE(gpu.index)],
    );
  }
  return `${JSON.stringify(report, null, 4)}\n`;
}

function primary(gpu: SmiGpu): boolean {
  return gpu.partition.index === 0;
}

function currentRow(gpu: SmiGpu, kernel: KernelVariant): Record<string, unknown> {
  const { compute, memory } = gpu.card.layout;
  const profile = profilesOf(gpu, kernel).find((entry) => entry.compute === compute);
  if (!primary(gpu) || profile === undefined) {
    return {
      memory: 'N/A',
      accelerator_type: 'N/A',
      accelerator_profile_index: 'N/A',
      partition_id: String(gpu.partition.index),
    };
  }
  return {
    memory: memory ?? 'N/A',
    accelerator_type: profile.compute,
    accelerator_profile_index: profile.index,
    partition_id: String(gpu.partition.index),
  };
}

function capsOf(gpu: SmiGpu): string {
  const modes = [...new Set((gpu.card.offered ?? []).map((layout) => layout.memory))].sort();
  return modes.length > 1 ? modes.join(',') : 'N/A';
}

function profilesOf(gpu: SmiGpu, kernel: KernelVariant): readonly PartitionProfile[] {
  return partitionProfiles(productOf({ product: gpu.card.product ?? '' }), kernel);
}

const NO_PROFILE = (index: number): Record<string, unknown> => ({
  gpu_id: index,
  profile_index: 'N/A',
  memory_partition_caps: 'N/A',
  accelerator_type: 'N/A',
  partition_id: 'N/A',
  num_partitions: 'N/A',
  num_resources: 'N/A',
  resource_index: 'N/A',
  resource_type: 'N/A',
  resource_instances: 'N/A',
  resources_shared: 'N/A',
});

/** Rows are sparse: what is the same as above is empty, the GPU also on the first row of its next profile. */
function profileRows(gpu: SmiGpu, kernel: KernelVariant): readonly Record<string, unknown>[] {
  let resourceIndex = -1;
  return profilesOf(gpu, kernel).flatMap((profile, place) =>
    profile.resources.map((resource, row) => {
      resourceIndex += 1;
      const current = profile.compute === gpu.card.layout.compute;
      const head =
        row === 0
          ? {
              gpu_id: place === 0 ? gpu.index : '',
              profile_index: profile.index,
              memory_partition_caps: capsOf(gpu) === 'N/A' ? 'N/A' : profile.memoryModes.join(','),
              accelerator_type: current ? `${profile.compute}*` : profile.compute,
              partition_id: current ? String(gpu.partition.index) : 'N/A',
              num_partitions: profile.partitions,
              num_resources: profile.resources.length,
            }
          : EMPTY_HEAD;
      return {
        ...head,
        resource_index: resourceIndex,
        resource_type: resource.type,
        resource_instances: resource.instances,
        resources_shared: resource.sharedBy,
      };
    }),
  );
}

const EMPTY_HEAD = {
  gpu_id: '',
  profile_index: '',
  memory_partition_caps: '',
  accelerator_type: '',
  partition_id: '',
  num_partitions: '',
  num_resources: '',
} as const;
