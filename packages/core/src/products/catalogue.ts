/**
 * The GPU products this project knows, as data. Owns the figures and says where each comes from; must not compute
 * anything but unit conversions. A figure nobody has captured is derived from a sister product and says so, and a
 * real card's own answer always wins over this table.
 */
import { bytes, GIB, MIB } from '../units.js';
import type { Product, ProductLayout } from './product.js';

/**
 * The two captured cards show 16 MiB less than 2^30 bytes for each sold "GB" (MI300X 192 → 196592 MiB,
 * MI355X 288 → 294896 MiB); the products without a capture are taken to do the same.
 */
const toShownMemory = (soldGb: number): Product['memoryBytes'] => bytes(soldGb * GIB - 16 * MIB);

const TERA = 1e12;

const KERNEL =
  'Linux amdgpu aqua_vanjaram.c: compute modes by XCC count, memory modes by compute mode';
const MI300X_FIRMWARE =
  'available_compute_partition and available_memory_partition of an MI300X in SPX/NPS1';
const DOCS = 'AMD instinct.docs GPU partitioning guide';
const SPECIFICATIONS =
  'rocm.docs.amd.com "AMD GPU specifications": compute units, caches, sold memory (specification sheet)';
const PCI_TABLE =
  "PCI device ids by which AMD's inference containers recognise a GPU (aim-build 0.9)";

const MI300X_LAYOUTS: readonly ProductLayout[] = [
  { compute: 'SPX', memory: 'NPS1', grade: 'validated', source: `${DOCS}, every edition` },
  {
    compute: 'DPX',
    memory: 'NPS1',
    grade: 'offered',
    source: 'amd-smi, rocminfo and DRA captures',
  },
  {
    compute: 'DPX',
    memory: 'NPS2',
    grade: 'validated',
    source: `${DOCS}, newest edition; the 2025-09 edition does not list it`,
  },
  { compute: 'QPX', memory: 'NPS1', grade: 'offered', source: `${KERNEL}; ${MI300X_FIRMWARE}` },
  {
    compute: 'QPX',
    memory: 'NPS4',
    grade: 'offered',
    source: `${KERNEL}; AMD's Device Config Manager documentation allows only CPX here, the kernel decides`,
  },
  { compute: 'CPX', memory: 'NPS1', grade: 'offered', source: 'KFD and rocm-smi captures' },
  {
    compute: 'CPX',
    memory: 'NPS4',
    grade: 'validated',
    source: `${DOCS}, 2025-09 edition (ROCm 6.4); the newest does not list it`,
  },
];

const MI325X_LAYOUTS: readonly ProductLayout[] = MI300X_LAYOUTS.map((layout) =>
  layout.compute === 'SPX'
    ? { ...layout, source: `${DOCS}, newest edition` }
    : {
        ...layout,
        grade: 'unverified',
        source: 'same silicon as MI300X and listed beside it by the amd-smi manual; no capture',
      },
);

const MI350_CAPTURE = '`amd-smi partition -g 3` on 8x MI355X, amdgpu 6.14.14';

const MI355X_LAYOUTS: readonly ProductLayout[] = [
  { compute: 'SPX', memory: 'NPS1', grade: 'validated', source: `${DOCS}, newest edition` },
  { compute: 'DPX', memory: 'NPS1', grade: 'offered', source: MI350_CAPTURE },
  {
    compute: 'DPX',
    memory: 'NPS2',
    grade: 'validated',
    source: `${DOCS}, newest edition; needs firmware bundle PLDM 01.25.13.04`,
  },
  { compute: 'QPX', memory: 'NPS1', grade: 'offered', source: MI350_CAPTURE },
  { compute: 'CPX', memory: 'NPS1', grade: 'offered', source: MI350_CAPTURE },
];

