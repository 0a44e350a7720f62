import { createManualClock } from '@aim-gpu/core/testing';
import { describe, expect, test } from 'vitest';
import { createTurns } from '../src/turns.js';
import { hasSettled } from './support/time.js';

/** Work that a test ends. */
function aWork(log: string[], name: string) {
  let end: () => void = () => undefined;
  let fail: (error: Error) => void = () => undefined;
  const over = new Promise<void>((resolve, reject) => {
    end = resolve;
    fail = reject;
  });
  const work = async (): Promise<string> => {
    log.push(`${name} begins`);
    await over;
    log.push(`${name} ends`);
    return name;
  };
  return { work, end: () => end(), fail: (error: Error) => fail(error) };
}

describe('turns', () => {
  const clock = createManualClock();

  test('work of one key runs one after the other, in the order it was asked for', async () => {
    const log: string[] = [];
    const turns = createTurns();
    const [a, b] = [aWork(log, 'a'), aWork(log, 'b')];
    const first = turns.take(['p'], a.work);
    const second = turns.take(['p'], b.work);
    expect(await hasSettled(clock, first)).toBe(false);
    expect(log).toEqual(['a begins']);
    a.end();
    expect(await first).toBe('a');
    b.end();
    expect(await second).toBe('b');
    expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  });

  test('work of different keys runs side by side; work of both waits for both', async () => {
    const log: string[] = [];
    const turns = createTurns();
    const [a, b, c] = [aWork(log, 'a'), aWork(log, 'b'), aWork(log, 'c')];
    const all = [turns.take(['p'], a.work), turns.take(['q'], b.work)];
    all.push(turns.take(['p', 'q'], c.work));
    a.end();
    await all[0];
    await clock.advance(0);
    expect(log).toEqual(['a begins', 'b begins', 'a ends']);
    b.end();
    c.end();
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c']);
  });

  test('work that fails fails alone', async () => {
    const log: string[] = [];
    const turns = createTurns();
    const [a, b] = [aWork(log, 'a'), aWork(log, 'b')];
    const first = turns.take(['p'], a.work);
    const second = turns.take(['p'], b.work);
    b.end();
    a.fail(new Error('no memory'));
    await expect(first).rejects.toThrow('no memory');
    expect(await second).toBe('b');
  });

  test('an abort gives the turn up at once, and nobody overtakes because of it', async () => {
    const log: string[] = [];
    const turns = createTurns();
    const [a, b, c] = [aWork(log, 'a'), aWork(log, 'b'), aWork(log, 'c')];
    const first = turns.take(['p'], a.work);
    const stop = new AbortController();
    const second = turns.take(['p'], b.work, { signal: stop.signal });
    const third = turns.take(['p'], c.work);
    stop.abort(new Error('stopped'));
    await expect(second).rejects.toThrow('stopped');
    expect(await hasSettled(clock, third)).toBe(false);
    expect(log).toEqual(['a begins']);
    a.end();
    c.end();
    await Promise.all([first, third]);
    expect(log).toEqual(['a begins', 'a ends', 'c begins', 'c ends']);
  });

  test('a signal that was aborted before never gets a turn', async () => {
    const log: string[] = [];
    const { work } = aWork(log, 'a');
    const signal = AbortSignal.abort(new Error('stopped'));
    await expect(createTurns().take(['p'], work, { signal })).rejects.toThrow('stopped');
    expect(log).toEqual([]);
  });
});
