/**
 * Port: how much of a device an engine process gets while co-tenants run. Real engines get this from the hardware;
 * simulated engines ask whoever simulates the device, over a unix socket between processes.
 */
import type { CallOptions } from './abort.js';
import type { CardId, InstanceId } from './ids.js';
import type { Lease } from './lease.js';
import type { Bytes } from './units.js';

/** A process that wants to use part of a partition. */
export interface DeviceTenant {
  readonly instance: InstanceId;
  readonly pid: number;
  readonly card: CardId;
  readonly partition: number;
  /** Device memory it is going to take. */
  readonly memoryBytes: Bytes;
}

/** How busy the others are, as shares of time between 0 and 1. */
export interface CoTenantActivity {
  /** One entry for each other engine on the same partition. */
  readonly samePartition: readonly number[];
  /** One entry for each other partition of the card that has engines: the busiest of it. */
  readonly otherPartitions: readonly number[];
}

/** Free and total memory of a partition as a process on it sees them. */
export interface DeviceMemory {
  readonly totalBytes: Bytes;
  readonly freeBytes: Bytes;
}

/** A process's hold on a partition; releasing frees its memory. A vanished process is released by the device. */
export interface DeviceTenancy extends Lease {
  /** Memory of the partition before this tenant took its part. */
  readonly memory: DeviceMemory;
  /** Says which share of the last interval this tenant kept the device busy, 0 to 1. */
  report(busy: number): void;
  /** The latest known activity of the others. Never waits. */
  coTenants(): CoTenantActivity;
}

/** A device that several engine processes use. */
export interface SharedDevice {
  /**
   * Opens a partition. Throws `ERR_DEVICE_UNKNOWN` (missing) for a card or partition that is not there and
   * `ERR_DEVICE_MEMORY` (exhausted) when less than `memoryBytes` is free; `details` has total and free bytes.
   */
  attach(tenant: DeviceTenant, options?: CallOptions): Promise<DeviceTenancy>;
}
