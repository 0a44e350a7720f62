/**
 * What a write to one of the kernel's files does: parsing as the kernel parses, the change it asks for, the errno it
 * gets. Owns the meaning of the files; that they are plain files, and when they are read, is not known here.
 */
import {
  AimError,
  type CallOptions,
  type CardId,
  COMPUTE_MODES,
  type ComputeMode,
  type MemoryMode,
} from '@aim-gpu/core';
import type { FaultableCall } from '../faults.js';
import { type KernelVariant, offeredLayouts } from '../kernel.js';
import { type ChangeWindow, partitionsOf, productOf } from '../machine.js';
import type { MachineChanges } from '../machine-changes.js';
import { stageMemory, switchCompute, tuned } from '../operations.js';
import type { KernelFileName } from './card-image.js';

/** How a write went: begun, with the window it takes, or refused with the errno the writer gets. */
export type KernelWrite =
  | { readonly ok: true; readonly window: ChangeWindow | null }
  | { readonly ok: false; readonly errno: string; readonly text: string };

/** The kernel's side of the files of a machine. */
export interface KernelFiles {
  write(
    target: { readonly card: CardId; readonly name: KernelFileName },
    text: string,
    call?: CallOptions,
  ): Promise<KernelWrite>;
  /** What `xcp_config` of each card was asked to describe. */
  readonly described: ReadonlyMap<CardId, string>;
}

/** Makes the kernel's side of the files. */
export function createKernelFiles(options: {
  readonly changes: MachineChanges;
  readonly kernel: KernelVariant;
}): KernelFiles {
  const { changes, kernel } = options;
  const described = new Map<CardId, string>();

  const begin = async (
    call: FaultableCall,
    card: CardId,
    work: Parameters<MachineChanges['begin']>[0]['work'],
    signal?: CallOptions,
  ): Promise<KernelWrite> => {
    try {
      const request = { call, kind: 'compute', card, expect: null, work } as const;
      return { ok: true, window: await changes.begin(request, signal) };
    } catch (error) {
      return toRefusal(error);
    }
  };

  return {
    described,
    write: async ({ card, name }, text, call) => {
      const { state, inventory } = await changes.look();
      const known = state.cards.find((entry) => entry.id === card);
      const seen = inventory.cards.find((entry) => entry.id === card);
      if (known === undefined || seen === undefined) return refused('ENOENT');
      const inReset = seen.layout.compute === null;
      switch (name) {
        case 'current_compute_partition': {
          if (inReset) return refused('EPERM');
          const mode = toComputeMode(text);
          if (mode === null) return refused('EINVAL');
          return begin('set-compute', card, (context) => switchCompute(context, card, mode), call);
        }
        case 'current_memory_partition': {
          if (inReset) return refused('EPERM');
          const memories = new Set(offeredLayouts(productOf(known), kernel).map((l) => l.memory));
          if (memories.size < 2) return refused('EACCES');
          const mode = toMemoryMode(text);
          if (mode === null) return refused('EINVAL');
          return begin('stage-memory', card, (context) => stageMemory(context, card, mode), call);
        }
        case 'compute_partition_mem_alloc_mode': {
          if (!kernel.memAllocMode) return refused('ENOENT');
          const mode = text.trim().toUpperCase();
          if (mode !== 'ALL' && mode !== 'CAPPING') return refused('EINVAL');
          return begin(
            'tune',
            card,
            ({ state: now, fault }) =>
              tuned(now, card, { allocatesAll: mode === 'ALL' }, fault, 'mem_alloc_mode'),
            call,
          );
        }
        case 'compute_partition_config/xcp_config': {
          const mode = toComputeMode(text);
          const offered = offeredLayouts(productOf(known), kernel);
          if (mode === null || !offered.some((layout) => layout.compute === mode)) {
            return refused('EINVAL');
          }
          described.set(card, mode);
          return { ok: true, window: null };
        }
        case 'enforce_isolation': {
          const flags = text.trim().split(/\s+/);
          const valid = flags.every((flag) => flag === '0' || flag === '1');
          if (!valid || flags.length !== partitionsOf(known)) return refused('EINVAL');
          const isolated = flags.map((flag) => flag === '1');
          return begin(
            'tune',
            card,
            ({ state: now, fault }) => tuned(now, card, { isolated }, fault, 'enforce_isolation'),
            call,
          );
        }
        case 'run_cleaner_shader': {
          const partition = /^\d+$/.test(text.trim()) ? Number(text) : -1;
          return partition < 0 || partition >= partitionsOf(known)
            ? refused('EINVAL')
            : { ok: true, window: null };
        }
      }
    },
  };
}

/** The kernel compares three letters, in any case. */
function toComputeMode(text: string): ComputeMode | null {
  const word = text.slice(0, 3).toUpperCase();
  return COMPUTE_MODES.find((mode) => mode === word) ?? null;
}

function toMemoryMode(text: string): MemoryMode | null {
  const word = text.trim().toUpperCase();
  return /^NPS[1248]$/.test(word) ? (word as MemoryMode) : null;
}

const ERRNO_TEXT: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EBUSY: 'Device or resource busy',
  EINVAL: 'Invalid argument',
  EIO: 'Input/output error',
  ENODEV: 'No such device',
  ENOENT: 'No such file or directory',
  EOPNOTSUPP: 'Operation not supported',
  EPERM: 'Operation not permitted',
};

function refused(errno: string): KernelWrite {
  return { ok: false, errno, text: ERRNO_TEXT[errno] ?? errno };
}

function toRefusal(error: unknown): KernelWrite {
  if (!AimError.is(error) || typeof error.details['errno'] !== 'string') throw error;
  return { ok: false, errno: error.details['errno'], text: String(error.details['machine']) };
}
