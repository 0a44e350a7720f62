/**
 * A simulated machine as a live directory: sysfs, KFD, dev and proc as a driver of real GPUs reads them, and the
 * executables it starts. Owns the loop that keeps tree and machine equal and takes up plain writes; what the files say
 * is in machine-image.ts, what a write does in kernel-files.ts.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { CallOptions, CardId, Clock, SharedDevice } from '@aim-gpu/core';
import { serveSharedDevice } from '@aim-gpu/core/node';
import type { KernelVariant } from '../kernel.js';
import type { MachineChanges } from '../machine-changes.js';
import { createAmdSmi, type ToolResult } from './amd-smi.js';
import { cardDirectory, KERNEL_FILES, type KernelFileName } from './card-image.js';
import { createKernelFiles } from './kernel-files.js';
import { toTreeImage } from './machine-image.js';
import { createModprobe } from './modprobe.js';
import { MAX_SOCKET_PATH, serveTools, TOOL_PROGRAM, toExecutable } from './tool-server.js';
import { createTreeBuilder, type TreeEntry, type TreeImage } from './tree-image.js';
import { MARKER, toMarkerText } from './tree-marker.js';
import { openTree } from './tree-writer.js';

/** How the kernel took a write. */
export type KernelWriteResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly errno: string; readonly text: string };

/** A machine that lives in a directory until it is closed. */
export interface MaterializedMachine {
  /** Holds `sys`, `proc`, `dev` and `bin`: the root for a driver of real GPUs. */
  readonly directory: string;
  /** Holds `amd-smi` and `modprobe`. */
  readonly toolsDirectory: string;
  /**
   * Writes a file as the kernel takes it: resolves when the kernel is done, with the errno a plain file cannot give.
   * `file` is relative to the directory; links are followed. `ENOENT` for what is no file of the kernel.
   */
  write(file: string, text: string, options?: CallOptions): Promise<KernelWriteResult>;
  /**
   * Runs one of the tools as its executable does, without the time that starting a program takes. `answer` is what it
   * reads when it asks.
   */
  runTool(
    tool: 'amd-smi' | 'modprobe',
    argv: readonly string[],
    options?: CallOptions & { readonly answer?: string },
  ): Promise<ToolResult>;
  /** Errno of reading a file where a plain file cannot give it, such as a mode during a reset; else null. */
  readError(file: string): string | null;
  /** Takes up what was written and shows what has changed, without waiting for the next turn. */
  refresh(): Promise<void>;
  /** Stops following the machine; the tree stays as it is. Idempotent. */
  close(): Promise<void>;
}

/** Options of {@link SimulatedDriver.materialize}. */
export interface MaterializeOptions {
  /** Time between two turns of taking up writes and showing changes; 25 ms unless said otherwise. */
  readonly pollMs?: number;
}

const POLL_MS = 25;

