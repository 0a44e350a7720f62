/**
 * What the host says of an engine's process: whether it stands still or works, and whether it is the one that listens on its
 * port, or a stranger who took it first and answers health checks in its place. Reads /proc; where that says nothing
 * (another system, a process of another user) nobody is accused.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** State of a listening socket in /proc/net/tcp. */
const LISTEN = '0A';

/**
 * Whether a port is listened on, and by none of the processes of an engine: its leader, its process group and their
 * descendants.
 */
export function isHeldByStranger(leader: number, port: number): boolean {
  const sockets = new Set([
    ...listenersOf('/proc/net/tcp', port),
    ...listenersOf('/proc/net/tcp6', port),
  ]);
  if (sockets.size === 0 || holdsAny(leader, sockets)) return false;
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const holders = pids.map(Number).filter((pid) => holdsAny(pid, sockets));
  return holders.length > 0 && !holders.some((pid) => belongsTo(pid, leader));
}

/** Whether a process was stopped by a signal; one that a debugger holds was not. */
export function isStopped(pid: number): boolean {
  return lookAt(pid)?.stopped === true;
}

/** A look at a process. */
export interface ProcessLook {
  /** Stopped by a signal, not by a debugger. */
  readonly stopped: boolean;
  /** Processor time it has used, in clock ticks (proc(5), fields 14 and 15). */
  readonly cpuTicks: number;
}

/** Looks at a process; null where nothing is said. */
export function lookAt(pid: number): ProcessLook | null {
  const fields = readStat(pid);
  if (fields === null) return null;
  return { stopped: fields[0] === 'T', cpuTicks: Number(fields[11]) + Number(fields[12]) };
}

/** Inodes of the sockets that listen on a port. */
function listenersOf(file: string, port: number): readonly string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const text = quietly(() => readFileSync(file, 'latin1')) ?? '';
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [, local = '', , state] = fields;
    const inode = fields[9];
    return state === LISTEN && local.endsWith(suffix) && inode !== undefined ? [inode] : [];
  });
}

function holdsAny(pid: number, sockets: ReadonlySet<string>): boolean {
  const directory = `/proc/${pid}/fd`;
  const names = quietly(() => readdirSync(directory)) ?? [];
  return names.some((name) => {
    const target = quietly(() => readlinkSync(`${directory}/${name}`)) ?? '';
    return target.startsWith('socket:[') && sockets.has(target.slice(8, -1));
  });
}

/** Whether a process is the leader, of its group, or a descendant of such a one. */
function belongsTo(pid: number, leader: number): boolean {
  const seen = new Set<number>();
  for (let now = pid; now > 1 && !seen.has(now); ) {
    seen.add(now);
    const family = readFamily(now);
    if (family === null) return false;
    if (now === leader || family.group === leader) return true;
    now = family.parent;
  }
  return false;
}

/** Parent and process group of a process (proc(5), fields 4 and 5). */
function readFamily(pid: number): { readonly parent: number; readonly group: number } | null {
  const fields = readStat(pid);
  return fields === null ? null : { parent: Number(fields[1]), group: Number(fields[2]) };
}

/** The fields after the name in /proc/PID/stat: state, parent, process group, … */
function readStat(pid: number): readonly string[] | null {
  const text = quietly(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

/** What vanishes while it is read says nothing. */
function quietly<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
