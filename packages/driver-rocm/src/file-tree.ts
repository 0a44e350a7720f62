/**
 * Inner port: the files of a host under a root directory, so that the same code reads a machine, a recorded tree and a
 * simulated one. Absent is an answer (null), everything else that goes wrong is a reason; nothing throws.
 */
import { constants } from 'node:fs';
import { open, readdir, readlink } from 'node:fs/promises';
import path from 'node:path';

/** Text of a file, or why there is none. `absent` covers a missing file and a missing directory. */
type FileText =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'unreadable'; readonly reason: string };

/** Files under a root; paths are relative to it and never start with a slash. */
export interface FileTree {
  /** Reads a small text file; more than `maxBytes` is `unreadable`. */
  read(file: string): Promise<FileText>;
  /** Names in a directory, sorted; empty when it is absent or cannot be listed. */
  list(directory: string): Promise<readonly string[]>;
  /** Last component of a symbolic link's target, or null. */
  linkName(file: string): Promise<string | null>;
}

// sysfs and KFD files are a page at most; KFD properties of a large node stay below 4 KiB.
const MAX_BYTES = 256 * 1024;
const FIRST_BYTES = 8 * 1024;
// A thousand nodes read at once must not use up the process's file descriptors.
const MAX_OPEN = 64;

/** The files below `root`. */
export function createFileTree(root: string): FileTree {
  const at = (file: string): string => path.join(root, file);
  const gate = createGate(MAX_OPEN);
  return {
    read: (file) => gate(() => readText(at(file))),
    list: async (directory) => {
      try {
        return (await readdir(at(directory))).sort();
      } catch {
        // A directory that vanished or may not be listed has no names for us; files asked for by name say why.
        return [];
      }
    },
    linkName: async (file) => {
      try {
        return path.basename(await readlink(at(file)));
      } catch {
        return null;
      }
    },
  };
}

async function readText(file: string): Promise<FileText> {
  try {
    await using handle = await openFile(file);
    let buffer = Buffer.allocUnsafe(FIRST_BYTES);
    let length = 0;
    for (;;) {
      const { bytesRead } = await handle.file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) break;
      length += bytesRead;
      if (length > MAX_BYTES)
        return { kind: 'unreadable', reason: `larger than ${MAX_BYTES} bytes` };
      if (length === buffer.length) {
        buffer = Buffer.concat([buffer], Math.min(length * 4, MAX_BYTES + 1));
      }
    }
    return toText(buffer.subarray(0, length));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    return code === 'ENOENT' || code === 'ENOTDIR'
      ? { kind: 'absent' }
      : { kind: 'unreadable', reason: code };
  }
}

/** sysfs speaks ASCII: anything with a NUL is no answer of the kernel. */
function toText(content: Buffer): FileText {
  if (content.includes(0)) return { kind: 'unreadable', reason: 'binary content' };
  return { kind: 'text', text: content.toString('utf8') };
}

async function openFile(
  file: string,
): Promise<{ readonly file: Awaited<ReturnType<typeof open>> } & AsyncDisposable> {
  // Without O_NONBLOCK a named pipe in a recorded tree would hold its reader for ever.
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  return { file: handle, [Symbol.asyncDispose]: () => handle.close() };
}

/** Runs at most `limit` at a time, the others in turn. */
function createGate(limit: number): <T>(run: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (run) => {
    if (running < limit) running += 1;
    else await new Promise<void>((resolve) => void waiting.push(resolve));
    try {
      return await run();
    } finally {
      // The place goes to the next in line, or is given up.
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
