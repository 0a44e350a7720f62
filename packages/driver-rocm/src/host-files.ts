/**
 * The file port over a directory of this host: `/` for the machine itself, else a recorded or simulated tree. Owns the
 * bounds of what is read. Calls back instead of awaiting handles: a discovery is hundreds of small files, and handles
 * cost three times as much. Nothing blocks the process: a sysfs file may wait for the device.
 */
import {
  access,
  close,
  constants,
  open,
  readdir,
  read as readFile,
  readlink,
  stat,
  write,
} from 'node:fs';
import path from 'node:path';
import type { FileAccess, FileNames, FileText, FileTree } from './file-tree.js';

// sysfs and KFD files are a page at most; KFD properties of a large node stay below 4 KiB.
const MAX_BYTES = 256 * 1024;
const FIRST_BYTES = 8 * 1024;
// A thousand nodes read at once must not use up the process's file descriptors.
const MAX_OPEN = 64;
// A named pipe in a recorded tree would hold its opener for ever without O_NONBLOCK.
const READ = constants.O_RDONLY | constants.O_NONBLOCK;
// Truncating means nothing to sysfs; in a simulated tree it leaves no rest of a longer value behind.
const WRITE = constants.O_WRONLY | constants.O_TRUNC | constants.O_NONBLOCK;

/** The files below `root`. */
export function createHostFiles(root: string): FileTree {
  const at = (file: string): string => path.join(root, file);
  const gate = createGate(MAX_OPEN);
  return {
    // sysfs gives a file whole in one read; elsewhere (procfs) a short read need not be the end.
    read: (file) =>
      gate((done) =>
        readText(at(file), { whole: true, shortIsEnd: file.startsWith('sys/') }, done),
      ),
    readHead: (file) =>
      gate((done) => readText(at(file), { whole: false, shortIsEnd: true }, done)),
    list: (directory) =>
      new Promise((resolve) => {
        readdir(at(directory), (error, names) => {
          resolve(error === null ? { kind: 'names', names: names.sort() } : failureOf(error));
        });
      }),
    linkTarget: (file) =>
      new Promise((resolve) => {
        readlink(at(file), (error, target) => resolve(error === null ? target : null));
      }),
    access: (file) => accessOf(at(file)),
    write: (file, text) => gate((done) => writeText(at(file), text, done)),
  };
}

type Failure = Exclude<FileText & FileNames, { kind: 'text' } | { kind: 'names' }>;

function failureOf(error: NodeJS.ErrnoException): Failure {
  const code = error.code ?? 'unknown error';
  return code === 'ENOENT' || code === 'ENOTDIR'
    ? { kind: 'absent' }
    : { kind: 'unreadable', reason: code };
}

function readText(
  file: string,
  how: { readonly whole: boolean; readonly shortIsEnd: boolean },
  done: (text: FileText) => void,
): void {
  open(file, READ, (error, descriptor) => {
    if (error !== null) {
      done(failureOf(error));
      return;
    }
    const end = (text: FileText): void => close(descriptor, () => done(text));
    let buffer = Buffer.allocUnsafe(FIRST_BYTES);
    let length = 0;
    const next = (): void => {
      readFile(descriptor, buffer, length, buffer.length - length, null, (failed, count) => {
        if (failed !== null) {
          end(failureOf(failed));
          return;
        }
        length += count;
        const full = length === buffer.length;
        if (length > MAX_BYTES) {
          end({ kind: 'unreadable', reason: `larger than ${MAX_BYTES} bytes` });
        } else if (count === 0 || (full && !how.whole) || (!full && how.shortIsEnd)) {
          end(toText(buffer.subarray(0, length)));
        } else {
          if (full) buffer = Buffer.concat([buffer], Math.min(length * 4, MAX_BYTES + 1));
          next();
        }
      });
    };
    next();
  });
}

/** sysfs speaks ASCII: anything with a NUL is no answer of the kernel. */
function toText(content: Buffer): FileText {
  if (content.includes(0)) return { kind: 'unreadable', reason: 'binary content' };
  return { kind: 'text', text: content.toString('utf8') };
}

function writeText(file: string, text: string, done: (errno: string | null) => void): void {
  open(file, WRITE, (error, descriptor) => {
    if (error !== null) {
      done(error.code ?? 'EIO');
      return;
    }
    write(descriptor, text, (failed) => {
      close(descriptor, (unclosed) => {
        const problem = failed ?? unclosed ?? null;
        done(problem === null ? null : (problem.code ?? 'EIO'));
      });
    });
  });
}

async function accessOf(file: string): Promise<FileAccess | null> {
  const stats = await new Promise<{ mode: number; uid: number; gid: number } | null>((resolve) => {
    stat(file, (error, found) => resolve(error === null ? found : null));
  });
  if (stats === null) return null;
  const usable = await new Promise<boolean>((resolve) => {
    access(file, constants.R_OK | constants.W_OK, (error) => resolve(error === null));
  });
  return { usable, mode: stats.mode, uid: stats.uid, gid: stats.gid };
}

/** Runs at most `limit` at a time, the others in turn. */
function createGate(limit: number): <T>(run: (done: (value: T) => void) => void) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return (run) =>
    new Promise((resolve) => {
      const start = (): void => {
        run((value) => {
          // The place goes to the next in line, or is given up.
          const next = waiting.shift();
          if (next === undefined) running -= 1;
          else next();
          resolve(value);
        });
      };
      if (running < limit) {
        running += 1;
        start();
      } else {
        waiting.push(start);
      }
    });
}
