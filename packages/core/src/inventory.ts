/**
 * Observed state: what a driver read from the devices of one node. Owned by drivers, read by everyone; nothing
 * here is wished for or computed from a table (rule 2 of the design: believe only what was read back).
 */
import type { CardId, HiveId, NodeName } from './ids.js';
import type { ComputeMode, Layout, MemoryMode } from './layout.js';
import type { Bytes } from './units.js';

/** Something a driver could not read, or read in two ways that disagree. */
export interface Problem {
  readonly code: string;
  readonly message: string;
  /** The file, command or field it concerns. */
  readonly where: string;
}

/** One logical GPU of a card, as read back. What the device does not say is null, never guessed. */
export interface ObservedPartition {
  readonly index: number;
  readonly xcds: number;
  readonly computeUnits: number;
  readonly memoryBytes: Bytes | null;
  /** N of /dev/dri/renderDN. */
  readonly renderMinor: number | null;
  /** Only where the driver gives this partition one of its own. */
  readonly uuid: string | null;
  readonly kfdNode: number | null;
}

/** One card as read back. */
export interface ObservedCard {
  readonly id: CardId;
  /** A key of core/products, or null when unknown. */
  readonly product: string | null;
  readonly hive: HiveId | null;
  readonly numaNode: number | null;
  readonly memoryBytes: Bytes | null;
  readonly layout: { readonly compute: ComputeMode | null; readonly memory: MemoryMode | null };
  readonly partitions: readonly ObservedPartition[];
  /** Layouts the device itself offers now or after a memory switch; null when it does not say. */
  readonly offered: readonly Layout[] | null;
  /** False for virtual functions and other cards whose layout cannot be changed from here. */
  readonly writable: boolean;
}

/** Everything a driver sees on one node at one time. */
export interface Inventory {
  readonly node: NodeName;
  /** The driver's id: `simulated`, `rocm`, … */
  readonly driver: string;
  /** Changes whenever anything observed changes; compare-and-set key of every write. */
  readonly generation: string;
  readonly cards: readonly ObservedCard[];
  readonly problems: readonly Problem[];
}

/** A process that keeps a card from being switched. */
export interface DeviceHolder {
  readonly pid: number;
  readonly command: string | null;
  readonly user: string | null;
  /** The device file or KFD entry it holds. */
  readonly device: string;
}
