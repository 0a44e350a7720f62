/**
 * Port: the driver of one node's GPUs. `discover` reads; the `set…` calls change one thing each, compare-and-set on
 * the generation, and return what was read back afterwards. Success of a set call proves nothing: callers compare
 * the returned inventory with what they wanted.
 */
import type { CallOptions } from './abort.js';
import type { CardId } from './ids.js';
import type { DeviceHolder, Inventory } from './inventory.js';
import type { ComputeMode, MemoryMode } from './layout.js';

/** Options of a change: refused with `ERR_GENERATION_STALE` (conflict) when the machine is no longer at `expect`. */
export interface ChangeOptions extends CallOptions {
  readonly expect: string;
}

/** A change seen by {@link GpuDriver.watch}. */
export interface InventoryEvent {
  readonly before: Inventory;
  readonly after: Inventory;
}

/** The GPUs of one node. */
export interface GpuDriver {
  readonly specVersion: 1;
  /** `simulated`, `rocm`, … */
  readonly id: string;
  /** Reads every card of the node. */
  discover(options?: CallOptions): Promise<Inventory>;
  /**
   * Switches one card's compute mode and reads back.
   * Throws `ERR_DEVICE_BUSY` (conflict; holders in details), `ERR_LAYOUT_UNSUPPORTED` (refused),
   * `ERR_DRIVER_PERMISSION` (denied), `ERR_DEVICE_UNKNOWN` (missing), `ERR_SWITCH_TIMEOUT` (timeout, outcome unknown),
   * `ERR_DRIVER_IO` (unavailable).
   */
  setComputeMode(card: CardId, mode: ComputeMode, options: ChangeOptions): Promise<Inventory>;
  /**
   * Stages a memory mode for the hive of `card`; nothing changes until {@link GpuDriver.reload}.
   * Throws as {@link GpuDriver.setComputeMode}.
   */
  stageMemoryMode(card: CardId, mode: MemoryMode, options: ChangeOptions): Promise<Inventory>;
  /**
   * Reloads the driver of the whole node, which applies staged memory modes and resets every compute mode.
   * Throws `ERR_DEVICE_BUSY` while any process holds any GPU of the node.
   */
  reload(options: ChangeOptions): Promise<Inventory>;
  /** Processes that hold a card and so block a switch; what could not be seen is left out. */
  holders(card: CardId, options?: CallOptions): Promise<readonly DeviceHolder[]>;
  /** Calls back on each observed change until the returned function is called. */
  watch(onEvent: (event: InventoryEvent) => void): () => void;
  /** Stops watching and frees what is held. Idempotent. */
  close(): Promise<void>;
}
