/**
 * A host with one MI300X in SPX/NPS1, as files; made by hand from the kernel's formats.
 */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Where the card's own files are. */
export const CARD = 'sys/module/amdgpu/drivers/pci:amdgpu/0000:0c:00.0';
/** Where its KFD node is. */
export const KFD_NODE = 'sys/class/kfd/kfd/topology/nodes/1';

const MEMORY_BYTES = 206_141_652_992;

/** Writes it below a directory. */
export function writeRocmTree(root: string): void {
  const write = (file: string, text: string): void => writeTreeFile(root, file, text);
  const files = {
    vendor: '0x1002',
    device: '0x74a1',
    current_compute_partition: 'SPX',
    current_memory_partition: 'NPS1',
    available_compute_partition: 'SPX, DPX, QPX, CPX',
    available_memory_partition: 'NPS1, NPS2, NPS4',
    numa_node: '0',
    mem_info_vram_total: String(MEMORY_BYTES),
  };
  for (const [name, text] of Object.entries(files)) write(`${CARD}/${name}`, `${text}\n`);
  write('sys/class/kfd/kfd/topology/generation_id', '2\n');
  write(
    `${KFD_NODE}/properties`,
    'simd_count 1216\nmem_banks_count 1\nsimd_per_cu 4\nvendor_id 4098\ndevice_id 29857\nlocation_id 3072\ndomain 0\ndrm_render_minor 128\nhive_id 0\nunique_id 1234567890123456789\nnum_xcc 8\n',
  );
  write(`${KFD_NODE}/mem_banks/0/properties`, `heap_type 1\nsize_in_bytes ${MEMORY_BYTES}\n`);
  write('dev/kfd', '');
  write('dev/dri/renderD128', '');
  for (const file of ['dev/kfd', 'dev/dri/renderD128']) chmodSync(path.join(root, file), 0o666);
}

/** Writes one file below a directory. */
export function writeTreeFile(root: string, file: string, text: string): void {
  const full = path.join(root, file);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, text);
}
