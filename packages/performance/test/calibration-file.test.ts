import { AimError } from '@aim-gpu/core';
import { describe, expect, test } from 'vitest';
import {
  type CalibrationFile,
  fitCalibration,
  parseCalibrationFile,
  predict,
  toCalibrationFile,
  unknownHardware,
} from '../src/index.js';
import { aPartition, aStep } from './models.js';

const limits = { kvCapacityTokens: 100_000, maxNumSeqs: 64, maxNumBatchedTokens: 8192 };
const step = aStep('Llama-3-8B');
const measurements = [1, 8].map((concurrency) => ({
  promptTokens: 512,
  outputTokens: 64,
  concurrency,
  lengthsFrom: 0.5,
  requestsPerClient: 4,
  ttftMs: 80 * concurrency,
  tpotMs: 8 + concurrency,
}));
const made = toCalibrationFile(
  fitCalibration({ step, speed: aPartition('QPX'), ...limits, measurements, origin: 'host a' }),
);

describe('a calibration file', () => {
  test.each([
    ['a known product', made],
    [
      'a machine nobody knows',
      toCalibrationFile(
        fitCalibration({
          step,
          speed: unknownHardware('cpu'),
          ...limits,
          measurements,
          origin: 'host b',
        }),
      ),
    ],
  ])('of %s comes back as it was written', (_name, file) => {
    expect(parseCalibrationFile(JSON.parse(JSON.stringify(file)), 'x.json')).toEqual(file);
  });

  test('is what predict takes', () => {
    const calibration = parseCalibrationFile(JSON.parse(JSON.stringify(made)), 'x.json');
    const traffic = {
      promptTokens: 512,
      outputTokens: 64,
      arrivals: { kind: 'closed', concurrency: 4, requestsPerClient: 4 },
    } as const;
    const at = { step, speed: calibration.measured.speed, ...calibration.limits, traffic };
    const prediction = predict({ ...at, calibration });
    expect(prediction).toMatchObject({ ok: true, grade: 'calibrated' });
  });

  const change = (path: string, value: unknown): unknown => {
    const copy = structuredClone(made) as CalibrationFile & Record<string, unknown>;
    const keys = path.split('.');
    let at = copy as Record<string, unknown>;
    for (const key of keys.slice(0, -1)) at = at[key] as Record<string, unknown>;
    at[keys.at(-1) ?? ''] = value;
    return copy;
  };

  test.each([
    ['the document', null],
    ['the document', []],
    ['apiVersion', { ...made, apiVersion: 'v2' }],
    ['kind', { ...made, kind: 'Calibration' }],
    ['engine', change('engine', 'other')],
    ['product', change('product', '')],
    ['provenance', change('provenance', 7)],
    ['constants', change('constants', 'x')],
    ['constants.layerMs', change('constants.layerMs', -1)],
    ['constants.layerMs', change('constants.layerMs', 0)],
    ['constants.kvEfficiency', change('constants.kvEfficiency', null)],
    ['corrections.layerMs', change('corrections.layerMs', 'x')],
    ['measurements', change('measurements', {})],
    ['measurements[0]', change('measurements', [3])],
    ['measurements[0].ttftMs', change('measurements', [{ ...measurements[0], ttftMs: '1' }])],
    ['measured.step', change('measured.step', undefined)],
    ['measured.step.latentAttention', change('measured.step.latentAttention', 1)],
    ['measured.step.mathPrecision', change('measured.step.mathPrecision', 'fp2')],
    ['measured.speed.layout.compute', change('measured.speed.layout.compute', 'ZPX')],
    ['measured.speed.flopsPerSecond.fp8', change('measured.speed.flopsPerSecond.fp8', Number.NaN)],
    ['limits.maxNumSeqs', change('limits.maxNumSeqs', undefined)],
  ])('with a wrong %s is refused by name', (field, input) => {
    let caught: unknown;
    try {
      parseCalibrationFile(input, 'x.json');
    } catch (error) {
      caught = error;
    }
    expect(AimError.is(caught, 'ERR_CONFIG_INVALID')).toBe(true);
    expect((caught as AimError).message).toContain(`x.json is no speed calibration: ${field} must`);
  });
});