/** Makes the tree and keeps it live. See {@link SimulatedDriver.materialize}. */
export async function createMaterializedMachine(
  options: MaterializeOptions & {
    readonly directory: string;
    readonly changes: MachineChanges;
    /** Served to engines that run on the tree. */
    readonly sharedDevice: SharedDevice;
    readonly kernel: KernelVariant;
    readonly clock: Clock;
    readonly privileged: boolean;
    /** Called when the tree is no longer followed. */
    readonly onClose: () => void;
  },
): Promise<MaterializedMachine> {
  const { changes, kernel, clock, privileged } = options;
  const directory = path.resolve(options.directory);
  const tree = openTree(directory);
  const files = createKernelFiles({ changes, kernel });
  const sockets = await placeSockets(directory);
  const fixed = toToolFiles(directory, sockets.tools);
  const closing = new AbortController();
  let shown: TreeImage = new Map();
  let shownOf = '';
  /** Files that were found empty once: somebody may be between opening and writing. */
  const emptied = new Set<string>();
  let turn: Promise<void> = Promise.resolve();
  let cancel: () => void = () => undefined;

  const show = async (rewrite: ReadonlySet<string>): Promise<void> => {
    const { state, inventory } = await changes.look();
    const source = JSON.stringify([inventory, state, [...files.described]]);
    if (source !== shownOf) {
      shown = new Map([
        ...fixed,
        ...toTreeImage({ state, inventory, kernel, described: files.described }),
      ]);
      shownOf = source;
    } else if (rewrite.size === 0) return;
    tree.apply(shown, rewrite);
  };

  /** Plain writes since the last turn: files whose text is not what was shown. */
  const writtenFiles = (): readonly { readonly file: KernelFile; readonly text: string }[] =>
    kernelFilesOf(shown).flatMap((file) => {
      const entry = shown.get(file.path);
      const text = tree.read(file.path);
      if (entry?.kind !== 'file' || text === null || text === entry.text) {
        emptied.delete(file.path);
        return [];
      }
      if (text === '' && !emptied.has(file.path)) {
        emptied.add(file.path);
        return [];
      }
      emptied.delete(file.path);
      return [{ file, text }];
    });

  const takeTurn = async (): Promise<void> => {
    const written = writtenFiles();
    for (const { file, text } of written) {
      // Nobody hears of a refusal of a plain write; the file just shows the old text again.
      await files.write(file, text, { signal: closing.signal });
    }
    await show(new Set(written.map(({ file }) => file.path)));
  };
  /** One turn at a time; a turn that failed is the caller's to hear of, the loop goes on. */
  const nextTurn = (): Promise<void> => {
    const next = turn.then(() => (closing.signal.aborted ? undefined : takeTurn()));
    turn = next.catch(() => undefined);
    return next;
  };
  const loop = (): void => {
    cancel = clock.timer(options.pollMs ?? POLL_MS, () => {
      void nextTurn().then(loop, loop);
    });
    if (closing.signal.aborted) cancel();
  };

  await nextTurn();
  const tools = {
    'amd-smi': shownAfter(createAmdSmi({ changes, files, kernel, privileged })),
    modprobe: shownAfter(createModprobe({ changes, privileged })),
  };
  const served = await serveTools({ socketPath: sockets.tools, tools });
  const device = await serveSharedDevice({
    device: options.sharedDevice,
    socketPath: sockets.device,
  });
  await writeFile(path.join(directory, MARKER), toMarkerText(sockets.device));
  loop();

  /** What a tool has done can be read when it returns. */
  function shownAfter<C, R>(run: (call: C) => Promise<R>): (call: C) => Promise<R> {
    return async (call) => {
      try {
        return await run(call);
      } finally {
        await nextTurn();
      }
    };
  }

  const close = async (): Promise<void> => {
    if (closing.signal.aborted) return;
    closing.abort();
    cancel();
    await turn;
    await device.release();
    await served.release();
    await sockets.remove();
    options.onClose();
  };

  return {
    directory,
    toolsDirectory: path.join(directory, 'bin'),
    refresh: nextTurn,
    runTool: (tool, argv, { answer = '', ...call } = {}) =>
      tools[tool]({ argv, ask: () => Promise.resolve(answer), ...call }),
    readError: (file) => {
      const found = toKernelFile(shown, file);
      const entry = found === null ? undefined : shown.get(found.path);
      const mode = found?.name === 'current_compute_partition';
      return mode && entry?.kind === 'file' && entry.text === '' ? 'EPERM' : null;
    },
    write: async (file, text, call) => {
      await nextTurn();
      const found = toKernelFile(shown, file);
      if (found === null) return { ok: false, errno: 'ENOENT', text: 'No such file or directory' };
      if (!privileged) return { ok: false, errno: 'EACCES', text: 'Permission denied' };
      const result = await files.write(found, text, call);
      if (!result.ok) return result;
      // The kernel's write returns when the switch has ended; the new devices come later.
      if (result.window !== null) await changes.waitFor(result.window, 'end', call);
      await nextTurn();
      return { ok: true };
    },
    close,
  };
}

interface KernelFile {
  readonly card: CardId;
  readonly name: KernelFileName;
  readonly path: string;
}

function kernelFilesOf(image: TreeImage): readonly KernelFile[] {
  const cards = [...image.keys()].flatMap((file) => {
    const found = /^sys\/devices\/pci0000:00\/([^/]+)\/current_compute_partition$/.exec(file);
    return found?.[1] === undefined ? [] : [found[1] as CardId];
  });
  return cards.flatMap((card) =>
    KERNEL_FILES.map((name) => ({ card, name, path: `${cardDirectory(card)}/${name}` })).filter(
      (file) => image.has(file.path),
    ),
  );
}

/** Finds a kernel's file by any of its paths. */
function toKernelFile(image: TreeImage, file: string): KernelFile | null {
  const real = followLinks(image, path.posix.normalize(file.replace(/^\/+/, '')));
  return kernelFilesOf(image).find((entry) => entry.path === real) ?? null;
}

function followLinks(image: TreeImage, file: string): string {
  const parts = file.split('/');
  for (let length = 1; length < parts.length; length += 1) {
    const prefix = parts.slice(0, length).join('/');
    const entry = image.get(prefix);
    if (entry?.kind !== 'link') continue;
    const target = path.posix.join(path.posix.dirname(prefix), entry.target);
    return followLinks(image, [target, ...parts.slice(length)].join('/'));
  }
  return file;
}

/** The executables. */
function toToolFiles(directory: string, socketPath: string): ReadonlyMap<string, TreeEntry> {
  const tree = createTreeBuilder();
  const program = path.join(directory, 'bin/machine-tool.cjs');
  tree.file('bin/machine-tool.cjs', TOOL_PROGRAM, 0o644);
  for (const tool of ['amd-smi', 'modprobe']) {
    tree.file(`bin/${tool}`, toExecutable({ program, socketPath, tool }), 0o755);
  }
  return tree.image;
}

/** In the tree where its path is short enough for sockets, else in the host's temporary directory. */
async function placeSockets(
  directory: string,
): Promise<{ readonly tools: string; readonly device: string; remove(): Promise<void> }> {
  const inDirectory = (place: string): { readonly tools: string; readonly device: string } => ({
    tools: path.join(place, 'machine.sock'),
    device: path.join(place, 'device.sock'),
  });
  const inside = inDirectory(directory);
  if (Buffer.byteLength(inside.tools) <= MAX_SOCKET_PATH) {
    const remove = async (): Promise<void> => {
      for (const file of [inside.tools, inside.device]) await rm(file, { force: true });
    };
    return { ...inside, remove };
  }
  const outside = await mkdtemp(path.join(tmpdir(), 'aim-gpu-machine-'));
  return {
    ...inDirectory(outside),
    remove: () => rm(outside, { recursive: true, force: true }),
  };
}
