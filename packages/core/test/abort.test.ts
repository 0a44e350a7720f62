import { describe, expect, it } from 'vitest';
import { isAbort, withDeadline } from '../src/index.js';
import { createManualClock } from '../src/testing/index.js';

const never = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason));
  });

describe('withDeadline', () => {
  it('hands on the outcome in time and leaves no timer', async () => {
    const clock = createManualClock();
    const options = { clock, ms: 50, what: 'the probe' };
    await expect(withDeadline(async () => 7, options)).resolves.toBe(7);
    const failure = new Error('no');
    await expect(withDeadline(() => Promise.reject(failure), options)).rejects.toBe(failure);
    expect(clock.pending()).toBe(0);
  });

  it('aborts the work when the time is up', async () => {
    const clock = createManualClock();
    let reason: unknown;
    const outcome = withDeadline(
      (signal) => {
        signal.addEventListener('abort', () => {
          reason = signal.reason;
        });
        return never(signal);
      },
      { clock, ms: 50, what: 'the switch' },
    );
    const refused = expect(outcome).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
      kind: 'timeout',
      message: 'the switch did not finish within 50 ms',
      details: { timeoutMs: 50 },
    });
    await clock.advance(50);
    await refused;
    expect(reason).toMatchObject({ code: 'ERR_TIMEOUT' });
  });

  it('does not wait for work that ignores its signal', async () => {
    const clock = createManualClock();
    const outcome = withDeadline(() => new Promise(() => undefined), { clock, ms: 5, what: 'it' });
    const refused = expect(outcome).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    await clock.advance(5);
    await refused;
  });

  it('passes on the caller’s abort, before and during the work', async () => {
    const clock = createManualClock();
    const controller = new AbortController();
    const options = { clock, ms: 50, what: 'it', signal: controller.signal };
    const outcome = withDeadline(never, options);
    const reason = new Error('enough');
    controller.abort(reason);
    await expect(outcome).rejects.toBe(reason);
    expect(clock.pending()).toBe(0);
    let started = false;
    const late = withDeadline(async () => {
      started = true;
    }, options);
    await expect(late).rejects.toBe(reason);
    expect(started).toBe(false);
  });
});

describe('isAbort', () => {
  it('tells an abort from a failure', () => {
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    expect(isAbort(reason, signal)).toBe(true);
    expect(isAbort(new Error('enough'), signal)).toBe(false);
    expect(isAbort(AbortSignal.abort().reason)).toBe(true);
    expect(isAbort(reason, new AbortController().signal)).toBe(false);
    expect(isAbort('AbortError')).toBe(false);
  });
});
