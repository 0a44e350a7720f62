/**
 * The wish to stop a running agent, from a signal or from `down`. The first one counts and lets it end in order; a
 * second signal ends the process at once.
 */
import { AimError } from '@aim-gpu/core';
import type { CommandContext } from './context.js';

/** The wish to stop. */
export interface Stop {
  /** Resolves with what asked for it. */
  readonly reason: Promise<string>;
  readonly signal: AbortSignal;
  request(reason: string, options?: { readonly restoreLayout?: boolean }): void;
  restoreLayout(): boolean;
  forget(): void;
}

/** Exit codes of a process that a signal ended, as shells report them. */
const SIGNAL_EXITS: Readonly<Record<string, number>> = { SIGINT: 130, SIGTERM: 143 };

/** Makes one that listens to the process's signals until {@link Stop.forget}. */
export function createStop(context: CommandContext): Stop {
  const controller = new AbortController();
  let restore = false;
  let resolve: (reason: string) => void = () => undefined;
  const reason = new Promise<string>((settle) => {
    resolve = settle;
  });
  const request: Stop['request'] = (why, { restoreLayout = false } = {}) => {
    restore ||= restoreLayout;
    resolve(why);
    controller.abort(
      new AimError({ code: 'ERR_STOPPED', kind: 'unavailable', message: `stopped by ${why}` }),
    );
  };
  const forget = context.io.onStopSignal((name) => {
    if (controller.signal.aborted) context.io.exitNow(SIGNAL_EXITS[name] ?? 1);
    else request(name);
  });
  return { reason, signal: controller.signal, request, restoreLayout: () => restore, forget };
}

/** Work that a wish to stop may interrupt: then its failure is the stop, and what follows is a clean end. */
export async function untilStopped(stop: Stop, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
}
