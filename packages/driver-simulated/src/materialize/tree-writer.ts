/**
 * Keeps a directory equal to a tree image: writes what differs, removes what is gone. Owns every touch of the file
 * system but sockets. Calls are synchronous, so that no reader of this process sees a tree that is half written.
 */
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { AimError } from '@aim-gpu/core';
import type { TreeEntry, TreeImage } from './tree-image.js';
import { MARKER } from './tree-marker.js';

/** What this machine puts directly into the directory. */
const OWN_NAMES: readonly string[] = ['sys', 'proc', 'dev', 'bin', 'machine.sock', 'device.sock'];

/** A directory that follows an image. */
export interface TreeWriter {
  /** Makes the directory equal to the image. Paths in `rewrite` are written even when the image has not changed. */
  apply(image: TreeImage, rewrite?: ReadonlySet<string>): void;
  /** The text of a file now; null when it cannot be read. */
  read(file: string): string | null;
}

/**
 * Opens a directory for a machine: makes it, or clears what an earlier machine left in it. Throws `ERR_TREE_OCCUPIED`
 * (conflict) for a directory that has anything else in it, and `ERR_STATE_IO` when it cannot be written.
 */
export function openTree(directory: string): TreeWriter {
  try {
    clear(directory);
  } catch (error) {
    if (AimError.is(error)) throw error;
    throw new AimError({
      code: 'ERR_STATE_IO',
      kind: 'unavailable',
      message: `cannot write to ${directory}: ${(error as NodeJS.ErrnoException).code ?? 'unknown'}`,
      details: { directory },
      cause: error,
    });
  }
  const current = new Map<string, TreeEntry>();
  const at = (file: string): string => path.join(directory, file);

  const remove = (file: string): void => {
    rmSync(at(file), { force: true });
    current.delete(file);
    // What a directory held last goes with it; one that still holds something stays.
    for (let parent = path.dirname(file); parent !== '.'; parent = path.dirname(parent)) {
      try {
        rmdirSync(at(parent));
      } catch {
        return;
      }
    }
  };
  const write = (file: string, entry: TreeEntry): void => {
    const before = current.get(file);
    if (before === undefined || before.kind !== entry.kind || entry.kind === 'link') {
      rmSync(at(file), { force: true });
      mkdirSync(path.dirname(at(file)), { recursive: true });
      if (entry.kind === 'link') symlinkSync(entry.target, at(file));
      else {
        writeFileSync(at(file), entry.text);
        chmodSync(at(file), entry.mode);
      }
    } else {
      overwrite(at(file), entry.text);
    }
    current.set(file, entry);
  };

  return {
    apply: (image, rewrite) => {
      for (const file of [...current.keys()]) if (!image.has(file)) remove(file);
      for (const [file, entry] of image) {
        const before = current.get(file);
        const same = before !== undefined && sameEntry(before, entry);
        if (!same || rewrite?.has(file)) write(file, entry);
      }
    },
    read: (file) => {
      try {
        return readFileSync(at(file), 'utf8');
      } catch {
        return null;
      }
    },
  };
}

function sameEntry(a: TreeEntry, b: TreeEntry): boolean {
  if (a.kind === 'file') return b.kind === 'file' && a.text === b.text;
  return b.kind === 'link' && a.target === b.target;
}

/** In place, as a file of the kernel keeps its inode: who has it open reads the new text. */
function overwrite(file: string, text: string): void {
  let handle: number;
  try {
    handle = openSync(file, 'r+');
  } catch {
    // Somebody removed it.
    writeFileSync(file, text);
    return;
  }
  try {
    const content = Buffer.from(text);
    writeSync(handle, content, 0, content.length, 0);
    ftruncateSync(handle, content.length);
  } finally {
    closeSync(handle);
  }
}

function clear(directory: string): void {
  mkdirSync(directory, { recursive: true });
  const names = readdirSync(directory);
  if (names.length > 0 && !names.includes(MARKER)) {
    throw new AimError({
      code: 'ERR_TREE_OCCUPIED',
      kind: 'conflict',
      message: `${directory} has other files in it`,
      details: { directory },
      hint: 'name a new or an empty directory',
    });
  }
  for (const name of OWN_NAMES) {
    const file = path.join(directory, name);
    if (lstatSync(file, { throwIfNoEntry: false }) !== undefined) {
      rmSync(file, { recursive: true, force: true });
    }
  }
  writeFileSync(
    path.join(directory, MARKER),
    'The tree of a simulated machine; it may be removed.\n',
  );
}
