/**
 * KFD topology: one node for each partition that exists, from `sys/class/kfd/kfd/topology/nodes`. Owns the file format
 * and the arithmetic of `location_id`; groups nothing. 64-bit ids stay text: they exceed what a number holds.
 */
import { type Bytes, bytes, type CardId, cardId, type Problem } from '@aim-gpu/core';
import type { FileText, FileTree } from './file-tree.js';
import { problem, unreadable } from './problems.js';

/** One GPU node of the topology: a partition as the kernel's compute driver sees it. */
export interface KfdNode {
  readonly index: number;
  readonly card: CardId;
  /** Partition bits of location_id ([31:28]), where newer kernels put the partition. */
  readonly partitionBits: number;
  /** Function bits of location_id ([2:0]), where older kernels put it. */
  readonly functionBits: number;
  /** Lower-case hex without 0x. */
  readonly deviceId: string | null;
  readonly xcds: number;
  readonly computeUnits: number;
  readonly renderMinor: number | null;
  /** Decimal text; null when zero or absent. */
  readonly hiveId: string | null;
  readonly uniqueId: string | null;
  /** Size of its VRAM bank: what the partition may allocate. */
  readonly memoryBytes: Bytes | null;
  /** The bank is there and says nothing usable, which is a problem of its own. */
  readonly bankBroken: boolean;
}

/** The GPU nodes that could be read, in order, and what was wrong with the others. */
export interface KfdTopology {
  /** Whether there are any nodes, CPU nodes included. */
  readonly present: boolean;
  readonly nodes: readonly KfdNode[];
  readonly problems: readonly Problem[];
}

/** Where the topology is. */
export const KFD_NODES = 'sys/class/kfd/kfd/topology/nodes';
// A node of a large host has one bank; more than this is no answer of the kernel.
const MAX_BANKS = 16;
const AMD_VENDOR = 0x1002;
const HEAP_TYPES_OF_VRAM: readonly string[] = ['1', '2'];

/** Reads the topology. Each file is read once. */
export async function readKfdTopology(tree: FileTree): Promise<KfdTopology> {
  const listed = await tree.list(KFD_NODES);
  if (listed.kind === 'unreadable') {
    const what = 'the KFD topology cannot be listed';
    const problems = [unreadable('KFD_UNREADABLE', what, listed.reason, KFD_NODES)];
    return { present: true, nodes: [], problems };
  }
  const names = listed.kind === 'names' ? listed.names : [];
  const numbers = names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
  // Everything is read before anything is parsed: work in between leaves the reading threads idle, which costs more.
  const files = await Promise.all(
    numbers.flatMap((index) => [
      tree.read(`${KFD_NODES}/${index}/properties`),
      // A node has one bank as a rule: reading it along saves a turn, and costs a file for each CPU node.
      tree.read(bankFile(index, 0)),
    ]),
  );
  const read = await Promise.all(
    numbers.map((index, at) => {
      const [file, bank] = files.slice(2 * at, 2 * at + 2);
      if (file?.kind !== 'text' || bank === undefined) return unreadNode(index, file);
      const properties = parseProperties(file.text);
      const banks = Math.min(toCount(properties.get('mem_banks_count')) ?? 1, MAX_BANKS);
      if (banks < 2) return toNode(index, properties, [bank]);
      return readFurtherBanks(tree, index, banks).then((more) =>
        toNode(index, properties, [bank, ...more]),
      );
    }),
  );
  return {
    present: numbers.length > 0,
    nodes: read.flatMap(({ node }) => (node === null ? [] : [node])),
    problems: read.flatMap(({ problems }) => problems),
  };
}

interface NodeReading {
  readonly node: KfdNode | null;
  readonly problems: readonly Problem[];
}

function unreadNode(index: number, file: FileText | undefined): NodeReading {
  const reason = file?.kind === 'unreadable' ? file.reason : 'it is missing';
  const where = `${KFD_NODES}/${index}/properties`;
  const problems = [unreadable('KFD_NODE_UNREADABLE', `KFD node ${index}`, reason, where)];
  return { node: null, problems };
}

function readFurtherBanks(tree: FileTree, index: number, count: number): Promise<FileText[]> {
  const banks = Array.from({ length: count - 1 }, (_, bank) => bank + 1);
  return Promise.all(banks.map((bank) => tree.read(bankFile(index, bank))));
}