const MI355X_FIRMWARE_LAYOUTS: readonly ProductLayout[] = [
  {
    compute: 'CPX',
    memory: 'NPS2',
    grade: 'unverified',
    source:
      'listed by AMD-AGI/Hyperloom for some firmware, absent from the real capture; the kernel allows it on a virtual function only',
  },
];

/** A layout without a capture of this very product: what AMD validated stays so, the rest is unverified. */
function inheritedFrom(
  layouts: readonly ProductLayout[],
  sister: string,
): readonly ProductLayout[] {
  return layouts.map((layout) =>
    layout.grade === 'validated'
      ? layout
      : { ...layout, grade: 'unverified', source: `as ${sister}: ${layout.source}` },
  );
}

/**
 * Every known product. Peaks are dense specification-sheet figures of a whole card, not what engines reach; the
 * speed model applies measured efficiencies to them.
 */
export const PRODUCTS: readonly Product[] = [
  {
    name: 'MI300X',
    architecture: 'CDNA3',
    gfxTargetVersion: 90402,
    xcds: 8,
    computeUnitsPerXcd: 38,
    ioDies: 4,
    memoryBytes: toShownMemory(192),
    soldMemoryGb: 192,
    unifiedMemory: false,
    infinityCacheBytes: bytes(256 * MIB),
    peaks: {
      memoryBytesPerSecond: 5.3 * TERA,
      fp16FlopsPerSecond: 1307 * TERA,
      fp8FlopsPerSecond: 2615 * TERA,
      fp4FlopsPerSecond: null,
    },
    pciIds: [
      { id: '74a1', virtual: false },
      { id: '74a9', virtual: false },
      { id: '74bd', virtual: false },
      { id: '74b5', virtual: true },
    ],
    layouts: MI300X_LAYOUTS,
    firmwareLayouts: [],
    initialLayout: { compute: 'SPX', memory: 'NPS1' },
    sources: [
      SPECIFICATIONS,
      'memory: 196592 MiB in amd-smi captures, 8 x 25767706624 bytes in KFD in CPX/NPS1 (captured)',
      'gfx_target_version 90402: KFD node properties of an MI300X in CPX (captured)',
      'bandwidth 5.3 TB/s, fp16 1307, fp8 2615 TFLOPS: specification sheet',
      `layouts: ${KERNEL}; ${MI300X_FIRMWARE} (captured)`,
      'NPS8: in a GPU operator sample only; the captured card offers NPS1, NPS2, NPS4',
      PCI_TABLE,
    ],
  },
  {
    name: 'MI325X',
    architecture: 'CDNA3',
    gfxTargetVersion: 90402,
    xcds: 8,
    computeUnitsPerXcd: 38,
    ioDies: 4,
    memoryBytes: toShownMemory(256),
    soldMemoryGb: 256,
    unifiedMemory: false,
    infinityCacheBytes: bytes(256 * MIB),
    peaks: {
      memoryBytesPerSecond: 6 * TERA,
      fp16FlopsPerSecond: 1307 * TERA,
      fp8FlopsPerSecond: 2615 * TERA,
      fp4FlopsPerSecond: null,
    },
    pciIds: [
      { id: '74a5', virtual: false },
      { id: '74b9', virtual: true },
    ],
    layouts: MI325X_LAYOUTS,
    firmwareLayouts: [],
    initialLayout: { compute: 'SPX', memory: 'NPS1' },
    sources: [
      SPECIFICATIONS,
      'memory: only the sold 256 GB is known; shown bytes derived as on MI300X (sold GiB less 16 MiB)',
      'gfx_target_version: as MI300X, same silicon (derived)',
      'bandwidth 6.0 TB/s, fp16 1307, fp8 2615 TFLOPS: specification sheet',
      'layouts: MI300X table; AMD lists only SPX/NPS1 as validated, the others are unverified',
      PCI_TABLE,
    ],
  },
  {
    name: 'MI300A',
    architecture: 'CDNA3',
    gfxTargetVersion: 90402,
    xcds: 6,
    computeUnitsPerXcd: 38,
    ioDies: 3,
    memoryBytes: toShownMemory(128),
    soldMemoryGb: 128,
    unifiedMemory: true,
    infinityCacheBytes: bytes(256 * MIB),
    peaks: {
      memoryBytesPerSecond: 5.3 * TERA,
      fp16FlopsPerSecond: 981 * TERA,
      fp8FlopsPerSecond: 1961 * TERA,
      fp4FlopsPerSecond: null,
    },
    pciIds: [{ id: '74a0', virtual: false }],
    layouts: [
      { compute: 'SPX', memory: 'NPS1', grade: 'validated', source: `${DOCS}, every edition` },
      {
        compute: 'TPX',
        memory: 'NPS1',
        grade: 'validated',
        source: `${DOCS}, 2025-09 edition (ROCm 6.3); the newest lists SPX only`,
      },
      {
        compute: 'CPX',
        memory: 'NPS1',
        grade: 'validated',
        source: `${DOCS}, 2025-09 edition (ROCm 6.4); the newest lists SPX only`,
      },
    ],
    firmwareLayouts: [],
    initialLayout: { compute: 'SPX', memory: 'NPS1' },
    sources: [
      SPECIFICATIONS,
      'IO dies: the 3 that carry XCDs; a fourth carries the CPU dies',
      'memory: only the sold 128 GB is known, shared with the CPU; shown bytes derived as on MI300X (sold GiB less 16 MiB); per partition the manual says 32/16 GB and the tool 42.66/21.33 GB: read KFD',
      'gfx_target_version: gfx942 as MI300X (derived)',
      'bandwidth 5.3 TB/s: specification sheet; fp16 981 TFLOPS: AMD sheet as quoted by vengineer.hatenablog.com 2023-12-11; fp8 is twice that (derived)',
      'layouts: kernel; DPX is in the amd-smi manual but the kernel refuses it for 6 XCCs, and a memory mode change on an APU is -EOPNOTSUPP',
      PCI_TABLE,
    ],
  },
  {
    name: 'MI350X',
    architecture: 'CDNA4',
    gfxTargetVersion: 90500,
    xcds: 8,
    computeUnitsPerXcd: 32,
    ioDies: 2,
    memoryBytes: toShownMemory(288),
    soldMemoryGb: 288,
    unifiedMemory: false,
    infinityCacheBytes: bytes(256 * MIB),
    peaks: {
      memoryBytesPerSecond: 8 * TERA,
      fp16FlopsPerSecond: 2300 * TERA,
      fp8FlopsPerSecond: 4600 * TERA,
      fp4FlopsPerSecond: 9200 * TERA,
    },
    pciIds: [
      { id: '75a0', virtual: false },
      { id: '75b0', virtual: true },
    ],
    layouts: inheritedFrom(MI355X_LAYOUTS, 'MI355X'),
    firmwareLayouts: MI355X_FIRMWARE_LAYOUTS,
    initialLayout: { compute: 'SPX', memory: 'NPS1' },
    sources: [
      SPECIFICATIONS,
      'memory: as MI355X, whose capture shows 294896 MiB for the same 288 GB (derived)',
      'gfx_target_version: 90500 inferred from gfx950, not captured',
      'IO dies: 2, not checked a second time',
      'bandwidth 8.0 TB/s, fp16 2300, fp8 4600, fp4 9200 TFLOPS: specification sheet',
      'layouts: MI355X table',
      PCI_TABLE,
    ],
  },
  {
    name: 'MI355X',
    architecture: 'CDNA4',
    gfxTargetVersion: 90500,
    xcds: 8,
    computeUnitsPerXcd: 32,
    ioDies: 2,
    memoryBytes: toShownMemory(288),
    soldMemoryGb: 288,
    unifiedMemory: false,
    infinityCacheBytes: bytes(256 * MIB),
    peaks: {
      memoryBytesPerSecond: 8 * TERA,
      fp16FlopsPerSecond: 2500 * TERA,
      fp8FlopsPerSecond: 5000 * TERA,
      fp4FlopsPerSecond: 10_000 * TERA,
    },
    pciIds: [
      { id: '75a3', virtual: false },
      { id: '75b3', virtual: true },
    ],
    layouts: MI355X_LAYOUTS,
    firmwareLayouts: MI355X_FIRMWARE_LAYOUTS,
    initialLayout: { compute: 'SPX', memory: 'NPS1' },
    sources: [
      SPECIFICATIONS,
      'memory: 294896 MiB in an amd-smi capture',
      'gfx_target_version: 90500 inferred from gfx950, not captured',
      'IO dies: 2, not checked a second time',
      'bandwidth 8.0 TB/s, fp16 2500, fp8 5000, fp4 10000 TFLOPS: specification sheet',
      `layouts: ${MI350_CAPTURE}; where other sources disagree with the capture, the capture wins`,
      PCI_TABLE,
    ],
  },
  {
    name: 'MI308X',
    architecture: 'CDNA3',
    gfxTargetVersion: 90402,
    xcds: 4,
    computeUnitsPerXcd: 20,
    ioDies: 4,
    memoryBytes: toShownMemory(192),
    soldMemoryGb: 192,
    unifiedMemory: false,
    infinityCacheBytes: bytes(256 * MIB),
    peaks: {
      memoryBytesPerSecond: 5.3 * TERA,
      fp16FlopsPerSecond: 344 * TERA,
      fp8FlopsPerSecond: 688 * TERA,
      fp4FlopsPerSecond: null,
    },
    pciIds: [
      { id: '74a2', virtual: false },
      { id: '74a8', virtual: false },
      { id: '74b6', virtual: true },
    ],
    layouts: [
      { compute: 'SPX', memory: 'NPS1', grade: 'offered', source: KERNEL },
      { compute: 'DPX', memory: 'NPS1', grade: 'unverified', source: KERNEL },
      { compute: 'DPX', memory: 'NPS2', grade: 'unverified', source: KERNEL },
      { compute: 'CPX', memory: 'NPS1', grade: 'offered', source: 'KFD capture in CPX' },
      { compute: 'CPX', memory: 'NPS4', grade: 'unverified', source: KERNEL },
    ],
    firmwareLayouts: [],
    initialLayout: { compute: 'SPX', memory: 'NPS1' },
    sources: [
      "4 XCDs of 20 compute units and 192 GB: KFD capture; AMD's own container table says 128 GB for it and is taken to be wrong",
      'memory: only the sold 192 GB is known; shown bytes derived as on MI300X (sold GiB less 16 MiB)',
      'gfx_target_version, Infinity Cache, bandwidth: as MI300X (derived)',
      'fp16 344 and fp8 688 TFLOPS: MI300X peaks scaled by compute units, 80 of 304 (derived; no sheet seen)',
      `layouts: ${KERNEL}`,
      PCI_TABLE,
    ],
  },
];

/** Finds a product by its key, in any case; null when unknown. */
export function findProduct(name: string): Product | null {
  const key = name.trim().toUpperCase();
  return PRODUCTS.find((product) => product.name === key) ?? null;
}

/**
 * Finds a product by PCI device id, in any case, with or without `0x`; null when unknown. Whether the id is a virtual
 * function's is in the product's `pciIds`.
 */
export function findProductByPciId(id: string): Product | null {
  const key = toPciId(id);
  return PRODUCTS.find((product) => product.pciIds.some((entry) => entry.id === key)) ?? null;
}

/** Whether a PCI device id belongs to an SR-IOV function, whose layout is the host's; false for unknown ids. */
export function isVirtualPciId(id: string): boolean {
  const key = toPciId(id);
  return PRODUCTS.some((product) =>
    product.pciIds.some((entry) => entry.id === key && entry.virtual),
  );
}

function toPciId(text: string): string {
  return text.trim().toLowerCase().replace(/^0x/, '');
}
