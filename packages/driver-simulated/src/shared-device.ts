/**
 * The simulated machine as a device that engine processes share: who is attached to which partition, how much memory
 * each holds, and how busy each says it is. Memory is kept with the machine, so that another process sees a card in
 * use; activity is only known to the process that serves the engines and fades when it is not reported again.
 */
import {
  AimError,
  type Bytes,
  bytes,
  type Clock,
  createLease,
  type DeviceTenancy,
  type DeviceTenant,
  formatBytes,
  type NodeName,
  type SharedDevice,
} from '@aim-gpu/core';
import type { KernelVariant } from './kernel.js';
import type { MachineState, ProcessState } from './machine.js';
import type { MachineStore } from './machine-store.js';
import { observe } from './observation.js';
import type { ProcessTable } from './process-table.js';

/** How long a report of activity counts. */
const ACTIVITY_TTL_MS = 2000;

interface Activity {
  readonly tenant: DeviceTenant;
  busy: number;
  reportedAtMs: number;
}

/** Makes the shared face of a machine. */
export function createSimulatedSharedDevice(options: {
  readonly node: NodeName;
  readonly machine: MachineStore;
  readonly clock: Clock;
  readonly kernel: KernelVariant;
  readonly processes: ProcessTable;
}): SharedDevice {
  const { node, machine, clock, kernel, processes } = options;
  const activities = new Map<number, Activity>();

  const forgetVanished = (state: MachineState): void => {
    const here = new Set(state.processes.filter(isAttached).map((entry) => entry.key));
    for (const key of activities.keys()) if (!here.has(key)) activities.delete(key);
  };
  const busyNow = (activity: Activity): number =>
    clock.monoMs() - activity.reportedAtMs <= ACTIVITY_TTL_MS ? activity.busy : 0;

  return {
    attach: async (tenant, call) => {
      const startTime = processes.startTime(tenant.pid);
      // Who served it may have gone: what it held is what it holds on to, not more of the same.
      const isResumed = (entry: ProcessState): boolean =>
        isAttached(entry) &&
        !activities.has(entry.key) &&
        entry.pid === tenant.pid &&
        entry.startTime === (startTime === '' ? null : startTime) &&
        entry.command === tenant.instance &&
        entry.card === tenant.card &&
        entry.partition === tenant.partition;
      const opened = await machine.update((before, nowMs) => {
        const left = before.processes.filter((entry) => !isResumed(entry));
        const state =
          left.length === before.processes.length ? before : { ...before, processes: left };
        const totalBytes = capacityOf(observe({ node, state, nowMs, kernel }).cards, tenant);
        if (totalBytes === null) return { state, error: unknownPartition(tenant) };
        const freeBytes = bytes(totalBytes - usedBytes(state, tenant));
        if (tenant.memoryBytes > freeBytes) {
          return { state, error: outOfMemory(tenant, totalBytes, freeBytes) };
        }
        const entry: ProcessState = {
          key: state.nextKey,
          pid: tenant.pid,
          startTime: startTime === '' ? null : startTime,
          command: tenant.instance,
          card: tenant.card,
          partition: tenant.partition,
          memoryBytes: tenant.memoryBytes,
          goneAtMs: null,
        };
        const next = {
          ...state,
          nextKey: state.nextKey + 1,
          processes: [...state.processes, entry],
        };
        forgetVanished(next);
        return { state: next, value: { key: entry.key, memory: { totalBytes, freeBytes } } };
      }, call);

      const activity: Activity = { tenant, busy: 0, reportedAtMs: clock.monoMs() };
      activities.set(opened.key, activity);
      const lease = createLease(async () => {
        activities.delete(opened.key);
        await machine.update((state, nowMs) => ({
          state: detach(state, opened.key, nowMs),
          value: null,
        }));
      });
      return {
        ...lease,
        memory: opened.memory,
        report: (busy) => {
          activity.busy = Math.min(1, Math.max(0, busy));
          activity.reportedAtMs = clock.monoMs();
        },
        coTenants: () => {
          const others = [...activities.values()].filter(
            (other) => other !== activity && other.tenant.card === tenant.card,
          );
          const same = others.filter((other) => other.tenant.partition === tenant.partition);
          const busiest = new Map<number, number>();
          for (const other of others) {
            const { partition } = other.tenant;
            if (partition === tenant.partition) continue;
            busiest.set(partition, Math.max(busiest.get(partition) ?? 0, busyNow(other)));
          }
          return { samePartition: same.map(busyNow), otherPartitions: [...busiest.values()] };
        },
      } satisfies DeviceTenancy;
    },
  };
}

/** Marks a process as gone; its memory is free at once, the kernel's own clean-up takes a moment longer. */
export function detach(state: MachineState, key: number, nowMs: number): MachineState {
  const processes = state.processes.map((entry) =>
    entry.key === key && entry.goneAtMs === null ? { ...entry, goneAtMs: nowMs } : entry,
  );
  return { ...state, processes };
}

function isAttached(entry: ProcessState): boolean {
  return entry.goneAtMs === null;
}

function capacityOf(
  cards: ReturnType<typeof observe>['cards'],
  tenant: DeviceTenant,
): Bytes | null {
  const card = cards.find((entry) => entry.id === tenant.card);
  const partition = card?.partitions.find((entry) => entry.index === tenant.partition);
  return partition?.memoryBytes ?? null;
}

function usedBytes(state: MachineState, tenant: DeviceTenant): number {
  return state.processes
    .filter(isAttached)
    .filter((entry) => entry.card === tenant.card && entry.partition === tenant.partition)
    .reduce((sum, entry) => sum + entry.memoryBytes, 0);
}

function unknownPartition(tenant: DeviceTenant): AimError {
  return new AimError({
    code: 'ERR_DEVICE_UNKNOWN',
    kind: 'missing',
    message: `card ${tenant.card} has no partition ${tenant.partition} now`,
    details: { card: tenant.card, partition: tenant.partition },
  });
}

function outOfMemory(tenant: DeviceTenant, totalBytes: Bytes, freeBytes: Bytes): AimError {
  return new AimError({
    code: 'ERR_DEVICE_MEMORY',
    kind: 'exhausted',
    message: `${tenant.instance} wants ${formatBytes(tenant.memoryBytes)} of partition ${tenant.partition} of ${tenant.card}, of which ${formatBytes(freeBytes)} are free`,
    details: {
      card: tenant.card,
      partition: tenant.partition,
      wantedBytes: tenant.memoryBytes,
      totalBytes,
      freeBytes,
    },
  });
}
