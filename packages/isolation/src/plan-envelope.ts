/**
 * From a placement to its launch envelope: what the process sees, how much it may take, and how hard that is. Pure;
 * starts nothing and checks no process.
 */
import {
  AimError,
  type Demand,
  type EnvelopeShare,
  type Inventory,
  type LaunchEnvelope,
  type Placement,
  type Policy,
  type Workload,
} from '@aim-gpu/core';
import type { HostCapabilities } from './host-capabilities.js';
import { judgeMeasures } from './measures.js';
import { planMemoryBudget } from './memory-budget.js';
import { planVisibility, type SharePartition } from './visibility.js';

/** Compute units of each partition that an instance may use. */
export interface CuRange {
  /** The first one, counted from 0. */
  readonly first: number;
  readonly count: number;
}

/** Options of {@link planEnvelope}. */
export interface PlanEnvelopeOptions {
  readonly placement: Placement;
  readonly workload: Workload;
  readonly demand: Demand;
  readonly inventory: Inventory;
  readonly policy: Pick<Policy, 'memoryReserve'>;
  readonly host: HostCapabilities;
  /** Whether other instances are on one of its partitions; taken as true when left out. */
  readonly shared?: boolean;
  /** A mask of compute units, where the driver has masks. */
  readonly computeUnits?: CuRange;
}

/**
 * Makes the envelope of one instance. Of several ranks the one with the least room decides for all. Throws
 * `ERR_DEVICE_UNKNOWN` (missing) when a share's partition was not read, `ERR_DOES_NOT_FIT` (refused) when a share is
 * too small for the demand or reaches into the reserve, `ERR_INVARIANT` (internal) for a placement of another workload
 * or node.
 */
export function planEnvelope(options: PlanEnvelopeOptions): LaunchEnvelope {
  const { placement, workload, demand, inventory, policy, host } = options;
  const { instance } = placement;
  if (placement.workload !== workload.name || demand.workload !== workload.name) {
    throw mixedUp(`${instance} is of ${placement.workload}, not of ${workload.name}`);
  }
  if (placement.shares.length === 0) throw mixedUp(`${instance} has no share`);
  const parts = placement.shares.map((share) => ({
    share,
    partition: findPartition(inventory, share),
  }));
  const shares = parts.map(toEnvelopeShare);
  for (const share of shares) refuseReserve(share, policy.memoryReserve, instance);
  const budgets = shares.map((share) =>
    planMemoryBudget({
      instance,
      demand,
      shareBytes: share.memoryBytes,
      partitionBytes: share.partitionMemoryBytes,
    }),
  );
  const [first, ...others] = budgets;
  if (first === undefined) throw mixedUp(`${instance} has no share`);
  const least = others.reduce(
    (a, b) => ({
      gpuMemoryUtilization: Math.min(a.gpuMemoryUtilization, b.gpuMemoryUtilization),
      kvCacheMemoryBytes:
        a.kvCacheMemoryBytes < b.kvCacheMemoryBytes ? a.kvCacheMemoryBytes : b.kvCacheMemoryBytes,
    }),
    first,
  );
  const visibility = planVisibility(inventory, parts);
  const cuMask = options.computeUnits === undefined ? null : toCuMask(options.computeUnits, parts);
  const masks = cuMask === null || inventory.driver !== 'rocm' ? {} : { HSA_CU_MASK: cuMask };
  return {
    instance,
    shares,
    env: { ...visibility.env, ...masks },
    deviceFiles: visibility.deviceFiles,
    ...least,
    measures: judgeMeasures({
      driver: inventory.driver,
      host,
      visibility,
      shared: options.shared ?? true,
      cuMask,
    }),
  };
}

/** Explains an envelope to people: what it may use, and each measure with its strength and why. */
export function explainEnvelope(envelope: LaunchEnvelope): string {
  const width = Math.max(...envelope.measures.map((measure) => measure.name.length));
  return [
    `${envelope.instance}: ${envelope.shares.map(describeShare).join(', ')}`,
    ...envelope.measures.map(
      ({ name, strength, detail }) => `  ${name.padEnd(width)}  ${strength.padEnd(11)}  ${detail}`,
    ),
  ].join('\n');
}

function describeShare(share: EnvelopeShare): string {
  const percent = ((share.memoryBytes / share.partitionMemoryBytes) * 100).toFixed(1);
  return `${percent} % of partition ${share.partition} of ${share.card}`;
}

function findPartition(
  inventory: Inventory,
  share: Placement['shares'][number],
): SharePartition['partition'] {
  if (share.node !== inventory.node)
    throw mixedUp(`a share on ${share.node}, an inventory of ${inventory.node}`);
  const card = inventory.cards.find((entry) => entry.id === share.card);
  const partition = card?.partitions.find((entry) => entry.index === share.partition);
  if (partition !== undefined) return partition;
  throw new AimError({
    code: 'ERR_DEVICE_UNKNOWN',
    kind: 'missing',
    message: `card ${share.card} has no partition ${share.partition} now`,
    details: { card: share.card, partition: share.partition },
  });
}

function toEnvelopeShare({ share, partition }: SharePartition): EnvelopeShare {
  if (partition.memoryBytes === null) {
    throw new AimError({
      code: 'ERR_DEVICE_UNKNOWN',
      kind: 'missing',
      message: `the memory of partition ${share.partition} of ${share.card} could not be read`,
      details: { card: share.card, partition: share.partition },
    });
  }
  return {
    ...share,
    partitionMemoryBytes: partition.memoryBytes,
    renderMinor: partition.renderMinor,
  };
}

function refuseReserve(share: EnvelopeShare, reserve: number, instance: string): void {
  const most = Math.floor(share.partitionMemoryBytes * (1 - reserve));
  if (share.memoryBytes <= most) return;
  throw new AimError({
    code: 'ERR_DOES_NOT_FIT',
    kind: 'refused',
    message: `the share of ${instance} on partition ${share.partition} of ${share.card} reaches into the reserve`,
    details: { instance, shareBytes: share.memoryBytes, mostBytes: most },
  });
}

/** `device:first-last` for each visible device, counted after the visibility masks (rocm.docs.amd.com, setting-cus). */
function toCuMask(range: CuRange, parts: readonly SharePartition[]): string {
  return parts
    .map(({ partition }, index) => {
      const last = range.first + range.count - 1;
      const whole = Number.isInteger(range.first) && Number.isInteger(range.count);
      if (!whole || range.first < 0 || range.count < 1 || last >= partition.computeUnits) {
        throw new AimError({
          code: 'ERR_CU_RANGE',
          kind: 'invalid',
          message: `compute units ${range.first} to ${last} of a partition that has ${partition.computeUnits}`,
          details: { first: range.first, count: range.count, computeUnits: partition.computeUnits },
        });
      }
      return `${index}:${range.first}-${last}`;
    })
    .join(';');
}

function mixedUp(message: string): AimError {
  return new AimError({ code: 'ERR_INVARIANT', kind: 'internal', message });
}
