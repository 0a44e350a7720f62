/**
 * A clock that moves only when told. Due timers fire in (time, sequence) order and microtasks are drained between
 * them, so that code awaiting a sleep has run before the next timer fires.
 */
import type { Clock } from '../clock.js';
import type { EpochMs, MonoMs } from '../units.js';

/** A {@link Clock} under a test's control. */
export interface ManualClock extends Clock {
  /** Moves both times forward, firing what is due on the way. */
  advance(ms: number): Promise<void>;
  /** Steps wall time alone, as an administrator or NTP does. */
  stepWall(ms: number): void;
  /** Timers that are armed. */
  pending(): number;
  /** Milliseconds until the next timer is due; null when none is armed. */
  untilNext(): number | null;
}

interface Timer {
  readonly due: number;
  readonly sequence: number;
  readonly callback: () => void;
}

/** Makes a manual clock; both times start at the given values. */
export function createManualClock(
  options: { readonly epochMs?: number; readonly monoMs?: number } = {},
): ManualClock {
  let mono = options.monoMs ?? 0;
  let wallOffset = (options.epochMs ?? 1_700_000_000_000) - mono;
  let sequence = 0;
  const timers = new Set<Timer>();

  const timer = (ms: number, callback: () => void): (() => void) => {
    sequence += 1;
    const entry: Timer = { due: mono + Math.max(0, ms), sequence, callback };
    timers.add(entry);
    return () => void timers.delete(entry);
  };
  const nextDue = (until: number): Timer | undefined => {
    let first: Timer | undefined;
    for (const entry of timers) {
      if (entry.due > until) continue;
      if (
        !first ||
        entry.due < first.due ||
        (entry.due === first.due && entry.sequence < first.sequence)
      )
        first = entry;
    }
    return first;
  };

  return {
    epochMs: () => (mono + wallOffset) as EpochMs,
    monoMs: () => mono as MonoMs,
    timer,
    sleep: (ms, sleepOptions) =>
      new Promise((resolve, reject) => {
        const signal = sleepOptions?.signal;
        if (signal?.aborted) {
          reject(signal.reason);
          return;
        }
        const onAbort = (): void => {
          cancel();
          reject(signal?.reason);
        };
        const cancel = timer(ms, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        });
        signal?.addEventListener('abort', onAbort, { once: true });
      }),
    advance: async (ms) => {
      const until = mono + ms;
      await drainMicrotasks();
      for (let due = nextDue(until); due; due = nextDue(until)) {
        timers.delete(due);
        mono = Math.max(mono, due.due);
        due.callback();
        await drainMicrotasks();
      }
      mono = until;
    },
    stepWall: (ms) => {
      wallOffset += ms;
    },
    pending: () => timers.size,
    untilNext: () => {
      const next = nextDue(Number.POSITIVE_INFINITY);
      return next === undefined ? null : Math.max(0, next.due - mono);
    },
  };
}

/** One turn of the host's event loop: every microtask queued so far, and those they queue, have run after it. */
function drainMicrotasks(): Promise<void> {
  // biome-ignore lint/style/noRestrictedGlobals: this file is what gives tests their time; it waits a turn, not a time
  return new Promise((resolve) => setImmediate(resolve));
}
