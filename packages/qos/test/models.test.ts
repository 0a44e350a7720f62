/**
 * Queue, fairness and limits beside plain slow oracles, step by step; the soak does the same a million times.
 */
import { describe, expect, it } from 'vitest';
import { compareLimits, compareQueue } from '../soak/models.js';

describe('over 50,000 random operations', () => {
  it('the queue and its fairness do as the oracle says', () => {
    expect(compareQueue({ seed: 1, operations: 50_000 })).toEqual([]);
  });

  it('limits do as the oracle says', () => {
    expect(compareLimits({ seed: 1, operations: 50_000 })).toEqual([]);
  });
});
