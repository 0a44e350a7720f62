import { describe, expect, it } from 'vitest';
import { createOutputRing } from '../../src/launcher/output-ring.js';

const ring = () => createOutputRing({ maxLines: 3, maxLineLength: 10 });

describe('the last lines of a process', () => {
  it.each([
    ['whole lines', ['a\nb\n'], ['a', 'b']],
    ['a line in pieces', ['a', 'b', '\nc'], ['ab', 'c']],
    ['only the last ones', ['1\n2\n3\n4\n'], ['2', '3', '4']],
    ['the unfinished line counts', ['1\n2\n3\n4'], ['2', '3', '4']],
    ['progress bars', ['10%\r20%\r'], ['10%', '20%']],
    ['Windows line ends, no empty lines', ['a\r\n\r\nb\r\n'], ['a', 'b']],
    ['long lines are cut', [`${'x'.repeat(25)}\n`], [`${'x'.repeat(10)}…`]],
    [
      'long unfinished lines are cut and stay bounded',
      ['x'.repeat(9), 'y'.repeat(90)],
      [`${'x'.repeat(9)}y…`],
    ],
  ])('%s', (_, chunks, expected) => {
    const output = ring();
    for (const chunk of chunks) output.push('stdout', Buffer.from(chunk));
    expect(output.lines()).toEqual(expected);
  });

  it('keeps a character together that arrives in two chunks', () => {
    const output = ring();
    const bytes = Buffer.from('grün\n');
    output.push('stdout', bytes.subarray(0, 3));
    output.push('stdout', bytes.subarray(3));
    expect(output.lines()).toEqual(['grün']);
  });

  it('does not mix half lines of two pipes', () => {
    const output = ring();
    output.push('stdout', Buffer.from('out'));
    output.push('stderr', Buffer.from('err'));
    output.push('stdout', Buffer.from('put\n'));
    expect(output.lines()).toEqual(['output', 'err']);
  });
});
