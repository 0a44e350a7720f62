import { AimError, createRng } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import {
  createStepModel,
  ENGINE_PROFILES,
  type EngineConstants,
  fitCalibration,
  type Measurement,
  type PartitionSpeed,
  predict,
  simulateLoad,
  unknownHardware,
} from '../src/index.js';
import { aPartition, aStep } from './models.js';

const step = aStep('Llama-3-8B');
const limits = { kvCapacityTokens: 160_000, maxNumSeqs: 64, maxNumBatchedTokens: 8192 };
const SWEEP: readonly (readonly [number, number, number])[] = [
  [128, 64, 1],
  [1024, 64, 1],
  [128, 128, 8],
  [1024, 128, 8],
  [512, 128, 32],
];
const UNSEEN: readonly (readonly [number, number, number])[] = [
  [512, 96, 2],
  [768, 128, 16],
  [256, 64, 4],
];

/** A machine with constants of its own, measured with the discrete-event form and noise. */
function measure(
  speed: PartitionSpeed,
  constants: EngineConstants,
  settings: readonly (readonly [number, number, number])[],
  noise: number,
): Measurement[] {
  const model = createStepModel({ step, speed, constants });
  const rng = createRng(3);
  return settings.map(([promptTokens, outputTokens, concurrency]) => {
    const run = simulateLoad({
      model,
      kvBlocks: 10_001,
      maxNumSeqs: limits.maxNumSeqs,
      maxNumBatchedTokens: limits.maxNumBatchedTokens,
      traffic: { promptTokens, outputTokens, arrivals: { kind: 'closed', concurrency } },
      requests: 10 * concurrency,
      warmUpRequests: 0,
      rng,
    });
    const jitter = (): number => 1 + noise * (2 * rng.next() - 1);
    return {
      promptTokens,
      outputTokens,
      concurrency,
      ttftMs: run.ttftMs.mean * jitter(),
      tpotMs: run.tpotMs.mean * jitter(),
    };
  });
}

const base = ENGINE_PROFILES.vllm.constants;

describe.each([
  [
    'a slower engine on a known partition',
    aPartition('QPX', 'NPS4'),
    {
      ...base,
      layerMs: base.layerMs * 2.2,
      weightEfficiency: base.weightEfficiency * 0.6,
      frontEndMs: 15,
    },
  ],
  [
    'a machine nobody knows',
    unknownHardware('cpu'),
    {
      ...base,
      weightEfficiency: 0.4,
      kvEfficiency: 0.3,
      prefillEfficiency: 0.6,
      decodeEfficiency: 0.5,
      layerMs: 0.4,
      sequenceMs: 1.5,
      frontEndMs: 2,
    },
  ],
] as const)('%s', (_name, speed, truth) => {
  const measurements = measure(speed, truth, SWEEP, 0.03);
  const calibration = fitCalibration({
    step,
    speed,
    ...limits,
    measurements,
    origin: 'host a, today',
  });

  test('is reproduced at what was measured', () => {
    expect(calibration.tpotErrorPercent).toBeLessThan(10);
    expect(calibration.ttftErrorPercent).toBeLessThan(15);
  });

  test('is predicted within 20 % at what was not', () => {
    for (const measured of measure(speed, truth, UNSEEN, 0)) {
      const predicted = predict({
        step,
        speed,
        ...limits,
        calibration,
        traffic: {
          promptTokens: measured.promptTokens,
          outputTokens: measured.outputTokens,
          arrivals: { kind: 'closed', concurrency: measured.concurrency },
        },
      });
      if (!predicted.ok) throw new Error('refused');
      expect(Math.abs(predicted.tpotMs.mean / measured.tpotMs - 1)).toBeLessThan(0.2);
      expect(predicted.assumptions[0]).toContain('host a, today');
    }
  });

  test('corrections stay within their bounds', () => {
    const most = speed.architecture === 'unknown' ? 1e5 : 4;
    for (const factor of Object.values(calibration.corrections)) {
      expect(factor).toBeLessThanOrEqual(most * 1.000001);
      expect(factor).toBeGreaterThanOrEqual(0.999999 / most);
    }
  });
});

test('a wild measurement cannot bend a known product beyond the bounds', () => {
  const { corrections } = fitCalibration({
    step,
    speed: aPartition('SPX'),
    ...limits,
    measurements: SWEEP.map(([promptTokens, outputTokens, concurrency]) => ({
      promptTokens,
      outputTokens,
      concurrency,
      ttftMs: 1e6,
      tpotMs: 1e5,
    })),
    origin: 'a broken clock',
  });
  for (const factor of Object.values(corrections)) expect(factor).toBeLessThanOrEqual(4.000001);
});

test.each([
  ['one setting', [{ promptTokens: 1, outputTokens: 1, concurrency: 1, ttftMs: 1, tpotMs: 1 }]],
  [
    'a time of zero',
    [0, 1].map((tpotMs) => ({
      promptTokens: 1,
      outputTokens: 2,
      concurrency: 1,
      ttftMs: 1,
      tpotMs,
    })),
  ],
  [
    'a time that is none',
    [Number.NaN, 1].map((ttftMs) => ({
      promptTokens: 1,
      outputTokens: 2,
      concurrency: 1,
      ttftMs,
      tpotMs: 1,
    })),
  ],
])('refuses %s', (_name, measurements) => {
  let caught: unknown;
  try {
    fitCalibration({ step, speed: aPartition('SPX'), ...limits, measurements, origin: '' });
  } catch (error) {
    caught = error;
  }
  expect(AimError.is(caught, 'ERR_PREDICT_INVALID')).toBe(true);
});
