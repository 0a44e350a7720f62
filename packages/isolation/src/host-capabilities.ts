/**
 * What a host can enforce, as plain data: found out by whoever runs on it, given to `planEnvelope`. Owns the shape only.
 */

/** What the host and its launcher can enforce. */
export interface HostCapabilities {
  /** `linux`, `darwin`, … as Node names it. */
  readonly platform: string;
  /** Version of the cgroup hierarchy; null where there is none. */
  readonly cgroupVersion: 1 | 2 | null;
  /** Whether the launcher may make cgroups and device rules. */
  readonly root: boolean;
  /** Whether the kernel has the device memory controller (Linux 6.14 and newer). */
  readonly dmem: boolean;
  /**
   * Whether the launcher really puts each engine behind a device list: a container runtime, or systemd's DeviceAllow.
   * Being able to is not enough to call the wall hard.
   */
  readonly confinesDevices: boolean;
}

/** A host that enforces nothing: what is to be assumed when nobody has looked. */
export const BARE_HOST: HostCapabilities = {
  platform: 'linux',
  cgroupVersion: null,
  root: false,
  dmem: false,
  confinesDevices: false,
};
