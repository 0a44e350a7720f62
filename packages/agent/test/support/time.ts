/** Driving a manual clock: until something holds, or until a call has ended. */
import type { ManualClock } from '@aim-gpu/core/testing';

/** Some seconds of a busy host: looking for a free port and reading a model's configuration are real. */
const MOST_TURNS = 1_000_000;

/**
 * Gives the event loop turns until `holds`, moving the clock by `stepMs` in those in which something waits for it: time
 * must not run away while the host is slow.
 */
export async function until(
  clock: ManualClock,
  holds: () => boolean,
  stepMs: number = 0,
): Promise<void> {
  for (let turn = 0; !holds(); turn += 1) {
    if (turn > MOST_TURNS) throw new Error(`still not so: ${holds.toString()}`);
    await clock.advance(clock.pending() > 0 ? stepMs : 0);
  }
}

/** Runs a call to its end, moving the clock as far as it needs. */
export async function finish<T>(clock: ManualClock, call: Promise<T>, stepMs = 50): Promise<T> {
  let ended = false;
  const mark = (): void => {
    ended = true;
  };
  call.then(mark, mark);
  await until(clock, () => ended, stepMs);
  return call;
}

/** Whether a promise has settled by now, after the microtasks that wait. */
export async function hasSettled(clock: ManualClock, call: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const mark = (): void => {
    settled = true;
  };
  call.then(mark, mark);
  await clock.advance(0);
  return settled;
}
