import { describe, expect, it } from 'vitest';
import { systemClock } from '../src/index.js';

describe('systemClock', () => {
  it('reads the host’s two times', () => {
    expect(Math.abs(systemClock.epochMs() - Date.now())).toBeLessThan(1000);
    const before = systemClock.monoMs();
    expect(systemClock.monoMs()).toBeGreaterThanOrEqual(before);
  });

  it('sleeps, and wakes early with the signal’s reason', async () => {
    await systemClock.sleep(0);
    await systemClock.sleep(0, { signal: new AbortController().signal });
    const controller = new AbortController();
    const reason = new Error('enough');
    const sleep = systemClock.sleep(3_600_000, { signal: controller.signal });
    controller.abort(reason);
    await expect(sleep).rejects.toBe(reason);
    await expect(systemClock.sleep(0, { signal: controller.signal })).rejects.toBe(reason);
  });

  it('calls back once unless cancelled', async () => {
    const fired: string[] = [];
    const cancel = systemClock.timer(0, () => fired.push('cancelled'));
    cancel();
    await new Promise<void>((resolve) => {
      systemClock.timer(0, () => {
        fired.push('kept');
        resolve();
      });
    });
    expect(fired).toEqual(['kept']);
  });
});
