/**
 * Telling a process from every other that ever had its pid: by start time and boot, by a nonce in its environment, and
 * by its argument list. Reads /proc; starts and signals nothing.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { ProcessMark } from '@aim-gpu/core';
import { readProcessStart } from '@aim-gpu/core/node';
import { GATE_SCRIPT, LAUNCH_ID_VARIABLE, OWNER_VARIABLE } from './guard-script.js';

/** An interpreter named by `#!` puts itself, one argument and the full path in front of what was asked for. */
const MOST_IN_FRONT = 2;

/** Marks a process that exists and will run `argv`. */
export function markProcess(pid: number, nonce: string, argv: readonly string[]): ProcessMark {
  const start = readProcessStart(pid);
  return {
    pid,
    startTicks: start?.startTicks ?? null,
    bootId: start?.bootId ?? null,
    nonce,
    argvSha256: digestOf(argv),
  };
}

/**
 * The mark with the argument list the process shows now: programs may rename themselves while they start. At its gate a
 * process shows the gate's arguments, which it will never show again.
 */
export function refreshMark(mark: ProcessMark): ProcessMark {
  const argv = isRunning(mark) ? readArgv(mark.pid) : null;
  return argv === null || argv.includes(GATE_SCRIPT) || matchesArgv(mark, argv)
    ? mark
    : { ...mark, argvSha256: digestOf(argv) };
}

/** Whether the marked process still runs: same pid, same start, same boot. Cheap; enough for one just seen alive. */
export function isRunning(mark: ProcessMark): boolean {
  const now = readProcessStart(mark.pid);
  return now !== null && now.startTicks === mark.startTicks && now.bootId === mark.bootId;
}

/** Whether the marked process still runs and proves to be it by nonce and arguments too. */
export function provesItself(mark: ProcessMark): boolean {
  if (mark.startTicks === null || mark.bootId === null || !isRunning(mark)) return false;
  const argv = readArgv(mark.pid);
  const environment = readList(`/proc/${mark.pid}/environ`);
  return (
    argv !== null &&
    matchesArgv(mark, argv) &&
    environment?.includes(`${LAUNCH_ID_VARIABLE}=${mark.nonce}`) === true
  );
}

/** Leaders of the process groups that an owner's launches started and that still run. */
export function findOwned(owner: string): readonly ProcessMark[] {
  const found = new Map<string, ProcessMark>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const environment = readList(`/proc/${pid}/environ`) ?? [];
    if (!environment.includes(`${OWNER_VARIABLE}=${owner}`)) continue;
    const launch = environment.find((entry) => entry.startsWith(`${LAUNCH_ID_VARIABLE}=`));
    const nonce = launch?.slice(LAUNCH_ID_VARIABLE.length + 1);
    // The first of a launch is its leader: a child cannot have a lower pid unless pids have wrapped around.
    if (nonce !== undefined && !found.has(nonce)) {
      found.set(nonce, markProcess(Number(pid), nonce, readArgv(Number(pid)) ?? []));
    }
  }
  return [...found.values()];
}

function matchesArgv(mark: ProcessMark, argv: readonly string[]): boolean {
  return Array.from({ length: MOST_IN_FRONT + 1 }, (_, skip) => argv.slice(skip)).some(
    (rest) => digestOf(rest) === mark.argvSha256,
  );
}

function digestOf(argv: readonly string[]): string {
  return createHash('sha256').update(argv.join('\0')).digest('hex');
}

/** Null also in the instant in which a process becomes another program and has no arguments at all. */
function readArgv(pid: number): readonly string[] | null {
  const argv = readList(`/proc/${pid}/cmdline`);
  return argv?.join('') === '' ? null : argv;
}

function readList(file: string): readonly string[] | null {
  try {
    return readFileSync(file, 'utf8').replace(/\0$/, '').split('\0');
  } catch {
    return null;
  }
}
