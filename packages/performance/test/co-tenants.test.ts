import { AimError } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import {
  type CardMember,
  coTenantSlowdown,
  DEFAULT_ASSUMPTIONS,
  predictTogether,
} from '../src/index.js';
import { aPartition, aStep } from './models.js';

describe('coTenantSlowdown', () => {
  test.each([
    ['nobody else', [], [], 'NPS1', 1],
    ['idle others', [0, 0], [0, 0], 'NPS1', 1],
    ['one always busy on the partition', [1], [], 'NPS1', 1.9],
    ['one half busy on the partition', [0.5], [], 'NPS4', 1.45],
    ['two always busy on the partition', [1, 1], [], 'NPS1', 2.8],
    ['one always busy elsewhere, NPS1', [], [1], 'NPS1', 1.05],
    ['one always busy elsewhere, NPS2', [], [1], 'NPS2', 1.05],
    ['one always busy elsewhere, NPS4', [], [1], 'NPS4', 1.02],
    ['seven busy elsewhere cost no more than one', [], [1, 1, 1, 1, 1, 1, 1], 'NPS1', 1.05],
    ['both', [1], [1], 'NPS1', 1.9 * 1.05],
  ] as const)('%s', (_name, samePartition, otherPartitions, memory, factor) => {
    expect(coTenantSlowdown({ activity: { samePartition, otherPartitions }, memory })).toBeCloseTo(
      factor,
      9,
    );
  });

  test('takes other assumptions', () => {
    const assumptions = {
      ...DEFAULT_ASSUMPTIONS,
      samePartition: { ...DEFAULT_ASSUMPTIONS.samePartition, value: 0.5 },
    };
    expect(
      coTenantSlowdown({
        activity: { samePartition: [1], otherPartitions: [] },
        memory: 'NPS1',
        assumptions,
      }),
    ).toBe(1.5);
  });

  test('every default lies in its range', () => {
    for (const assumption of Object.values(DEFAULT_ASSUMPTIONS)) {
      expect(assumption.low).toBeLessThanOrEqual(assumption.value);
      expect(assumption.high).toBeGreaterThanOrEqual(assumption.value);
    }
  });
});

function aMember(id: string, overrides: Partial<CardMember> = {}): CardMember {
  return {
    id,
    partitions: [0],
    step: aStep('Llama-3-8B'),
    speed: aPartition('DPX', 'NPS2'),
    traffic: {
      promptTokens: 600,
      outputTokens: 150,
      arrivals: { kind: 'open', requestsPerSecond: 0.5 },
    },
    kvCapacityTokens: 100_000,
    maxNumSeqs: 64,
    ...overrides,
  };
}

describe('predictTogether', () => {
  test('one engine is as fast as alone', () => {
    const [only] = predictTogether([aMember('a')]);
    expect(only?.together).toEqual(only?.alone);
  });

  test('engines on one partition slow each other down, each by the other’s busy share', () => {
    const [a, b] = predictTogether([aMember('a'), aMember('b')]);
    if (a?.together.ok !== true || b?.together.ok !== true || !a.alone.ok)
      throw new Error('refused');
    expect(a.together.tpotMs.mean).toBeGreaterThan(a.alone.tpotMs.mean);
    expect(a.together.tpotMs.mean).toBeCloseTo(b.together.tpotMs.mean, 6);
    // The fixed point: slower neighbours are busier, and that is taken into account.
    expect(a.activity.samePartition[0]).toBeCloseTo(b.together.busy, 3);
    expect(b.together.busy).toBeGreaterThan(a.alone.busy);
  });

  test('neighbours on other partitions cost at most the leftover', () => {
    const [a] = predictTogether([aMember('a'), aMember('b', { partitions: [1] })]);
    if (a?.together.ok !== true || !a.alone.ok) throw new Error('refused');
    const ratio = a.together.tpotMs.mean / a.alone.tpotMs.mean;
    expect(ratio).toBeGreaterThan(1);
    expect(ratio).toBeLessThan(1.06);
  });

  test('a member over capacity counts as always busy', () => {
    const flood = aMember('b', {
      traffic: {
        promptTokens: 600,
        outputTokens: 150,
        arrivals: { kind: 'open', requestsPerSecond: 500 },
      },
    });
    const [a, b] = predictTogether([aMember('a'), flood]);
    expect(b?.together.ok).toBe(false);
    expect(a?.activity.samePartition).toEqual([1]);
  });

  test.each([
    ['two with one name', [aMember('a'), aMember('a')]],
    ['one without a partition', [aMember('a', { partitions: [] })]],
  ] as const)('refuses %s', (_name, members) => {
    let caught: unknown;
    try {
      predictTogether(members);
    } catch (error) {
      caught = error;
    }
    expect(AimError.is(caught, 'ERR_PREDICT_INVALID')).toBe(true);
  });
});
