/**
 * The KFD topology of a machine as files: one node for each CPU socket and each partition that can be seen. Owns the
 * properties and their form, which follow a captured node of an MI300X; pure.
 */
import { createHash } from 'node:crypto';
import type { HiveId, Inventory, ObservedCard, ObservedPartition } from '@aim-gpu/core';
import type { Product } from '@aim-gpu/core/products';
import type { KernelVariant } from '../kernel.js';
import { productOf } from '../machine.js';
import { CPU_NODES, serialOf } from '../observation.js';
import { type TreeBuilder, toPropertyLines } from './tree-image.js';

const TOPOLOGY = 'sys/class/kfd/kfd/topology';
const AMD_VENDOR = 0x1002;
/** Heap of a card's own memory, all of it visible to the host (HSA_MEM_HEAP_TYPE_FB_PUBLIC). */
const VRAM_HEAP = 1;

/** Adds the topology. `usedBytes` is what processes hold of a card; KFD shows the same on all its partitions. */
export function addKfdTopology(
  tree: TreeBuilder,
  options: {
    readonly inventory: Inventory;
    readonly kernel: KernelVariant;
    readonly usedBytes: (card: ObservedCard) => number;
  },
): void {
  const { inventory, kernel, usedBytes } = options;
  tree.file('sys/class/kfd/kfd/dev', '511:0');
  tree.file(`${TOPOLOGY}/generation_id`, inventory.cards.length === 0 ? 1 : 2);
  tree.file(`${TOPOLOGY}/system_properties`, 'platform_oem 0\nplatform_id 0\nplatform_rev 0\n');
  for (let node = 0; node < CPU_NODES; node += 1) {
    addNode(tree, node, { name: 'cpu', gpuId: 0, properties: cpuProperties(node) });
    tree.file(
      `${TOPOLOGY}/nodes/${node}/mem_banks/0/properties`,
      'heap_type 0\nsize_in_bytes 811748818944\nflags 0\nwidth 64\nmem_clk_max 4800\n',
    );
  }
  for (const card of inventory.cards) {
    for (const partition of card.partitions) {
      if (partition.kfdNode === null) continue;
      const product = productOf({ product: card.product ?? '' });
      const properties = gpuProperties({ card, partition, product, kernel });
      const gpuId = Number.parseInt(serialOf(card.id, partition.index).slice(-4), 16) + 1;
      addNode(tree, partition.kfdNode, { name: 'ip discovery', gpuId, properties });
      const banks = `${TOPOLOGY}/nodes/${partition.kfdNode}/mem_banks/0`;
      tree.file(
        `${banks}/properties`,
        `heap_type ${VRAM_HEAP}\nsize_in_bytes ${partition.memoryBytes ?? 0}\nflags 0\nwidth 8192\nmem_clk_max 1300\n`,
      );
      tree.file(`${banks}/used_memory`, usedBytes(card));
    }
  }
}

/** A hive's number as KFD has it. A name in hex is that number; any other gets one of its own. */
function toHiveNumber(hive: HiveId): bigint {
  if (/^0x[0-9a-f]{1,16}$/i.test(hive)) return BigInt(hive);
  const digest = createHash('sha256').update(hive).digest('hex');
  return BigInt(`0xd${digest.slice(0, 15)}`);
}

function addNode(
  tree: TreeBuilder,
  node: number,
  content: { readonly name: string; readonly gpuId: number; readonly properties: string },
): void {
  const directory = `${TOPOLOGY}/nodes/${node}`;
  tree.file(`${directory}/name`, content.name);
  tree.file(`${directory}/gpu_id`, content.gpuId);
  tree.file(`${directory}/properties`, content.properties);
}

function cpuProperties(node: number): string {
  return toPropertyLines({
    cpu_cores_count: 96,
    simd_count: 0,
    mem_banks_count: 1,
    caches_count: 0,
    cpu_core_id_base: node * 128,
    simd_id_base: 0,
    vendor_id: 0,
    device_id: 0,
    location_id: 0,
    domain: 0,
    drm_render_minor: 0,
    hive_id: 0,
  });
}

function gpuProperties(options: {
  readonly card: ObservedCard;
  readonly partition: ObservedPartition;
  readonly product: Product;
  readonly kernel: KernelVariant;
}): string {
  const { card, partition, product, kernel } = options;
  const { domain, locationId } = toLocation(card.id, partition.index, kernel);
  const device = product.pciIds.find((entry) => !entry.virtual)?.id ?? '0';
  const unique = partition.uuid?.slice('GPU-'.length) ?? serialOf(card.id);
  return toPropertyLines({
    cpu_cores_count: 0,
    simd_count: partition.computeUnits * 4,
    mem_banks_count: 1,
    cpu_core_id_base: 0,
    max_waves_per_simd: 8,
    lds_size_in_kb: 64,
    wave_front_size: 64,
    array_count: 4 * partition.xcds,
    simd_arrays_per_engine: 1,
    cu_per_simd_array: 10,
    simd_per_cu: 4,
    gfx_target_version: product.gfxTargetVersion,
    vendor_id: AMD_VENDOR,
    device_id: Number.parseInt(device, 16),
    location_id: locationId,
    domain,
    drm_render_minor: partition.renderMinor ?? 0,
    hive_id: card.hive === null ? 0 : toHiveNumber(card.hive),
    num_sdma_engines: 2 * partition.xcds,
    num_cp_queues: 24,
    local_mem_size: 0,
    unique_id: BigInt(`0x${unique}`),
    num_xcc: partition.xcds,
  });
}

/** PCI place of a partition: bus in [15:8], device in [7:3], the partition in [31:28] or in [2:0]. */
function toLocation(
  card: string,
  partition: number,
  kernel: KernelVariant,
): { readonly domain: number; readonly locationId: number } {
  const [domain = '0', bus = '0', rest = '0'] = card.split(':');
  const device = Number.parseInt(rest.split('.')[0] ?? '0', 16);
  const place = Number.parseInt(bus, 16) * 2 ** 8 + device * 2 ** 3;
  const bits = kernel.location === 'high-bits' ? partition * 2 ** 28 : partition;
  return { domain: Number.parseInt(domain, 16), locationId: place + bits };
}