function toNode(index: number, properties: Properties, banks: readonly FileText[]): NodeReading {
  const where = `${KFD_NODES}/${index}/properties`;
  const simds = toCount(properties.get('simd_count'));
  // A CPU node has no SIMDs.
  if (simds === 0) return { node: null, problems: [] };
  if (simds === null) {
    return {
      node: null,
      problems: [problem('KFD_NODE_INVALID', `KFD node ${index} has no simd_count`, where)],
    };
  }
  const vendor = toCount(properties.get('vendor_id'));
  if (vendor === null) {
    return {
      node: null,
      problems: [problem('KFD_NODE_INVALID', `KFD node ${index} has no vendor_id`, where)],
    };
  }
  if (vendor !== AMD_VENDOR) return { node: null, problems: [] };
  const place = toPlace(properties);
  if (place === null) {
    return {
      node: null,
      problems: [problem('KFD_NODE_INVALID', `KFD node ${index} has no usable location_id`, where)],
    };
  }
  const memory = toMemory(index, banks);
  const simdsPerUnit = toCount(properties.get('simd_per_cu'));
  const node: KfdNode = {
    index,
    ...place,
    deviceId: toCount(properties.get('device_id'))?.toString(16).padStart(4, '0') ?? null,
    xcds: Math.max(1, toCount(properties.get('num_xcc')) ?? 1),
    computeUnits:
      simdsPerUnit === null || simdsPerUnit === 0 ? 0 : Math.floor(simds / simdsPerUnit),
    renderMinor: toMinor(properties.get('drm_render_minor')),
    hiveId: toId(properties.get('hive_id')),
    uniqueId: toId(properties.get('unique_id')),
    memoryBytes: memory.bytes,
    bankBroken: memory.problems.length > 0,
  };
  return { node, problems: memory.problems };
}

function bankFile(node: number, bank: number): string {
  return `${KFD_NODES}/${node}/mem_banks/${bank}/properties`;
}

/** The size of the first VRAM bank; what a bank says wrongly is a problem. */
function toMemory(
  index: number,
  banks: readonly FileText[],
): { readonly bytes: Bytes | null; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  for (const [bank, file] of banks.entries()) {
    const where = bankFile(index, bank);
    if (file.kind === 'unreadable')
      problems.push(
        unreadable('KFD_BANK_INVALID', `a memory bank of KFD node ${index}`, file.reason, where),
      );
    if (file.kind !== 'text') continue;
    const properties = parseProperties(file.text);
    const heap = properties.get('heap_type');
    const size = toCount(properties.get('size_in_bytes'));
    if (heap !== undefined && !HEAP_TYPES_OF_VRAM.includes(heap)) continue;
    if (heap !== undefined && size !== null && size > 0) return { bytes: bytes(size), problems };
    const message = `memory bank ${bank} of KFD node ${index} has no ${heap === undefined ? 'type' : 'size'}`;
    problems.push(problem('KFD_BANK_INVALID', message, where));
  }
  return { bytes: null, problems };
}

/** Values of `name value` lines by name. */
interface Properties {
  get(name: string): string | undefined;
}

/**
 * Finds names where they are asked for: a node has forty and a dozen matter. A line of any other shape is not found, nor
 * one without its end, which is half a line; a repeated name has its first value.
 */
function parseProperties(text: string): Properties {
  const lines = `\n${text}`;
  return {
    get: (name) => {
      const at = lines.indexOf(`\n${name} `);
      if (at === -1) return undefined;
      const start = at + name.length + 2;
      const end = lines.indexOf('\n', start);
      const value = lines.slice(start, Math.max(start, end)).trim();
      return value === '' || /\s/.test(value) ? undefined : value;
    },
  };
}

/** PCI address and partition bits: bus in [15:8], device in [7:3], partition in [31:28] or else in [2:0]. */
function toPlace(
  properties: Properties,
): Pick<KfdNode, 'card' | 'partitionBits' | 'functionBits'> | null {
  const location = toCount(properties.get('location_id'));
  if (location === null) return null;
  const domain = toCount(properties.get('domain')) ?? 0;
  // A PCI domain has 32 bits at most, and so has location_id.
  if (location >= 2 ** 32 || domain >= 2 ** 32) return null;
  const hex = (value: number, width: number): string => value.toString(16).padStart(width, '0');
  const bus = Math.floor(location / 2 ** 8) % 2 ** 8;
  const device = Math.floor(location / 2 ** 3) % 2 ** 5;
  return {
    card: cardId(`${hex(domain, 4)}:${hex(bus, 2)}:${hex(device, 2)}.0`),
    partitionBits: Math.floor(location / 2 ** 28) % 2 ** 4,
    functionBits: location % 2 ** 3,
  };
}

function toCount(text: string | undefined): number | null {
  if (text === undefined || !/^\d+$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : null;
}

/** Render minors start at 128; 0 stands for none. */
function toMinor(text: string | undefined): number | null {
  const minor = toCount(text);
  return minor === null || minor < 128 ? null : minor;
}

function toId(text: string | undefined): string | null {
  // Zero stands for none; 64 bits have 20 digits at most.
  if (text === undefined || !/^\d{1,20}$/.test(text) || /^0+$/.test(text)) return null;
  return BigInt(text) < 2n ** 64n ? text : null;
}
