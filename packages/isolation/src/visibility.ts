/**
 * How a process is told which partitions are its own, for each driver: environment variables and device files. Pure.
 * The only place that knows vendors' variables; a new driver is one more entry.
 *
 * On AMD (rocm.docs.amd.com, gpu-isolation): ROCR_VISIBLE_DEVICES acts below HIP and takes indices or UUIDs;
 * HIP_VISIBLE_DEVICES and CUDA_VISIBLE_DEVICES take indices and are applied to what ROCR left, so that they must count
 * from 0. None of them is a wall against a hostile process.
 */
import type { Inventory, ObservedPartition, Share } from '@aim-gpu/core';

/** What makes partitions visible to a process. */
export interface Visibility {
  readonly env: Readonly<Record<string, string>>;
  readonly deviceFiles: readonly string[];
  /** How the partitions are named to the process, for people; null when this driver's way is not known. */
  readonly named: string | null;
}

/** A share with the partition it lies on. */
export interface SharePartition {
  readonly share: Share;
  readonly partition: ObservedPartition;
}

/** Makes the partitions of these shares visible, in their order, and no others. */
export function planVisibility(
  inventory: Inventory,
  shares: readonly SharePartition[],
): Visibility {
  switch (inventory.driver) {
    case 'rocm':
      return rocmVisibility(inventory, shares);
    case 'simulated':
      return simulatedVisibility(shares);
    default:
      return { env: {}, deviceFiles: [], named: null };
  }
}

/** Devices as the ROCm runtime counts them: KFD nodes in order; where those are unread, whole cards before partitions. */
function rocmIndex(inventory: Inventory, share: Share): number {
  const all = inventory.cards.flatMap((card, position) =>
    card.partitions.map((partition) => ({
      key: `${card.id}/${partition.index}`,
      kfdNode: partition.kfdNode,
      split: card.partitions.length > 1 ? 1 : 0,
      position,
      index: partition.index,
    })),
  );
  const numbered = all.every((entry) => entry.kfdNode !== null);
  all.sort((a, b) =>
    numbered
      ? (a.kfdNode ?? 0) - (b.kfdNode ?? 0)
      : a.split - b.split || a.position - b.position || a.index - b.index,
  );
  return all.findIndex((entry) => entry.key === `${share.card}/${share.partition}`);
}

/** The form in which ROCr takes a UUID. Another form, or a UUID that all partitions of a card share, is not used. */
const ROCR_UUID = /^GPU-[0-9a-f]{16}$/i;

function rocmVisibility(inventory: Inventory, shares: readonly SharePartition[]): Visibility {
  const uuids = shares.map(({ partition }) => partition.uuid);
  const byUuid = uuids.every((uuid) => uuid !== null && ROCR_UUID.test(uuid));
  const names = byUuid ? uuids : shares.map(({ share }) => rocmIndex(inventory, share));
  const visible = names.join(',');
  const counted = shares.map((_, index) => index).join(',');
  const minors = shares.flatMap(({ partition }) => partition.renderMinor ?? []);
  return {
    env: {
      ROCR_VISIBLE_DEVICES: visible,
      HIP_VISIBLE_DEVICES: counted,
      CUDA_VISIBLE_DEVICES: counted,
    },
    deviceFiles: ['/dev/kfd', ...minors.map((minor) => `/dev/dri/renderD${minor}`)],
    named: `ROCR_VISIBLE_DEVICES=${visible} (${byUuid ? 'UUIDs' : 'indices in KFD order'})`,
  };
}

function simulatedVisibility(shares: readonly SharePartition[]): Visibility {
  const visible = shares.map(({ share }) => `${share.card}/${share.partition}`).join(',');
  return {
    env: { AIM_GPU_VISIBLE_PARTITIONS: visible },
    deviceFiles: [],
    named: `AIM_GPU_VISIBLE_PARTITIONS=${visible}`,
  };
}
