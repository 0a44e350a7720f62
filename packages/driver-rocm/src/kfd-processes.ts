/**
 * Processes that the compute driver knows, from `sys/class/kfd/kfd/proc`: one directory for each, with the VRAM it has
 * of every GPU (`vram_<gpu_id>`). Anybody may read it, so it shows processes of other users, whose open files only root
 * sees. Old kernels do not have it.
 */
import type { CardId } from '@aim-gpu/core';
import { type FileTree, namesIn, textOf } from './file-tree.js';
import { KFD_NODES } from './kfd-topology.js';

const PROCESSES = 'sys/class/kfd/kfd/proc';
const MAX_PROCESSES = 4096;

/** A process of the compute driver. */
export interface KfdProcess {
  readonly pid: number;
  /** Where it was seen. */
  readonly entry: string;
  /** VRAM it has of each GPU, in bytes; empty where the kernel does not say. */
  readonly vramByGpu: ReadonlyMap<string, number>;
}

/** Lists the processes; empty where the kernel has no such directory. */
export async function readKfdProcesses(tree: FileTree): Promise<readonly KfdProcess[]> {
  const names = (await namesIn(tree, PROCESSES)).filter((name) => /^\d{1,10}$/.test(name));
  return Promise.all(
    names.slice(0, MAX_PROCESSES).map(async (name) => {
      const entry = `${PROCESSES}/${name}`;
      const files = (await namesIn(tree, entry)).filter((file) => /^vram_\d{1,10}$/.test(file));
      const vram = await Promise.all(
        files.map(async (file): Promise<[string, number]> => {
          const text = (await textOf(tree, `${entry}/${file}`)) ?? '';
          return [file.slice('vram_'.length), /^\d{1,15}$/.test(text) ? Number(text) : 0];
        }),
      );
      return { pid: Number(name), entry, vramByGpu: new Map(vram) };
    }),
  );
}

/** Which card each GPU id of the compute driver is, by the KFD nodes of the cards' partitions. */
export async function readGpuIds(
  tree: FileTree,
  cards: readonly {
    readonly id: CardId;
    readonly partitions: readonly { readonly kfdNode: number | null }[];
  }[],
): Promise<ReadonlyMap<string, CardId>> {
  const ids = new Map<string, CardId>();
  await Promise.all(
    cards.flatMap((card) =>
      card.partitions.map(async ({ kfdNode }) => {
        const id = kfdNode === null ? null : await textOf(tree, `${KFD_NODES}/${kfdNode}/gpu_id`);
        if (id !== null && /^\d{1,10}$/.test(id)) ids.set(id, card.id);
      }),
    ),
  );
  return ids;
}
