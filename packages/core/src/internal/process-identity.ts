/**
 * Who a process is: its pid together with its start time, boot and pid namespace, so that a pid the kernel has given
 * to somebody else is not believed. Reads /proc; where there is none only the pid is known.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { errnoOf } from './state-io-error.js';

/** What tells one process from every other on this machine. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to start (field 22 of /proc/PID/stat). */
  readonly startTicks: string | null;
  readonly bootId: string | null;
  readonly pidNamespace: string | null;
}

/** Whether the process of an identity runs; `unseen` when it lives in another pid namespace of this boot. */
export type Liveness = 'alive' | 'dead' | 'unseen';

function quietly<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

let ownBootId: string | null = null;

/** Of this boot, which no process outlives: read once. */
function bootId(): string | null {
  ownBootId ??= quietly(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
  return ownBootId;
}

function pidNamespace(): string | null {
  return quietly(() => readlinkSync('/proc/self/ns/pid'));
}

/** State letter and start time of a process; null when /proc has none. The name in the file may hold anything. */
function readStat(pid: number): { readonly state: string; readonly startTicks: string } | null {
  const text = quietly(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  if (text === null) return null;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, startTicks] = [fields[0], fields[19]];
  return state === undefined || startTicks === undefined ? null : { state, startTicks };
}

/** Identity of this process. */
export function ownIdentity(): ProcessIdentity {
  return {
    pid: process.pid,
    startTicks: readStat(process.pid)?.startTicks ?? null,
    bootId: bootId(),
    pidNamespace: pidNamespace(),
  };
}

/** Whether any process has this pid now; a zombie has ended. */
export function isProcessAlive(pid: number): boolean {
  const stat = readStat(pid);
  return stat === null ? hasProcess(pid) : !isOver(stat.state);
}

/** A zombie has ended. */
function isOver(state: string): boolean {
  return state === 'Z' || state === 'X';
}

/** Where /proc says nothing. */
function hasProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

/** Whether the very process that wrote this identity still runs. */
export function livenessOf(identity: ProcessIdentity): Liveness {
  const boot = bootId();
  if (identity.bootId !== null && boot !== null && identity.bootId !== boot) return 'dead';
  const namespace = pidNamespace();
  if (identity.pidNamespace !== null && namespace !== null && identity.pidNamespace !== namespace) {
    return 'unseen';
  }
  if (!isProcessAlive(identity.pid)) return 'dead';
  const startTicks = readStat(identity.pid)?.startTicks ?? null;
  if (identity.startTicks === null || startTicks === null) return 'alive';
  return identity.startTicks === startTicks ? 'alive' : 'dead';
}

/** When a process started: in ticks from boot, of which boot. Null where nothing of it runs or nobody says. */
export interface ProcessStart {
  readonly startTicks: string | null;
  readonly bootId: string | null;
}

/** Reads when the process with a pid started; null when none has it. A zombie has ended. */
export function readProcessStart(pid: number): ProcessStart | null {
  const stat = readStat(pid);
  const alive = stat === null ? hasProcess(pid) : !isOver(stat.state);
  return alive ? { startTicks: stat?.startTicks ?? null, bootId: bootId() } : null;
}
