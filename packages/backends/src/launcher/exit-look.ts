/**
 * Notices the end of processes that are nobody's child here, by looking for them. Owns how often: one timer for all of
 * them, and most looks ask the kernel for the pid alone. Reads no more of a process than whether it runs.
 */
import type { Clock, ProcessMark } from '@aim-gpu/core';
import { isRunning } from './process-marks.js';

/** How soon an end is seen. */
const LOOK_EVERY_MS = 200;
/** Every so many looks one is made that a zombie or another process of the same pid does not pass. */
const WHOLE_LOOK_EVERY = 3;

/** Looks for the ends of any number of processes. */
export interface ExitLook {
  /** Calls back once when the process is gone, at the next look at the soonest; the returned function ends that. */
  watch(mark: ProcessMark, onGone: () => void): () => void;
}

/** Makes one that looks while it has something to look for. */
export function createExitLook(options: { readonly clock: Clock }): ExitLook {
  const { clock } = options;
  const watched = new Map<object, { readonly mark: ProcessMark; readonly onGone: () => void }>();
  let looks = 0;
  let cancel: (() => void) | null = null;
  const look = (): void => {
    looks += 1;
    const whole = looks % WHOLE_LOOK_EVERY === 0;
    for (const [key, { mark, onGone }] of watched) {
      if (whole ? isRunning(mark) : isInUse(mark.pid)) continue;
      watched.delete(key);
      onGone();
    }
    cancel = watched.size === 0 ? null : clock.timer(LOOK_EVERY_MS, look);
  };
  return {
    watch: (mark, onGone) => {
      const key = {};
      watched.set(key, { mark, onGone });
      cancel ??= clock.timer(LOOK_EVERY_MS, look);
      return () => {
        watched.delete(key);
        if (watched.size > 0) return;
        cancel?.();
        cancel = null;
      };
    },
  };
}

/** Whether any process has a pid, be it a zombie. */
function isInUse(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
