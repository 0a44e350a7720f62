/**
 * Changing a mode of one card: which way is taken and why, trying again while the card is only just being freed, and
 * waiting until its devices are there. Owns no errno table and no discovery; both are next door or handed in.
 */
import {
  AimError,
  type CallOptions,
  type CardId,
  type Clock,
  type DeviceHolder,
  type Logger,
  withDeadline,
} from '@aim-gpu/core';
import { parseAmdSmi } from './amd-smi/parse-amd-smi.js';
import { deviceBusy, errnoOfTool, switchTimeout, writeRefused } from './change-errors.js';
import type { ChangeTiming } from './change-timing.js';
import type { CommandOutcome, CommandRunner } from './command-runner.js';
import type { FileTree } from './file-tree.js';
import { findProgram } from './tool-reports.js';

/** What changes are made through. */
export interface ChangeHost {
  readonly tree: FileTree;
  /** Directory that holds the tree, for programs below it. */
  readonly root: string;
  readonly commands: CommandRunner;
  readonly clock: Clock;
  readonly timing: ChangeTiming;
  readonly logger: Logger | null;
}

/** One mode of one card. */
export interface ModeRequest {
  /** For messages: `switching 0000:0c:00.0 to CPX`. */
  readonly what: string;
  readonly card: CardId;
  readonly kind: 'compute' | 'memory';
  readonly mode: string;
  /** The card's own sysfs directory; null when it was not found. */
  readonly directory: string | null;
  readonly holders: () => Promise<readonly DeviceHolder[]>;
  /** Throws when the node is no longer as it was read: a later try must not do what an earlier one was asked for. */
  readonly assertFresh: () => Promise<void>;
  /** Whether the card does not say its mode now, as while it switches or is reset. */
  readonly isMoving: () => Promise<boolean>;
}

const FILES = {
  compute: 'current_compute_partition',
  memory: 'current_memory_partition',
} as const;
const FLAGS = { compute: '--compute-partition', memory: '--memory-partition' } as const;

type Way =
  | { readonly kind: 'sysfs'; readonly file: string; readonly reason: string }
  | { readonly kind: 'amd-smi'; readonly file: string; readonly reason: string };

/**
 * Asks for the mode and returns when the kernel has taken it; that it is in force is for the caller to read back.
 * A busy card whose holders can be seen is refused at once; one that nobody seems to hold is tried again, since the
 * kernel frees a card some time after its last process ended.
 */
export async function changeMode(
  host: ChangeHost,
  request: ModeRequest,
  call: CallOptions,
): Promise<void> {
  const way = await chooseWay(host, request);
  const { clock, timing, logger } = host;
  const { card, kind, mode } = request;
  logger?.info('mode change', { card, kind, mode, way: way.kind, reason: way.reason });
  const startedMs = clock.monoMs();
  for (;;) {
    call.signal?.throwIfAborted();
    const errno = await attempt(host, request, way, call);
    if (errno === null) return;
    // EPERM from a file that could be opened: the card is being reset, which ends by itself.
    const patienceMs =
      errno === 'EBUSY' ? timing.busyForMs : errno === 'EPERM' ? timing.settleForMs : 0;
    const holders = errno === 'EBUSY' ? await request.holders() : [];
    const waitedMs = clock.monoMs() - startedMs;
    if (holders.length > 0 || waitedMs + timing.busyRetryMs > patienceMs) {
      // A card that is still under way is busy with itself; the kernel's word for that is EPERM.
      throw errno === 'EBUSY' || (errno === 'EPERM' && (await request.isMoving()))
        ? deviceBusy(request.what, holders)
        : writeRefused(request.what, errno, way.file);
    }
    logger?.debug('mode change waits', { card, errno, waitedMs });
    await clock.sleep(timing.busyRetryMs, call);
    await request.assertFresh();
  }
}

/** The kernel's file answers with an errno; the tool is for hosts that hide the file, since its exit code proves little. */
async function chooseWay(host: ChangeHost, request: ModeRequest): Promise<Way> {
  const { tree, root } = host;
  const name = FILES[request.kind];
  const file = `${request.directory ?? 'sys'}/${name}`;
  if (request.directory !== null && (await tree.access(file)) !== null)
    return { kind: 'sysfs', file, reason: `the kernel has ${name}, whose answer is an errno` };
  const tool = await findProgram(tree, root, 'amd-smi');
  if (tool === null) throw writeRefused(request.what, 'ENOENT', file);
  return { kind: 'amd-smi', file: tool, reason: `there is no ${name} to write` };
}

/** Null when it was taken, else the errno. */
async function attempt(
  host: ChangeHost,
  request: ModeRequest,
  way: Way,
  call: CallOptions,
): Promise<string | null> {
  const { clock, timing, tree } = host;
  if (way.kind === 'sysfs') {
    const ms = timing.switchTimeoutMs;
    try {
      return await withDeadline(() => tree.write(way.file, request.mode), {
        clock,
        ms,
        what: request.what,
        ...call,
      });
    } catch (error) {
      if (AimError.is(error) && error.code === 'ERR_TIMEOUT') throw switchTimeout(request.what, ms);
      throw error;
    }
  }
  // Up to ROCm 6.4 the tool reloads the driver itself after a change of the memory mode, and asks before it.
  const memory = request.kind === 'memory';
  const timeoutMs = memory ? timing.reloadTimeoutMs : timing.switchTimeoutMs;
  const outcome = await host.commands.run({
    file: way.file,
    args: ['set', '--gpu', request.card, FLAGS[request.kind], request.mode],
    timeoutMs,
    ...(memory ? { input: 'y\n' } : {}),
    ...call,
  });
  return errnoOf(request.what, outcome, timeoutMs);
}

function errnoOf(what: string, outcome: CommandOutcome, timeoutMs: number): string | null {
  if (outcome.kind === 'timed-out') throw switchTimeout(what, timeoutMs);
  if (outcome.kind === 'not-started')
    return outcome.reason === 'not-executable' ? 'EACCES' : 'ENOENT';
  const text = `${outcome.stdout}\n${outcome.stderr}`;
  // Refusals come with exit code 0 as well: the words decide.
  const [error] = parseAmdSmi(text).errors;
  if (error !== undefined)
    return errnoOfTool(error.status, `${error.name} ${error.message}`) ?? 'EIO';
  if (outcome.kind === 'ended' && outcome.exitCode === 0) return null;
  return errnoOfTool(null, text) ?? 'EIO';
}

/**
 * Looks until `isSettled`, or until nothing has moved for the time of settling; gives what was seen last. What still
 * moves is waited for as long as a switch may take. Throws `ERR_SWITCH_TIMEOUT` when it moves on.
 */
export async function settle<T>(
  host: ChangeHost,
  options: CallOptions & {
    readonly what: string;
    readonly look: () => Promise<T>;
    readonly isSettled: (seen: T) => boolean;
    /** Whether a change is under way: a card that does not say its mode. */
    readonly isMoving: (seen: T) => boolean;
    readonly forMs: number;
  },
): Promise<T> {
  const { clock, timing } = host;
  const { what, look, isSettled, isMoving, forMs, ...call } = options;
  const startedMs = clock.monoMs();
  let stillSinceMs = startedMs;
  for (;;) {
    const seen = await look();
    const now = clock.monoMs();
    if (isSettled(seen)) return seen;
    if (isMoving(seen)) {
      if (now - startedMs >= timing.switchTimeoutMs)
        throw switchTimeout(what, timing.switchTimeoutMs);
      stillSinceMs = now;
    } else if (now - stillSinceMs >= forMs) return seen;
    await clock.sleep(timing.settleLookMs, call);
  }
}
