/**
 * Finds out what this host can enforce around engines. Effects: looks at the file system and the process's user.
 */
import { existsSync } from 'node:fs';
import type { HostCapabilities } from '@aim-gpu/isolation';

const UNIFIED = '/sys/fs/cgroup/cgroup.controllers';
const LEGACY = '/sys/fs/cgroup/devices';
const DEVICE_MEMORY = '/sys/fs/cgroup/dmem.capacity';

/** Looks at this host. Engines are plain child processes here, so no device list confines them. */
export function detectHost(): HostCapabilities {
  return {
    platform: process.platform,
    cgroupVersion: existsSync(UNIFIED) ? 2 : existsSync(LEGACY) ? 1 : null,
    root: process.getuid?.() === 0,
    dmem: existsSync(DEVICE_MEMORY),
    confinesDevices: false,
  };
}
