// When an engine that refused wants to be asked again, in the forms that engines use.
import { describe, expect, it } from 'vitest';
import { upstreamRetryMs } from '../src/upstream-retry.js';

describe('upstreamRetryMs', () => {
  it.each([
    ['seconds', { 'retry-after': '7' }, 7_000],
    ['milliseconds before seconds', { 'retry-after': '7', 'retry-after-ms': '250' }, 250],
    ['milliseconds with a fraction', { 'retry-after-ms': '12.5' }, 12.5],
    ['nothing', {}, null],
    ['a date', { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }, null],
    ['a negative number', { 'retry-after': '-1' }, null],
    ['no number', { 'retry-after': 'soon', 'retry-after-ms': 'now' }, null],
  ])('%s', (_, headers, expected) => {
    expect(upstreamRetryMs(headers)).toBe(expected);
  });
});
