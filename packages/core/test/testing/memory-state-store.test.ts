import { describe, expect, it } from 'vitest';
import { createMemoryStateStore } from '../../src/testing/index.js';

describe('createMemoryStateStore', () => {
  it('gives back a copy of what was written', async () => {
    const snapshot = createMemoryStateStore().snapshot<{ list: number[] }>('state');
    expect(await snapshot.read()).toBeNull();
    const value = { list: [1] };
    await snapshot.write(value);
    value.list.push(2);
    expect(await snapshot.read()).toEqual({ list: [1] });
  });

  it('keeps records in order and compacts', async () => {
    const store = createMemoryStateStore();
    const journal = store.journal<number>('steps');
    expect(await journal.read()).toEqual([]);
    await journal.append(1);
    await journal.append(2);
    expect(await store.journal<number>('steps').read()).toEqual([1, 2]);
    await journal.compact([2]);
    expect(await journal.read()).toEqual([2]);
  });

  it('gives a lock to one holder at a time', async () => {
    const store = createMemoryStateStore();
    const lease = await store.lock('agent');
    await expect(store.lock('agent')).rejects.toMatchObject({
      code: 'ERR_STATE_LOCKED',
      kind: 'conflict',
      details: { pid: process.pid },
    });
    await lease.release();
    await lease.release();
    await (await store.lock('agent')).release();
  });

  it('refuses an aborted lock, a bad name, and a value without JSON form', async () => {
    const store = createMemoryStateStore();
    await expect(store.lock('agent', { signal: AbortSignal.abort() })).rejects.toThrow();
    await (await store.lock('agent')).release();
    expect(() => store.snapshot('../etc')).toThrow(/cannot name/);
    expect(() => store.journal('Agent')).toThrow(/cannot name/);
    await expect(store.lock('')).rejects.toMatchObject({ code: 'ERR_STATE_NAME' });
    await expect(store.snapshot('state').write(undefined)).rejects.toMatchObject({
      code: 'ERR_INVARIANT',
    });
  });
});
