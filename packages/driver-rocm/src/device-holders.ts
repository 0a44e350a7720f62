/**
 * Holders of a card: processes that have one of its render nodes or the compute driver open (`proc/<pid>/fd`), or that
 * the compute driver itself lists (`sys/class/kfd/kfd/proc`). Needs root to see other users' open files; what cannot be
 * seen is left out.
 */
import type { DeviceHolder, ObservedCard } from '@aim-gpu/core';
import { type FileTree, linkName, namesIn, textOf } from './file-tree.js';
import { type KfdProcess, readGpuIds, readKfdProcesses } from './kfd-processes.js';

/**
 * Lists the holders of a card. `/dev/kfd` and the compute driver's own list count whichever card is meant: older
 * kernels refuse a switch while any process of the node uses it. A process that the compute driver lists with VRAM of
 * other cards only is left out.
 */
export async function readHolders(
  tree: FileTree,
  card: ObservedCard,
): Promise<readonly DeviceHolder[]> {
  const devices = new Set(['kfd']);
  for (const { renderMinor } of card.partitions)
    if (renderMinor !== null) devices.add(`renderD${renderMinor}`);
  const [pids, listed, gpuIds] = await Promise.all([
    namesIn(tree, 'proc'),
    readKfdProcesses(tree),
    readGpuIds(tree, [card]),
  ]);
  const holding = new Map<number, string>();
  for (const pid of pids.filter((name) => /^\d+$/.test(name))) {
    const device = await openDevice(tree, pid, devices);
    if (device !== null) holding.set(Number(pid), device);
  }
  for (const process of listed)
    if (!holding.has(process.pid) && mayHold(process, gpuIds))
      holding.set(process.pid, `/${process.entry}`);
  return Promise.all(
    [...holding]
      .sort(([a], [b]) => a - b)
      .map(async ([pid, device]) => ({
        pid,
        command: await textOf(tree, `proc/${pid}/comm`),
        user: await userOf(tree, pid),
        device,
      })),
  );
}

async function openDevice(
  tree: FileTree,
  pid: string,
  devices: ReadonlySet<string>,
): Promise<string | null> {
  let found: string | null = null;
  for (const descriptor of await namesIn(tree, `proc/${pid}/fd`)) {
    const name = await linkName(tree, `proc/${pid}/fd/${descriptor}`);
    if (name === null || !devices.has(name)) continue;
    // A render node says which partition; the compute driver is open in every such process.
    if (name !== 'kfd') return `/dev/dri/${name}`;
    found = '/dev/kfd';
  }
  return found;
}

function mayHold(process: KfdProcess, gpuIds: ReadonlyMap<string, unknown>): boolean {
  const amounts = [...process.vramByGpu];
  const elsewhere = amounts.some(([gpu, bytes]) => bytes > 0 && !gpuIds.has(gpu));
  const here = amounts.some(([gpu, bytes]) => bytes > 0 && gpuIds.has(gpu));
  return gpuIds.size === 0 || here || !elsewhere;
}

async function userOf(tree: FileTree, pid: number): Promise<string | null> {
  const status = await textOf(tree, `proc/${pid}/status`);
  return /^Uid:\s+(\d+)/m.exec(status ?? '')?.[1] ?? null;
}
