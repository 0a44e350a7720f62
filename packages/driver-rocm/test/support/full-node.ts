/**
 * A node of 8 MI300X in CPX/NPS4, 64 partitions, as files: made from captures 10 (a node's properties), 21 (a memory
 * bank) and 26 (the partition files). Addresses and minors follow capture 09, its missing minor put back.
 */
import { capture, type TestTree } from './trees.js';

const NODES = 'sys/class/kfd/kfd/topology/nodes';
const CPU_NODES = 2;
const BUSES = [0x05, 0x27, 0x47, 0x65, 0x85, 0xa7, 0xc7, 0xe5];

/** What a full node has. */
export const FULL_NODE = { cards: BUSES.length, partitions: 8 } as const;

/** Directory of a card in the driver's list. */
export function driverDirectory(card: number): string {
  const bus = (BUSES[card] ?? 0).toString(16).padStart(2, '0');
  return `sys/module/amdgpu/drivers/pci:amdgpu/0000:${bus}:00.0`;
}

/** Writes it. */
export function writeFullNode(tree: Pick<TestTree, 'write'>): void {
  const properties = capture('10-kfd-node2-properties-mi300x-cpx.txt');
  const [, ...bank] = capture('21-kfd-membanks-mi300x-cpx-nps1.txt').split('\n');
  tree.write('sys/class/kfd/kfd/topology/generation_id', '2\n');
  for (let node = 0; node < CPU_NODES; node += 1)
    tree.write(`${NODES}/${node}/properties`, 'cpu_cores_count 96\nsimd_count 0\n');
  for (const [card, bus] of BUSES.entries()) {
    const directory = driverDirectory(card);
    const files = {
      vendor: '0x1002',
      device: '0x74a1',
      current_compute_partition: 'CPX',
      current_memory_partition: 'NPS4',
      available_compute_partition: 'SPX, DPX, QPX, CPX',
      available_memory_partition: 'NPS1, NPS2, NPS4',
      numa_node: String(card >> 2),
      mem_info_vram_total: '206141652992',
    };
    for (const [name, text] of Object.entries(files))
      tree.write(`${directory}/${name}`, `${text}\n`);
    for (let partition = 0; partition < FULL_NODE.partitions; partition += 1) {
      const position = card * FULL_NODE.partitions + partition;
      const node = CPU_NODES + position;
      const text = properties
        .replace(/location_id \d+/, `location_id ${bus * 0x100 + partition * 2 ** 28}`)
        .replace(/drm_render_minor \d+/, `drm_render_minor ${128 + position}`)
        .replace(/unique_id \d+/, `unique_id ${16_404_946_649_897_475_000n + BigInt(position)}`);
      tree.write(`${NODES}/${node}/properties`, text);
      tree.write(`${NODES}/${node}/mem_banks/0/properties`, bank.join('\n'));
      tree.write(`sys/class/drm/renderD${128 + position}/dev`, `226:${128 + position}\n`);
    }
  }
}
