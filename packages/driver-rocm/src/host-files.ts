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

// Reading takes turns anyway: a few buffers serve every read.
const spareBuffers: Buffer[] = [];

/** The files below `root`. */
export function createHostFiles(root: string): FileTree {
  const base = path.resolve(root);
  const at = (file: string): string => `${base}/${file}`;
  const gate = createGate(MAX_OPEN);
  return {
    // sysfs gives a file whole in one read; elsewhere (procfs) a short read need not be the end.
    read: (file) =>
      gate((done, free) =>
        readText(at(file), { whole: true, shortIsEnd: file.startsWith('sys/') }, done, free),
      ),
    readHead: (file) =>
      gate((done, free) => readText(at(file), { whole: false, shortIsEnd: true }, done, free)),
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
    write: (file, text) =>
      gate((done, free) =>
        writeText(at(file), text, (errno) => {
          free();
          done(errno);
        }),
      ),
  };
}

type Failure = Exclude<FileText & FileNames, { kind: 'text' } | { kind: 'names' }>;

function failureOf(error: NodeJS.ErrnoException): Failure {
  const code = error.code ?? 'unknown error';
  return code === 'ENOENT' || code === 'ENOTDIR'
    ? { kind: 'absent' }
    : { kind: 'unreadable', reason: code };
}

/** A file being read. Plain functions over it: a closure for each step of hundreds of files costs as much as reading. */
interface Reading {
  readonly descriptor: number;
  /** Whether the whole file is wanted, or what the first buffer holds. */
  readonly whole: boolean;
  /** Whether a read that does not fill the buffer is the last. */
  readonly shortIsEnd: boolean;
  readonly done: (text: FileText) => void;
  readonly free: () => void;
  buffer: Buffer;
  length: number;
}

/** Answers as soon as the text is there; `free` is called when the file is closed again. */
function readText(
  file: string,
  how: { readonly whole: boolean; readonly shortIsEnd: boolean },
  done: (text: FileText) => void,
  free: () => void,
): void {
  open(file, READ, (error, descriptor) => {
    if (error !== null) {
      free();
      done(failureOf(error));
      return;
    }
    const buffer = spareBuffers.pop() ?? Buffer.allocUnsafeSlow(FIRST_BYTES);
    readOn({ descriptor, ...how, done, free, buffer, length: 0 });
  });
}

function readOn(reading: Reading): void {
  const { descriptor, buffer, length } = reading;
  readFile(descriptor, buffer, length, buffer.length - length, null, (error, count) => {
    if (error !== null) {
      endReading(reading, failureOf(error));
      return;
    }
    reading.length += count;
    const full = reading.length === buffer.length;
    if (reading.length > MAX_BYTES) {
      endReading(reading, { kind: 'unreadable', reason: `larger than ${MAX_BYTES} bytes` });
    } else if (count === 0 || (full ? !reading.whole : reading.shortIsEnd)) {
      endReading(reading, toText(buffer, reading.length));
    } else {
      if (full) {
        const larger = Math.min(reading.length * 4, MAX_BYTES + 1);
        reading.buffer = Buffer.concat([buffer], larger);
      }
      readOn(reading);
    }
  });
}

function endReading(reading: Reading, text: FileText): void {
  if (reading.buffer.length === FIRST_BYTES) spareBuffers.push(reading.buffer);
  close(reading.descriptor, reading.free);
  reading.done(text);
}

/** sysfs speaks ASCII: anything with a NUL is no answer of the kernel. */
function toText(content: Buffer, length: number): FileText {
  const text = content.toString('utf8', 0, length);
  if (text.includes('\0')) return { kind: 'unreadable', reason: 'binary content' };
  return { kind: 'text', text };
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

/** Runs at most `limit` at a time, the others in turn; a place is taken until `free` is called. */
function createGate(
  limit: number,
): <T>(run: (done: (value: T) => void, free: () => void) => void) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  const free = (): void => {
    // The place goes to the next in line, or is given up.
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  };
  return (run) =>
    new Promise((resolve) => {
      if (running < limit) {
        running += 1;
        run(resolve, free);
      } else {
        waiting.push(() => run(resolve, free));
      }
    });
}
