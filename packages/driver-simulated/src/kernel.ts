/**
 * The kernel of the simulated machine: which modes it accepts, what it says when it does not, and which compute mode
 * it comes up with. Pure rules over one card; owns neither state nor time. Rules follow the public amdgpu driver
 * (aqua_vanjaram.c, amdgpu_gfx.c, amdgpu_gmc.c) and are written from the project's own notes on it.
 */
import {
  COMPUTE_MODES,
  type ComputeMode,
  type Layout,
  MEMORY_MODES,
  type MemoryMode,
  memoryDomainCount,
  partitionCount,
} from '@aim-gpu/core';
import type { Product } from '@aim-gpu/core/products';

/** How the simulated kernel, its firmware and its tools differ from one version to another. */
export interface KernelVariant {
  /**
   * What keeps a card from being switched: processes that opened that card (kernels since about 2025-07) or any
   * GPU process of the node (older ones).
   */
  readonly busyScope: 'card' | 'node';
  /** Compute mode after a load in NPS4: every XCD alone (newer) or pairs (older). */
  readonly loadMode: 'each' | 'pairs';
  /** Whether partitions have UUIDs of their own (ROCm 7.0 and newer) or share their card's. */
  readonly uuid: 'partition' | 'card';
  /** Which layouts the firmware offers: those captured, or also the product's `firmwareLayouts`. */
  readonly firmware: 'captured' | 'extended';
  /** Names of the platform devices of partitions: `amdgpu_xcp_N` (newer and DKMS) or `amdgpu_xcp.N`. */
  readonly naming: 'underscore' | 'dot';
  /** Where KFD's location_id has the partition: bits 31 to 28 (newer) or the PCI function. */
  readonly location: 'high-bits' | 'function';
  /** What `available_compute_partition` lists: modes valid in the current memory mode (newer), or all of the dies. */
  readonly modeList: 'current' | 'all';
  /** Whether a management controller's display takes one of the 64 render minors, so that one partition has none. */
  readonly bmc: boolean;
  /** Whether `compute_partition_mem_alloc_mode` exists (about Linux 7.1). */
  readonly memAllocMode: boolean;
  /** Whether amd-smi only stages a memory mode (ROCm 7.0 and newer) or reloads the driver itself (up to 6.4). */
  readonly memoryTool: 'stages' | 'reloads';
}

/** The newest kernel and firmware that public captures show. */
export const NEWEST_KERNEL: KernelVariant = {
  busyScope: 'card',
  loadMode: 'each',
  uuid: 'partition',
  firmware: 'captured',
  naming: 'underscore',
  location: 'high-bits',
  modeList: 'current',
  bmc: false,
  memAllocMode: true,
  memoryTool: 'stages',
};

/** Kernel and tools of the ROCm 6.4 era, as the older captures show them. */
export const ROCM_6_KERNEL: KernelVariant = {
  busyScope: 'node',
  loadMode: 'pairs',
  uuid: 'card',
  firmware: 'captured',
  naming: 'dot',
  location: 'function',
  modeList: 'all',
  bmc: false,
  memAllocMode: false,
  memoryTool: 'reloads',
};

/** A refusal as the machine words it. */
export interface MachineRefusal {
  readonly errno: 'EINVAL' | 'EBUSY' | 'EOPNOTSUPP' | 'EPERM' | 'EIO' | 'ENODEV';
  readonly text: string;
}

/** Every layout this card's firmware offers, now or after a change of memory mode. */
export function offeredLayouts(product: Product, kernel: KernelVariant): readonly Layout[] {
  const extra = kernel.firmware === 'extended' ? product.firmwareLayouts : [];
  return [...product.layouts, ...extra].map(({ compute, memory }) => ({ compute, memory }));
}

/** Whether the kernel takes a compute mode on a card in a memory mode; null when it does. */
export function refuseComputeMode(
  product: Product,
  kernel: KernelVariant,
  to: ComputeMode,
  memory: MemoryMode,
): MachineRefusal | null {
  const fits = product.xcds % partitionCount(to, product.xcds) === 0;
  if (!COMPUTE_MODES.includes(to) || !fits) {
    return { errno: 'EINVAL', text: 'write error: Invalid argument' };
  }
  const offered = offeredLayouts(product, kernel);
  if (offered.some((layout) => layout.compute === to && layout.memory === memory)) return null;
  return {
    errno: 'EINVAL',
    text: `Invalid compute partition mode requested, requested: ${to}, available memory partitions: ${memoryDomainCount(memory)}`,
  };
}

/** Whether the kernel takes a request for a memory mode; null when it does. */
export function refuseMemoryMode(
  product: Product,
  kernel: KernelVariant,
  to: MemoryMode,
): MachineRefusal | null {
  if (product.unifiedMemory)
    return { errno: 'EOPNOTSUPP', text: 'write error: Operation not supported' };
  const offered = offeredLayouts(product, kernel);
  if (MEMORY_MODES.includes(to) && offered.some((layout) => layout.memory === to)) return null;
  return { errno: 'EINVAL', text: 'write error: Invalid argument' };
}

/**
 * The compute mode a card has after the driver was loaded: one memory domain gives SPX, as many domains as XCDs or
 * half as many give CPX (TPX on an APU), two give DPX. Where that is not offered, the first layout that is.
 */
export function loadedComputeMode(
  product: Product,
  kernel: KernelVariant,
  memory: MemoryMode,
): ComputeMode {
  const wish = automaticMode(product, kernel, memory);
  const offered = offeredLayouts(product, kernel).filter((layout) => layout.memory === memory);
  if (offered.some((layout) => layout.compute === wish)) return wish;
  return offered[0]?.compute ?? 'SPX';
}

function automaticMode(product: Product, kernel: KernelVariant, memory: MemoryMode): ComputeMode {
  const domains = memoryDomainCount(memory);
  if (domains === 1) return 'SPX';
  if (domains === product.xcds) return 'CPX';
  if (domains === product.xcds / 2) {
    if (product.unifiedMemory) return 'TPX';
    return kernel.loadMode === 'pairs' ? 'QPX' : 'CPX';
  }
  return 'DPX';
}
