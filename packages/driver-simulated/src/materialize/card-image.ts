/**
 * The files of the cards as the driver shows them: PCI directories with the partition files, DRM devices, the platform
 * devices of partitions, device nodes, the module. Owns their names and text forms; pure.
 */
import { COMPUTE_MODES, MEMORY_MODES, MIB, type ObservedCard, partitionCount } from '@aim-gpu/core';
import type { Product } from '@aim-gpu/core/products';
import type { KernelVariant } from '../kernel.js';
import { type CardState, partitionsOf, productOf } from '../machine.js';
import { serialOf } from '../observation.js';
import { partitionProfiles } from './partition-resources.js';
import type { TreeBuilder } from './tree-image.js';

/** Where a card's own files are. */
export function cardDirectory(card: string): string {
  return `sys/devices/pci0000:00/${card}`;
}

/** Files of a card that can be written, by their name in its directory. */
export const KERNEL_FILES: readonly KernelFileName[] = [
  'current_compute_partition',
  'current_memory_partition',
  'compute_partition_mem_alloc_mode',
  'compute_partition_config/xcp_config',
  'enforce_isolation',
  'run_cleaner_shader',
];

/** See {@link KERNEL_FILES}. */
export type KernelFileName =
  | 'current_compute_partition'
  | 'current_memory_partition'
  | 'compute_partition_mem_alloc_mode'
  | 'compute_partition_config/xcp_config'
  | 'enforce_isolation'
  | 'run_cleaner_shader';

const WRITABLE = 0o644;
const ROOT_READS = 0o400;
const ROOT_WRITES = 0o200;
const RENDER_MINORS_PER_CARD = 8;
const FIRST_RENDER_MINOR = 128;
/** A usual setting of firmware; chosen, no capture shows it. */
const APU_CARVE_OUT_BYTES = 512 * MIB;
/** Versions of the module that have the two ways of changing a memory mode. */
const MODULE_VERSION: Readonly<Record<KernelVariant['memoryTool'], string>> = {
  stages: '6.16.6',
  reloads: '6.12.12',
};

/** What a card's files are made from. */
export interface CardImageOptions {
  readonly card: ObservedCard;
  readonly state: CardState;
  /** Place among the cards, which numbers its DRM devices. */
  readonly position: number;
  readonly kernel: KernelVariant;
  readonly usedBytes: number;
  /** Mode that `xcp_config` was last asked to describe; null for the current one. */
  readonly described: string | null;
}

/** Adds the module itself and the devices that do not belong to a card. */
export function addModule(tree: TreeBuilder, kernel: KernelVariant, users: number): void {
  tree.file('sys/module/amdgpu/version', MODULE_VERSION[kernel.memoryTool]);
  tree.file('sys/module/amdgpu/initstate', 'live');
  tree.file('sys/module/amdgpu/refcnt', users);
  tree.file('sys/module/amdgpu/parameters/user_partt_mode', -1);
  tree.file('dev/kfd', '', 0o666);
  if (kernel.bmc) {
    // The management controller's display takes the first card number and one of the minors.
    tree.file('sys/class/drm/card0/dev', '226:0');
    tree.file('dev/dri/card0', '', 0o660);
  }
}

/** Adds everything of one card. */
export function addCard(tree: TreeBuilder, options: CardImageOptions): void {
  const { card, kernel, position } = options;
  const directory = cardDirectory(card.id);
  tree.link(`sys/bus/pci/devices/${card.id}`, `../../../devices/pci0000:00/${card.id}`);
  tree.link(
    `sys/module/amdgpu/drivers/pci:amdgpu/${card.id}`,
    `../../../../devices/pci0000:00/${card.id}`,
  );
  const number = RENDER_MINORS_PER_CARD * position + (kernel.bmc ? 1 : 0);
  tree.link(`sys/class/drm/card${number}/device`, `../../../devices/pci0000:00/${card.id}`);
  tree.file(`sys/class/drm/card${number}/dev`, `226:${number}`);
  tree.file(`dev/dri/card${number}`, '', 0o660);
  addIdentity(tree, directory, options);
  addModes(tree, directory, options);
  for (let xcp = 0; xcp < RENDER_MINORS_PER_CARD; xcp += 1) addRenderNode(tree, options, xcp);
}

function addIdentity(tree: TreeBuilder, directory: string, options: CardImageOptions): void {
  const { card, state, usedBytes } = options;
  const device = productOf(state).pciIds.find((entry) => !entry.virtual)?.id ?? '0000';
  tree.file(`${directory}/vendor`, '0x1002');
  tree.file(`${directory}/device`, `0x${device}`);
  tree.file(
    `${directory}/uevent`,
    `DRIVER=amdgpu\nPCI_ID=1002:${device.toUpperCase()}\nPCI_SLOT_NAME=${card.id}\n`,
  );
  tree.file(`${directory}/numa_node`, card.numaNode ?? -1);
  tree.file(`${directory}/unique_id`, serialOf(card.id));
  // The primary shows the whole card in every mode; an APU the part that its firmware keeps for it.
  const vram = productOf(state).unifiedMemory ? APU_CARVE_OUT_BYTES : (card.memoryBytes ?? 0);
  tree.file(`${directory}/mem_info_vram_total`, vram);
  tree.file(`${directory}/mem_info_vram_used`, usedBytes);
}

