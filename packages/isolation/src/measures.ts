/**
 * What keeps an instance inside its walls, and how hard each wall is on this host. Pure. A measure is `hard` only when
 * something other than the engine enforces it; `cooperative` when the engine's own good behaviour does; `unavailable`
 * when nothing here does, with the reason.
 */
import type { IsolationMeasure } from '@aim-gpu/core';
import type { HostCapabilities } from './host-capabilities.js';
import type { Visibility } from './visibility.js';

/** What the measures are judged by. */
export interface MeasureInput {
  readonly driver: string;
  readonly host: HostCapabilities;
  readonly visibility: Visibility;
  /** Whether other instances are on one of the same partitions. */
  readonly shared: boolean;
  /** The mask that was asked for; null when none was. */
  readonly cuMask: string | null;
}

/** The measures of an envelope, the hardest question first. */
export function judgeMeasures(input: MeasureInput): readonly IsolationMeasure[] {
  const measures = [
    partitionMemory(input),
    deviceNodes(input),
    visibleDevices(input),
    memoryLimit(input),
    bandwidth(),
  ];
  return input.cuMask === null ? measures : [...measures, cuMask(input, input.cuMask)];
}

function partitionMemory({ driver }: MeasureInput): IsolationMeasure {
  const name = 'partition-memory';
  switch (driver) {
    case 'rocm':
      return {
        name,
        strength: 'hard',
        detail:
          'the kernel caps allocations at the partition’s part of its memory domain, unless the card’s allocation mode was set to ALL',
      };
    case 'simulated':
      return {
        name,
        strength: 'hard',
        detail: 'the simulated device refuses memory beyond the partition',
      };
    default:
      return { name, strength: 'unavailable', detail: `nothing is known of the driver ${driver}` };
  }
}

function deviceNodes({ driver, host, visibility }: MeasureInput): IsolationMeasure {
  const name = 'device-nodes';
  const no = (detail: string): IsolationMeasure => ({ name, strength: 'unavailable', detail });
  if (driver === 'simulated') return no('a simulated partition has no device file');
  if (visibility.named === null) return no(`nothing is known of the driver ${driver}`);
  if (host.platform !== 'linux') return no(`there are no device cgroups on ${host.platform}`);
  if (host.confinesDevices) {
    const files = visibility.deviceFiles.join(' ');
    return { name, strength: 'hard', detail: `the launcher lets the process open ${files} only` };
  }
  const could = host.root && host.cgroupVersion !== null;
  return no(
    could
      ? `this host could (root, cgroup v${host.cgroupVersion}), but the launcher starts engines without a device list`
      : 'needs a launcher with a device list: a container runtime, or systemd’s DeviceAllow',
  );
}

function visibleDevices({ driver, visibility }: MeasureInput): IsolationMeasure {
  const name = 'visible-devices';
  if (visibility.named === null) {
    return { name, strength: 'unavailable', detail: `nothing is known of the driver ${driver}` };
  }
  return { name, strength: 'cooperative', detail: `${visibility.named}; a process can undo it` };
}

function memoryLimit({ driver, host, shared }: MeasureInput): IsolationMeasure {
  const neighbours = shared
    ? 'an engine that ignores them takes its neighbours’ memory'
    : 'no neighbour is on the partition now';
  const arguments_ = `the engine’s own memory arguments; ${neighbours}`;
  if (driver !== 'rocm')
    return { name: 'memory-limit', strength: 'cooperative', detail: arguments_ };
  const dmem =
    host.dmem && host.cgroupVersion === 2
      ? 'the device memory controller counts whole cards, not partitions, and is not known to count compute allocations'
      : 'this kernel has no device memory controller';
  return { name: 'memory-limit', strength: 'cooperative', detail: `${arguments_}; ${dmem}` };
}

function bandwidth(): IsolationMeasure {
  return {
    name: 'memory-bandwidth',
    strength: 'unavailable',
    detail: 'no GPU here limits bandwidth or last-level cache between neighbours',
  };
}

function cuMask({ driver }: MeasureInput, mask: string): IsolationMeasure {
  return driver === 'rocm'
    ? {
        name: 'cu-mask',
        strength: 'cooperative',
        detail: `HSA_CU_MASK=${mask}; no effect on memory`,
      }
    : {
        name: 'cu-mask',
        strength: 'unavailable',
        detail: `the driver ${driver} has no compute unit masks`,
      };
}
