import { describe, expect, it } from 'vitest';
import {
  AimError,
  ERROR_KINDS,
  exitCodeOf,
  fromErrorDocument,
  httpStatusOf,
  toAimError,
  toErrorDocument,
} from '../src/index.js';

const busy = () =>
  new AimError({
    code: 'ERR_DEVICE_BUSY',
    kind: 'conflict',
    message: 'card 0000:0c:00.0 is in use',
    details: { pids: [7] },
    hint: 'stop process 7',
    at: { file: 'fleet.yaml', line: 3, column: 5 },
    retryAfterMs: 100,
    cause: new Error('EBUSY'),
  });

describe('AimError', () => {
  it.each([
    ['invalid', 400, 2, false],
    ['denied', 403, 3, false],
    ['missing', 404, 4, false],
    ['conflict', 409, 5, true],
    ['refused', 422, 6, false],
    ['exhausted', 429, 7, true],
    ['unavailable', 503, 8, true],
    ['timeout', 504, 9, false],
    ['internal', 500, 70, false],
  ] as const)('of kind %s is HTTP %i, exit %i, retryable %s', (kind, http, exit, retryable) => {
    expect([httpStatusOf(kind), exitCodeOf(kind)]).toEqual([http, exit]);
    const error = new AimError({ code: 'ERR_X', kind, message: 'x' });
    expect(error.retryable).toBe(retryable);
    expect(
      new AimError({ code: 'ERR_X', kind, message: 'x', retryable: !retryable }),
    ).toMatchObject({ retryable: !retryable });
  });

  it('has a list of its kinds in the order of their exit codes', () => {
    const exits = ERROR_KINDS.map(exitCodeOf);
    expect(exits).toEqual([...exits].sort((a, b) => a - b));
    expect(new Set(exits).size).toBe(9);
  });

  it('carries what it was made of', () => {
    const error = busy();
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ name: 'AimError', code: 'ERR_DEVICE_BUSY', retryAfterMs: 100 });
    expect(error.cause).toMatchObject({ message: 'EBUSY' });
    const bare = new AimError({ code: 'ERR_X', kind: 'invalid', message: 'x' });
    expect([bare.hint, bare.at, bare.excerpt, bare.details]).toEqual([
      undefined,
      undefined,
      undefined,
      {},
    ]);
    expect('cause' in bare).toBe(false);
  });

  it('is recognised by its mark, also when it comes from another copy of the package', () => {
    const foreign = Object.defineProperty(new Error('x'), Symbol.for('@aim-gpu/error'), {
      value: true,
    });
    Object.assign(foreign, { code: 'ERR_X' });
    expect(AimError.is(foreign)).toBe(true);
    expect(AimError.is(foreign, 'ERR_Y', 'ERR_X')).toBe(true);
    expect(AimError.is(foreign, 'ERR_Y')).toBe(false);
    for (const other of [null, undefined, 'ERR_X', { code: 'ERR_X' }, new Error('x')]) {
      expect(AimError.is(other)).toBe(false);
    }
  });

  it('does not show its mark in what is printed or copied', () => {
    expect(Object.getOwnPropertySymbols({ ...busy() })).toEqual([]);
  });
});

describe('toAimError', () => {
  it('leaves an AimError as it is and wraps anything else', () => {
    const error = busy();
    expect(toAimError(error)).toBe(error);
    const cause = new TypeError('x is undefined');
    expect(toAimError(cause)).toMatchObject({ code: 'ERR_INVARIANT', kind: 'internal', cause });
    expect(toAimError('text').message).toBe('unexpected: text');
  });
});

describe('the document of an error', () => {
  it('goes through JSON and back without its cause', () => {
    const document = toErrorDocument(busy());
    expect(document).not.toHaveProperty('cause');
    const back = fromErrorDocument(JSON.parse(JSON.stringify(document)));
    expect(toErrorDocument(back)).toEqual(document);
    expect(back).toMatchObject({ code: 'ERR_DEVICE_BUSY', hint: 'stop process 7' });
  });

  it('says null for a missing hint and leaves out a missing place', () => {
    const document = toErrorDocument(new AimError({ code: 'ERR_X', kind: 'denied', message: 'x' }));
    expect(document).toEqual({
      code: 'ERR_X',
      kind: 'denied',
      message: 'x',
      hint: null,
      details: {},
    });
    expect(fromErrorDocument(document).hint).toBeUndefined();
  });
});
