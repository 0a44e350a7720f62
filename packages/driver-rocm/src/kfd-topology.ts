/**
 * KFD topology: one node for each partition that exists, from `sys/class/kfd/kfd/topology/nodes`. Owns the file format
 * and the arithmetic of `location_id`; groups nothing. 64-bit ids stay text: they exceed what a number holds.
 */
import { type Bytes, bytes, type CardId, cardId, type Problem } from '@aim-gpu/core';
import { type FileTree, namesIn } from './file-tree.js';
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
  const read = await Promise.all(numbers.map((index) => readNode(tree, index)));
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

async function readNode(tree: FileTree, index: number): Promise<NodeReading> {
  const where = `${KFD_NODES}/${index}/properties`;
  const file = await tree.read(where);
  if (file.kind !== 'text') {
    const reason = file.kind === 'absent' ? 'it is missing' : file.reason;
    const problems = [unreadable('KFD_NODE_UNREADABLE', `KFD node ${index}`, reason, where)];
    return { node: null, problems };
  }
  const properties = parseProperties(file.text);
  const simds = toCount(properties.get('simd_count'));
  // A CPU node has no SIMDs.
  if (simds === 0) return { node: null, problems: [] };
  if (simds === null) {
    return {
      node: null,
      problems: [problem('KFD_NODE_INVALID', `KFD node ${index} has no simd_count`, where)],
    };
  }
  if (toCount(properties.get('vendor_id')) !== AMD_VENDOR) return { node: null, problems: [] };
  const place = toPlace(properties);
  if (place === null) {
    return {
      node: null,
      problems: [problem('KFD_NODE_INVALID', `KFD node ${index} has no usable location_id`, where)],
    };
  }
  const memory = await readMemory(tree, index, toCount(properties.get('mem_banks_count')));
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

/** The size of the first VRAM bank; what a node lacks or says wrongly is a problem. */
async function readMemory(
  tree: FileTree,
  index: number,
  count: number | null,
): Promise<{ readonly bytes: Bytes | null; readonly problems: readonly Problem[] }> {
  const directory = `${KFD_NODES}/${index}/mem_banks`;
  // The kernel numbers banks from 0; listing them would cost as much as reading one.
  const names =
    count === null
      ? await namesIn(tree, directory)
      : Array.from({ length: Math.min(count, MAX_BANKS) }, (_, bank) => String(bank));
  const problems: Problem[] = [];
  for (const bank of names) {
    const where = `${directory}/${bank}/properties`;
    const file = await tree.read(where);
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

/** `name value` lines; a line of any other shape is skipped, a repeated name keeps its first value. */
function parseProperties(text: string): ReadonlyMap<string, string> {
  const properties = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^([a-z_0-9]+)\s+(\S+)\s*$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined || properties.has(match[1])) continue;
    properties.set(match[1], match[2]);
  }
  return properties;
}

/** PCI address and partition bits: bus in [15:8], device in [7:3], partition in [31:28] or else in [2:0]. */
function toPlace(
  properties: ReadonlyMap<string, string>,
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
