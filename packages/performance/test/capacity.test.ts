import { AimError } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import {
  holdsTarget,
  largestLoad,
  loadAtBusy,
  type PredictOptions,
  predict,
  smallestPartition,
} from '../src/index.js';
import { aPartition, aStep } from './models.js';

const open: PredictOptions = {
  step: aStep('Llama-3-8B'),
  speed: aPartition('SPX'),
  traffic: {
    promptTokens: 600,
    outputTokens: 150,
    arrivals: { kind: 'open', requestsPerSecond: 1 },
  },
  kvCapacityTokens: 500_000,
  maxNumSeqs: 128,
};
const closed: PredictOptions = {
  ...open,
  traffic: { ...open.traffic, arrivals: { kind: 'closed', concurrency: 1 } },
};

describe('largestLoad', () => {
  test.each([
    ['open', open, { tpotMs: 15 }],
    ['open by TTFT', open, { ttftMs: 150 }],
    ['closed', closed, { tpotMs: 15 }],
    ['closed by the band', closed, { tpotMs: 20, pessimistic: true }],
  ] as const)('%s: holds at the load and breaks just above it', (_name, options, target) => {
    const { load, prediction } = largestLoad(options, target);
    expect(load).toBeGreaterThan(0);
    if (prediction === null) throw new Error('no prediction');
    expect(holdsTarget(prediction, target)).toBe(true);
    const isOpen = options.traffic.arrivals.kind === 'open';
    const more = isOpen ? load * 1.01 : load + 1;
    const above = predict({
      ...options,
      traffic: {
        ...options.traffic,
        arrivals: isOpen
          ? { kind: 'open', requestsPerSecond: more }
          : { kind: 'closed', concurrency: more },
      },
    });
    expect(above.ok && holdsTarget(above, target)).toBe(false);
  });

  test('a target that nothing meets gives zero', () => {
    expect(largestLoad(open, { tpotMs: 0.001 })).toEqual({ load: 0, prediction: null });
  });

  test('a target that everything meets ends at the most clients asked for', () => {
    expect(largestLoad(closed, { tpotMs: 1e9 }).load).toBe(65_536);
  });
});

describe('loadAtBusy', () => {
  test.each([0.01, 0.1, 0.6, 0.95])('a rate that keeps the engine busy %d of the time', (busy) => {
    const requestsPerSecond = loadAtBusy(open, busy) ?? 0;
    const result = predict({
      ...open,
      traffic: { ...open.traffic, arrivals: { kind: 'open', requestsPerSecond } },
    });
    expect(result.ok && result.busy).toBeCloseTo(busy, 4);
  });

  test('nothing where a request does not fit; the highest rate where busy cannot be reached', () => {
    expect(loadAtBusy({ ...open, kvCapacityTokens: 10 }, 0.1)).toBeNull();
    const most = loadAtBusy(open, 1) ?? 0;
    expect(most).toBeGreaterThan(1);
    expect(
      predict({
        ...open,
        traffic: { ...open.traffic, arrivals: { kind: 'open', requestsPerSecond: most } },
      }).ok,
    ).toBe(true);
  });
});

describe('smallestPartition', () => {
  const { speed: _speed, kvCapacityTokens: _kv, ...rest } = open;
  const candidates = [
    { name: 'SPX', speed: aPartition('SPX'), kvCapacityTokens: 1_000_000 },
    { name: 'CPX', speed: aPartition('CPX', 'NPS4'), kvCapacityTokens: 50_000 },
    { name: 'QPX', speed: aPartition('QPX', 'NPS4'), kvCapacityTokens: 200_000 },
    { name: 'tiny', speed: aPartition('CPX'), kvCapacityTokens: 100 },
  ];
  test.each([
    [{ tpotMs: 100 }, 'CPX'],
    [{ tpotMs: 30 }, 'QPX'],
    [{ tpotMs: 8 }, 'SPX'],
  ])('%o needs %s', (target, name) => {
    const result = smallestPartition(rest, candidates, target);
    expect(result.ok && result.candidate.name).toBe(name);
  });

  test('says of each why it does not do', () => {
    const result = smallestPartition(rest, candidates, { tpotMs: 0.1 });
    if (result.ok) throw new Error('found one');
    expect(result.reasons.map((reason) => reason.code).sort()).toEqual([
      'CONTEXT_EXCEEDS_KV',
      'TARGET_MISSED',
      'TARGET_MISSED',
      'TARGET_MISSED',
    ]);
  });

  test.each([
    ['no limit', () => largestLoad(open, {})],
    ['a limit of zero', () => largestLoad(open, { tpotMs: 0 })],
    ['no candidates', () => smallestPartition(rest, [], { tpotMs: 1 })],
  ])('refuses %s', (_name, action) => {
    let caught: unknown;
    try {
      action();
    } catch (error) {
      caught = error;
    }
    expect(AimError.is(caught, 'ERR_PREDICT_INVALID')).toBe(true);
  });
});
