import { AimError } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import {
  ENGINE_PROFILES,
  type Prediction,
  type PredictOptions,
  predict,
  toPartitionSpeed,
} from '../src/index.js';
import { aPartition, aProduct, aStep } from './models.js';

const base: PredictOptions = {
  step: aStep('Llama-3-8B'),
  speed: aPartition('SPX'),
  traffic: { promptTokens: 1024, outputTokens: 256, arrivals: { kind: 'closed', concurrency: 8 } },
  kvCapacityTokens: 200_000,
  maxNumSeqs: 64,
};

function predicted(overrides: Partial<PredictOptions> = {}): Prediction {
  const result = predict({ ...base, ...overrides });
  if (!result.ok) throw new Error(JSON.stringify(result.reasons));
  return result;
}

describe('grade and band', () => {
  test.each([
    ['a measured engine on a whole measured card', {}, 'measured'],
    ['a partition', { speed: aPartition('CPX', 'NPS4') }, 'transferred'],
    [
      'a product that was not measured',
      {
        speed: toPartitionSpeed({
          product: aProduct('MI325X'),
          xcds: 8,
          layout: { compute: 'SPX', memory: 'NPS1' },
        }),
      },
      'transferred',
    ],
    [
      'routed experts on an engine measured without',
      { step: aStep('Mixtral-8x7B') },
      'transferred',
    ],
    [
      'a busy co-tenant on the partition',
      { coTenants: { samePartition: [0.5], otherPartitions: [] } },
      'assumed',
    ],
    [
      'a busy neighbour on another partition',
      { coTenants: { samePartition: [], otherPartitions: [1] } },
      'transferred',
    ],
  ] as const)('%s', (_name, overrides, grade) => {
    expect(predicted(overrides).grade).toBe(grade);
  });

  test('the band holds the mean and widens as the support gets weaker', () => {
    const whole = predicted();
    const shared = predicted({ coTenants: { samePartition: [1], otherPartitions: [] } });
    for (const result of [whole, shared]) {
      for (const estimate of [result.ttftMs, result.tpotMs, result.outputTokensPerSecond]) {
        expect(estimate.low).toBeLessThan(estimate.mean);
        expect(estimate.high).toBeGreaterThan(estimate.mean);
      }
    }
    const width = (result: Prediction): number => result.tpotMs.high / result.tpotMs.low;
    expect(width(shared)).toBeGreaterThan(width(whole));
  });

  test('says what it rests on', () => {
    expect(predicted().assumptions).toEqual([]);
    const text = predicted({
      speed: toPartitionSpeed({
        product: aProduct(),
        xcds: 1,
        layout: { compute: 'CPX', memory: 'NPS4' },
        cuShare: 0.5,
      }),
      coTenants: { samePartition: [0.3], otherPartitions: [0.2] },
      engine: 'atom',
    }).assumptions.join('\n');
    for (const part of ['1 XCDs', 'NPS4', 'CU mask', '0.9', '2 %']) expect(text).toContain(part);
  });

  test('a calibration is named and narrows the band', () => {
    const calibration = {
      constants: { ...predictedConstants(), layerMs: 0.1 },
      provenance: 'measured on host a',
      measured: { step: base.step, speed: base.speed, tensorParallel: 1 },
    };
    const result = predicted({ calibration });
    expect(result.grade).toBe('calibrated');
    expect(result.assumptions).toContain('measured on host a');
    expect(result.tpotMs.mean).toBeGreaterThan(predicted().tpotMs.mean);
    expect(predicted({ calibration, ...BUSY }).grade).toBe('transferred');
  });

  test.each([
    ['another model', { step: aStep('Llama-3-70B') }],
    ['another partition', { speed: aPartition('DPX') }],
    ['another partition', { tensorParallel: 2 }],
    ['another model on another partition', { step: aStep('Llama-3-70B'), tensorParallel: 2 }],
  ])('a calibration carried over to %s says so', (words, changed) => {
    const calibration = {
      constants: predictedConstants(),
      provenance: 'measured on host a',
      measured: { step: base.step, speed: base.speed, tensorParallel: 1 },
    };
    const result = predicted({ calibration, ...changed });
    expect(result.grade).toBe('transferred');
    expect(result.assumptions[0]).toBe(`measured on host a; carried over to ${words}`);
  });
});

