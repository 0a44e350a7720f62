import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLineReader } from '../../src/internal/json-lines.js';

const MAX_BYTES = 200;

/** A stream's bytes in chunks that end anywhere, also inside a character. */
const aStream = fc
  .array(fc.jsonValue({ maxDepth: 1 }), { minLength: 1 })
  .map((values) => values.filter((value) => Buffer.byteLength(JSON.stringify(value)) <= MAX_BYTES))
  .chain((values) => {
    const whole = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(''));
    const cuts = fc.array(fc.nat({ max: whole.length }));
    return cuts.map((places) => {
      const ends = [...places, whole.length].sort((a, b) => a - b);
      const chunks = ends.map((end, index) => whole.subarray(ends[index - 1] ?? 0, end));
      return { values, chunks };
    });
  });

describe('a line reader', () => {
  it('gives back the messages of a stream, however it was cut', () => {
    fc.assert(
      fc.property(aStream, ({ values, chunks }) => {
        const reader = createLineReader(MAX_BYTES);
        const read = chunks.flatMap((chunk) => [...reader.push(chunk)]);
        expect(JSON.stringify(read)).toBe(JSON.stringify(values));
      }),
    );
  });

  it('bounds each line and not their sum', () => {
    const reader = createLineReader(10);
    const line = Buffer.from(`"${'x'.repeat(8)}"\n`);
    for (let count = 0; count < 100; count += 1) expect(reader.push(line)).toHaveLength(1);
    expect(reader.push(Buffer.from('x'.repeat(10)))).toEqual([]);
    expect(() => reader.push(Buffer.from('x'))).toThrow(
      expect.objectContaining({ code: 'ERR_PROTOCOL', kind: 'invalid' }),
    );
  });
});
