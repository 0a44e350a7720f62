import { describe, expect, it } from 'vitest';
import { createManualClock } from '../../src/testing/index.js';

describe('createManualClock', () => {
  it('moves both times together and wall time alone when stepped', async () => {
    const clock = createManualClock({ epochMs: 5000, monoMs: 10 });
    await clock.advance(7);
    expect([clock.epochMs(), clock.monoMs()]).toEqual([5007, 17]);
    clock.stepWall(-1000);
    expect([clock.epochMs(), clock.monoMs()]).toEqual([4007, 17]);
  });

  it('fires timers by time, then by the order they were armed', async () => {
    const clock = createManualClock();
    const fired: string[] = [];
    clock.timer(20, () => fired.push('late'));
    clock.timer(10, () => fired.push('first of two'));
    clock.timer(10, () => fired.push('second of two'));
    clock.timer(-5, () => fired.push('overdue'));
    await clock.advance(15);
    expect(fired).toEqual(['overdue', 'first of two', 'second of two']);
    expect(clock.pending()).toBe(1);
    await clock.advance(5);
    expect(fired.at(-1)).toBe('late');
  });

  it('shows each callback the time it was due, also when it was armed on the way', async () => {
    const clock = createManualClock();
    const seen: number[] = [];
    clock.timer(10, () => {
      seen.push(clock.monoMs());
      clock.timer(10, () => seen.push(clock.monoMs()));
    });
    await clock.advance(100);
    expect(seen).toEqual([10, 20]);
    expect(clock.monoMs()).toBe(100);
  });

  it('runs code that awaits a sleep before the next timer fires', async () => {
    const clock = createManualClock();
    const order: string[] = [];
    const sleeper = (async () => {
      await clock.sleep(10);
      await Promise.resolve();
      order.push('slept');
      await clock.sleep(5);
      order.push('slept again');
    })();
    clock.timer(12, () => order.push('timer'));
    await clock.advance(20);
    await sleeper;
    expect(order).toEqual(['slept', 'timer', 'slept again']);
  });

  it('cancels a timer', async () => {
    const clock = createManualClock();
    let fired = false;
    const cancel = clock.timer(1, () => {
      fired = true;
    });
    cancel();
    cancel();
    await clock.advance(5);
    expect(fired).toBe(false);
  });

  it('rejects an aborted sleep with the reason and disarms its timer', async () => {
    const clock = createManualClock();
    const controller = new AbortController();
    const reason = new Error('enough');
    const sleep = clock.sleep(10, { signal: controller.signal });
    controller.abort(reason);
    await expect(sleep).rejects.toBe(reason);
    expect(clock.pending()).toBe(0);
    await expect(clock.sleep(10, { signal: controller.signal })).rejects.toBe(reason);
    expect(clock.pending()).toBe(0);
  });
});
