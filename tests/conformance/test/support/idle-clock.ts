/**
 * A clock that moves to its next timer as soon as nothing else is going on: minutes of a machine take milliseconds, and
 * a slow host only takes longer, since time stands still while files are read. Whoever does what takes real time tells
 * the clock of it.
 */
import type { Clock } from '@aim-gpu/core';
import { createManualClock } from '@aim-gpu/core/testing';

/** A {@link Clock} that moves by itself. */
export interface IdleClock extends Clock {
  /** Lets time stand still until the work has ended. */
  during<T>(work: Promise<T>): Promise<T>;
  /** Lets time stand still for good. */
  stop(): void;
}

/** Starts one. */
export function createIdleClock(): IdleClock {
  const manual = createManualClock();
  let busy = 0;
  let stopped = false;
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const run = async (): Promise<void> => {
    while (!stopped) {
      await turn();
      const next = manual.untilNext();
      if (busy === 0 && next !== null) await manual.advance(next);
    }
  };
  void run();
  return {
    epochMs: manual.epochMs,
    monoMs: manual.monoMs,
    sleep: manual.sleep,
    timer: manual.timer,
    during: async (work) => {
      busy += 1;
      try {
        return await work;
      } finally {
        busy -= 1;
      }
    },
    stop: () => {
      stopped = true;
    },
  };
}