function addModes(tree: TreeBuilder, directory: string, options: CardImageOptions): void {
  const { card, state, kernel } = options;
  const product = productOf(state);
  const { compute, memory } = card.layout;
  // A card in reset answers EPERM; a plain file can only be empty then.
  tree.file(`${directory}/current_compute_partition`, compute ?? '', WRITABLE);
  tree.file(`${directory}/available_compute_partition`, listedModes(options, product).join(', '));
  const offered = new Set((card.offered ?? []).map((layout) => layout.memory));
  const memories = MEMORY_MODES.filter((mode) => offered.has(mode));
  tree.file(
    `${directory}/current_memory_partition`,
    memory ?? '',
    memories.length > 1 ? WRITABLE : undefined,
  );
  // The file exists only where there is a choice.
  if (memories.length > 1) {
    tree.file(`${directory}/available_memory_partition`, memories.join(', '));
  }
  if (kernel.memAllocMode) {
    const mode = state.allocatesAll === true ? 'ALL' : 'CAPPING';
    tree.file(`${directory}/compute_partition_mem_alloc_mode`, mode, WRITABLE);
  }
  const count = partitionsOf(state);
  const isolated = Array.from({ length: count }, (_, n) => (state.isolated?.[n] ? '1' : '0'));
  tree.file(`${directory}/enforce_isolation`, isolated.join(' '), WRITABLE);
  tree.file(`${directory}/run_cleaner_shader`, '', ROOT_WRITES);
  addConfiguration(tree, `${directory}/compute_partition_config`, options, product);
}

function addConfiguration(
  tree: TreeBuilder,
  directory: string,
  options: CardImageOptions,
  product: Product,
): void {
  const { state, kernel, described } = options;
  const profiles = partitionProfiles(product, kernel);
  const profile = profiles.find(({ compute }) => compute === (described ?? state.compute));
  if (profile === undefined) return;
  tree.file(`${directory}/supported_xcp_configs`, profiles.map((p) => p.compute).join(', '));
  tree.file(`${directory}/xcp_config`, profile.compute, WRITABLE);
  tree.file(`${directory}/supported_nps_configs`, profile.memoryModes.join(', '));
  const names = { XCC: 'xcc', DECODER: 'dec', DMA: 'dma', JPEG: 'jpeg' } as const;
  for (const resource of profile.resources) {
    tree.file(`${directory}/${names[resource.type]}/num_inst`, resource.instances, ROOT_READS);
    tree.file(`${directory}/${names[resource.type]}/num_shared`, resource.sharedBy, ROOT_READS);
  }
}

/** Newer kernels list the modes that the current memory mode allows, older ones all that the dies do. */
function listedModes(options: CardImageOptions, product: Product): readonly string[] {
  const { card, kernel } = options;
  if (kernel.modeList === 'all') {
    const dpx = product.xcds % 4 === 0;
    return COMPUTE_MODES.filter((mode) => {
      if (mode === 'DPX') return dpx;
      if (mode === 'TPX') return product.xcds === partitionCount('TPX', product.xcds) * 2;
      return mode === 'QPX' ? product.xcds === 8 : true;
    });
  }
  return COMPUTE_MODES.filter((mode) =>
    card.offered?.some(({ compute, memory }) => compute === mode && memory === card.layout.memory),
  );
}

/**
 * A render node: the card's own for the first, a platform device for the others, which are there in every mode. A
 * minor that the node has run out of has none.
 */
function addRenderNode(tree: TreeBuilder, options: CardImageOptions, xcp: number): void {
  const { card, position, kernel } = options;
  const minor = FIRST_RENDER_MINOR + RENDER_MINORS_PER_CARD * position + xcp;
  if (kernel.bmc && minor === FIRST_RENDER_MINOR + 63) return;
  const name = `renderD${minor}`;
  const device = `226:${minor}`;
  tree.file(`dev/dri/${name}`, '', 0o666);
  if (xcp === 0) {
    tree.link(`sys/class/drm/${name}/device`, `../../../devices/pci0000:00/${card.id}`);
    tree.file(`${cardDirectory(card.id)}/drm/${name}/dev`, device);
    return;
  }
  const number = (RENDER_MINORS_PER_CARD - 1) * position + xcp - 1;
  const platform = `amdgpu_xcp${kernel.naming === 'dot' ? '.' : '_'}${number}`;
  tree.link(`sys/class/drm/${name}/device`, `../../../devices/platform/${platform}`);
  tree.file(`sys/devices/platform/${platform}/uevent`, `DRIVER=amdgpu_xcp\n`);
  tree.file(`sys/devices/platform/${platform}/drm/${name}/dev`, device);
}
