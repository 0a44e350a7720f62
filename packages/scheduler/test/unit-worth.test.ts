/** Worth of free parts: by examples whose packing is plain to see. */
import { describe, expect, it } from 'vitest';
import { GRAINS, type SizeInMix, toUnitWorth } from '../src/unit-worth.js';

const mixOf = (...mix: readonly (readonly [share: number, weight: number])[]): SizeInMix[] =>
  mix.map(([share, weight]) => ({ share, weight }));

describe('worth of a free part', () => {
  it.each([
    ['a size without a partner is worth the unit', mixOf([0.81, 1]), 810, 1],
    ['what remains beside it nothing', mixOf([0.81, 1]), 190, 0],
    ['and nothing less than its size', mixOf([0.81, 1]), 809, 0],
    ['half of a unit half', mixOf([0.5, 1]), 500, 0.5],
    ['a half and a bit no more', mixOf([0.5, 1]), 700, 0.5],
    ['a third that fits three times a third', mixOf([0.33, 1]), 330, 1 / 3],
    ['two thirds hold two of them', mixOf([0.33, 1]), 660, 2 / 3],
    // 0.6 is plentiful and fills the unit with 0.4 only in few: 0.6 costs the unit, 0.4 comes for nothing.
    ['the scarce partner of a plentiful size nothing', mixOf([0.6, 3], [0.4, 1]), 400, 0],
    ['the plentiful size all of it', mixOf([0.6, 3], [0.4, 1]), 600, 1],
    // Now 0.4 is plentiful: two of them fill a unit (0.8), so each costs half of one.
    ['a plentiful partner its part', mixOf([0.6, 1], [0.4, 3]), 400, 0.5],
    ['and the scarce size what it leaves', mixOf([0.6, 1], [0.4, 3]), 600, 0.5],
    ['an empty unit one', mixOf([0.6, 1], [0.4, 3]), GRAINS, 1],
  ])('%s', (_, mix, grains, worth) => {
    expect(toUnitWorth(mix)[grains]).toBeCloseTo(worth, 9);
  });

  it('is nothing when nothing comes that fits', () => {
    for (const mix of [[], mixOf([1.2, 5]), mixOf([0.5, 0]), mixOf([0, 3]), mixOf([Number.NaN, 1])])
      expect(toUnitWorth(mix).every((value) => value === 0)).toBe(true);
  });
});
