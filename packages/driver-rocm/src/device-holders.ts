/**
 * Holders of a card: processes that have one of its render nodes or the compute driver open, from `proc/<pid>/fd`.
 * Needs root to see other users' processes; what cannot be seen is left out.
 */
import type { DeviceHolder, ObservedCard } from '@aim-gpu/core';
import type { FileTree } from './file-tree.js';

/** Lists the holders of a card. `/dev/kfd` counts: older kernels refuse a switch while any process has it open. */
export async function readHolders(
  tree: FileTree,
  card: ObservedCard,
): Promise<readonly DeviceHolder[]> {
  const devices = new Set(['kfd']);
  for (const { renderMinor } of card.partitions)
    if (renderMinor !== null) devices.add(`renderD${renderMinor}`);
  const pids = (await tree.list('proc')).filter((name) => /^\d+$/.test(name));
  const holders: DeviceHolder[] = [];
  for (const pid of pids) {
    const device = await openDevice(tree, pid, devices);
    if (device === null) continue;
    const command = await tree.read(`proc/${pid}/comm`);
    holders.push({
      pid: Number(pid),
      command: command.kind === 'text' ? command.text.trim() : null,
      user: await userOf(tree, pid),
      device,
    });
  }
  return holders;
}

async function openDevice(
  tree: FileTree,
  pid: string,
  devices: ReadonlySet<string>,
): Promise<string | null> {
  for (const descriptor of await tree.list(`proc/${pid}/fd`)) {
    const name = await tree.linkName(`proc/${pid}/fd/${descriptor}`);
    if (name !== null && devices.has(name)) return name === 'kfd' ? '/dev/kfd' : `/dev/dri/${name}`;
  }
  return null;
}

async function userOf(tree: FileTree, pid: string): Promise<string | null> {
  const status = await tree.read(`proc/${pid}/status`);
  if (status.kind !== 'text') return null;
  return /^Uid:\s+(\d+)/m.exec(status.text)?.[1] ?? null;
}
