import {
  AimError,
  bytes,
  createLease,
  type DeviceTenancy,
  type DeviceTenant,
  type SharedDevice,
} from '../../src/index.js';

/** A device of one partition with 1000 bytes, and what a test can see of it. */
export interface FakeDevice extends SharedDevice {
  readonly tenants: Map<DeviceTenant, number>;
  /** Tenancies that were released, in order. */
  readonly released: string[];
  /** Attaches that were refused for want of room. */
  readonly refused: number;
}

/** Makes a device; its only card has one partition. */
export function createFakeDevice(options: { readonly delay?: Promise<void> } = {}): FakeDevice {
  const tenants = new Map<DeviceTenant, number>();
  const released: string[] = [];
  let refused = 0;
  return {
    tenants,
    released,
    get refused() {
      return refused;
    },
    attach: async (tenant, call): Promise<DeviceTenancy> => {
      await options.delay;
      call?.signal?.throwIfAborted();
      const used = [...tenants.keys()].reduce((sum, other) => sum + other.memoryBytes, 0);
      const freeBytes = bytes(1000 - used);
      if (tenant.memoryBytes > freeBytes) {
        refused += 1;
        throw new AimError({
          code: 'ERR_DEVICE_MEMORY',
          kind: 'exhausted',
          message: 'too little memory is free',
          details: { totalBytes: 1000, freeBytes },
          hint: 'ask for less',
        });
      }
      tenants.set(tenant, 0);
      return {
        ...createLease(() => {
          tenants.delete(tenant);
          released.push(tenant.instance);
        }),
        memory: { totalBytes: bytes(1000), freeBytes },
        report: (busy) => void tenants.set(tenant, busy),
        coTenants: () => ({
          samePartition: [...tenants].filter(([other]) => other !== tenant).map(([, busy]) => busy),
          otherPartitions: [],
        }),
      };
    },
  };
}
