import { describe, expect, it } from 'vitest';
import { createLease } from '../src/index.js';

describe('createLease', () => {
  it('gives back once, however often and whenever it is released', async () => {
    let given = 0;
    const lease = createLease(async () => {
      await Promise.resolve();
      given += 1;
    });
    await Promise.all([lease.release(), lease.release(), lease[Symbol.asyncDispose]()]);
    await lease.release();
    expect(given).toBe(1);
  });

  it('repeats the failure of giving back', async () => {
    let tries = 0;
    const lease = createLease(() => {
      tries += 1;
      throw new Error('stuck');
    });
    await expect(lease.release()).rejects.toThrow('stuck');
    await expect(lease.release()).rejects.toThrow('stuck');
    expect(tries).toBe(1);
  });
});