const BUSY = { coTenants: { samePartition: [0.5], otherPartitions: [] } };

function predictedConstants(): NonNullable<PredictOptions['calibration']>['constants'] {
  return ENGINE_PROFILES.vllm.constants;
}

describe('load', () => {
  test('a co-tenant slows everything by the same factor', () => {
    const alone = predicted();
    const shared = predicted({ coTenants: { samePartition: [1], otherPartitions: [] } });
    expect(shared.slowdown).toBeCloseTo(1.9, 9);
    expect(shared.tpotMs.mean / alone.tpotMs.mean).toBeGreaterThan(1.8);
    expect(shared.tpotMs.mean / alone.tpotMs.mean).toBeLessThan(2);
  });

  test('an open loop above capacity is refused with the capacity', () => {
    const result = predict({
      ...base,
      traffic: { ...base.traffic, arrivals: { kind: 'open', requestsPerSecond: 1000 } },
    });
    expect(result).toMatchObject({ ok: false, reasons: [{ code: 'LOAD_ABOVE_CAPACITY' }] });
    if (result.ok) throw new Error('not refused');
    const capacity = result.capacityPerSecond ?? 0;
    const below = predict({
      ...base,
      traffic: { ...base.traffic, arrivals: { kind: 'open', requestsPerSecond: 0.9 * capacity } },
    });
    expect(below.ok).toBe(true);
  });

  test('a request longer than the KV pool is refused', () => {
    expect(predict({ ...base, kvCapacityTokens: 1000 })).toMatchObject({
      ok: false,
      reasons: [{ code: 'CONTEXT_EXCEEDS_KV' }],
    });
  });

  test('an idle engine is hardly busy, a saturated one always', () => {
    const light = predicted({
      traffic: { ...base.traffic, arrivals: { kind: 'open', requestsPerSecond: 0.01 } },
    });
    expect(light.busy).toBeLessThan(0.05);
    expect(
      predicted({ traffic: { ...base.traffic, arrivals: { kind: 'closed', concurrency: 64 } } })
        .busy,
    ).toBeGreaterThan(0.99);
  });

  test('cached prompts come faster', () => {
    const cached = predicted({ traffic: { ...base.traffic, prefixHitShare: 0.8 } });
    expect(cached.ttftMs.mean).toBeLessThan(predicted().ttftMs.mean);
  });
});

test.each([
  ['no prompt', { traffic: { ...base.traffic, promptTokens: 0 } }],
  ['a negative answer', { traffic: { ...base.traffic, outputTokens: -5 } }],
  ['an endless prompt', { traffic: { ...base.traffic, promptTokens: Number.POSITIVE_INFINITY } }],
  ['no clients', { traffic: { ...base.traffic, arrivals: { kind: 'closed', concurrency: 0 } } }],
  [
    'half a client',
    { traffic: { ...base.traffic, arrivals: { kind: 'closed', concurrency: 1.5 } } },
  ],
  ['no rate', { traffic: { ...base.traffic, arrivals: { kind: 'open', requestsPerSecond: 0 } } }],
  [
    'an absurd rate',
    { traffic: { ...base.traffic, arrivals: { kind: 'open', requestsPerSecond: 1e12 } } },
  ],
  ['an unknown loop', { traffic: { ...base.traffic, arrivals: { kind: 'spiral' } as never } }],
  ['lengths from nothing', { traffic: { ...base.traffic, lengths: { kind: 'uniform', from: 0 } } }],
  ['no seats', { maxNumSeqs: 0 }],
  ['a KV pool that is not a number', { kvCapacityTokens: Number.NaN }],
  ['no ranks', { tensorParallel: 0 }],
  ['a model without parameters', { step: { ...base.step, parameters: 0 } }],
  ['a busy share above one', { coTenants: { samePartition: [1.2], otherPartitions: [] } }],
] as const)('refuses %s with a code', (_name, overrides) => {
  let caught: unknown;
  try {
    predict({ ...base, ...(overrides as Partial<PredictOptions>) });
  } catch (error) {
    caught = error;
  }
  expect(AimError.is(caught, 'ERR_PREDICT_INVALID')).toBe(true);
});
