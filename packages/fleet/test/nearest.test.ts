import { nearestMatch } from '@aim-gpu/fleet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('nearestMatch', () => {
  it.each([
    ['interactve', ['critical', 'interactive', 'standard'], 'interactive'],
    ['max_model_len', ['maxModelLen', 'load'], 'maxModelLen'],
    ['MAX-MODEL-LEN', ['maxModelLen'], 'maxModelLen'],
    ['nmae', ['name', 'source'], 'name'],
    ['MI300Y', ['MI300X', 'MI300A'], 'MI300X'],
    ['bnd', ['kind', 'band'], 'band'],
    ['x', ['y'], null],
    ['gold', ['critical', 'batch'], null],
    ['', ['a'], null],
    ['---', ['a'], null],
    ['name', ['name'], null],
    ['a'.repeat(100), ['a'.repeat(99)], null],
    ['band', ['a'.repeat(100)], null],
    ['anything', [], null],
  ])('%s among %j is %s', (word, known, nearest) => {
    expect(nearestMatch(word, known)).toBe(nearest);
  });

  it('finds every word of seven letters and more with one edit in it', () => {
    const word = fc.stringMatching(/^[a-z]{7,20}$/);
    fc.assert(
      fc.property(
        word,
        fc.nat(),
        fc.constantFrom('drop', 'double', 'swap'),
        (known, seed, edit) => {
          const at = seed % (known.length - 1);
          const [before, here, next, after] = [
            known.slice(0, at),
            known[at] ?? '',
            known[at + 1] ?? '',
            known.slice(at + 2),
          ];
          const typed = {
            drop: before + next + after,
            double: before + here + here + next + after,
            swap: before + next + here + after,
          }[edit];
          expect(nearestMatch(typed, [known])).toBe(typed === known ? null : known);
        },
      ),
    );
  });

  it('answers with a known word or null', () => {
    fc.assert(
      fc.property(fc.string(), fc.array(fc.string()), (word, known) => {
        const nearest = nearestMatch(word, known);
        expect(nearest === null || known.includes(nearest)).toBe(true);
      }),
    );
  });
});
