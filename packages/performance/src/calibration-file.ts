/**
 * A calibration as a file: what was measured where, and the constants that follow. Owns the shape and its checks;
 * making one is calibration.ts's business, using one predict.ts's.
 */
import { AimError, type StepDemand } from '@aim-gpu/core';
import type { Calibration, Measurement } from './calibration.js';
import { ENGINE_PROFILES, type EngineConstants, type EngineFamily } from './engine-constants.js';
import type { PartitionSpeed } from './partition-speed.js';

/** The file's content, plain JSON. */
export interface CalibrationFile extends Calibration {
  readonly apiVersion: 'aim-gpu/v1alpha1';
  readonly kind: 'SpeedCalibration';
}

/** Makes the document to be written, with two settled fields in front. */
export function toCalibrationFile(calibration: Calibration): CalibrationFile {
  return { apiVersion: 'aim-gpu/v1alpha1', kind: 'SpeedCalibration', ...calibration };
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads a calibration file's parsed JSON. Throws `ERR_CONFIG_INVALID` (invalid) naming the first field that is not
 * what {@link toCalibrationFile} writes: an edited constant must not become a silent misprediction.
 */
export function parseCalibrationFile(input: unknown, source: string): CalibrationFile {
  const refuse = (field: string, want: string): never => {
    throw new AimError({
      code: 'ERR_CONFIG_INVALID',
      kind: 'invalid',
      message: `${source} is no speed calibration: ${field} must be ${want}`,
      hint: 'make one with `aim-gpu measure`',
      details: { source, field },
    });
  };
  const object = (value: unknown, field: string): Json =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Json)
      : refuse(field, 'an object');
  const number = (value: unknown, field: string): number =>
    typeof value === 'number' && Number.isFinite(value) && value >= 0
      ? value
      : refuse(field, 'a number of at least 0');
  const text = (value: unknown, field: string): string =>
    typeof value === 'string' && value.length > 0 && value.length <= 1000
      ? value
      : refuse(field, 'a text');
  const flag = (value: unknown, field: string): boolean =>
    typeof value === 'boolean' ? value : refuse(field, 'true or false');
  const oneOf = <T extends string>(value: unknown, field: string, known: readonly T[]): T =>
    known.find((entry) => entry === value) ?? refuse(field, known.join(', '));

  const file = object(input, 'the document');
  oneOf(file['apiVersion'], 'apiVersion', ['aim-gpu/v1alpha1']);
  oneOf(file['kind'], 'kind', ['SpeedCalibration']);
  const engine = oneOf(
    file['engine'],
    'engine',
    Object.keys(ENGINE_PROFILES) as readonly EngineFamily[],
  );
  const given = object(file['constants'], 'constants');
  const constants = Object.fromEntries(
    Object.keys(ENGINE_PROFILES[engine].constants).map((key) => [
      key,
      number(given[key], `constants.${key}`) || refuse(`constants.${key}`, 'above 0'),
    ]),
  ) as unknown as EngineConstants;
  const corrections = Object.fromEntries(
    Object.entries(object(file['corrections'], 'corrections')).map(([key, value]) => [
      key,
      number(value, `corrections.${key}`),
    ]),
  );
  const list = file['measurements'];
  const entries: readonly unknown[] = Array.isArray(list) ? list : refuse('measurements', 'a list');
  const limits = object(file['limits'], 'limits');
  return {
    apiVersion: 'aim-gpu/v1alpha1',
    kind: 'SpeedCalibration',
    engine,
    product: text(file['product'], 'product'),
    provenance: text(file['provenance'], 'provenance'),
    constants,
    corrections,
    tpotErrorPercent: number(file['tpotErrorPercent'], 'tpotErrorPercent'),
    ttftErrorPercent: number(file['ttftErrorPercent'], 'ttftErrorPercent'),
    measured: toMeasured(object(file['measured'], 'measured')),
    limits: {
      kvCapacityTokens: number(limits['kvCapacityTokens'], 'limits.kvCapacityTokens'),
      maxNumSeqs: number(limits['maxNumSeqs'], 'limits.maxNumSeqs'),
      maxNumBatchedTokens: number(limits['maxNumBatchedTokens'], 'limits.maxNumBatchedTokens'),
    },
    measurements: entries.map((entry, index): Measurement => {
      const at = `measurements[${index}]`;
      const value = object(entry, at);
      return {
        promptTokens: number(value['promptTokens'], `${at}.promptTokens`),
        outputTokens: number(value['outputTokens'], `${at}.outputTokens`),
        concurrency: number(value['concurrency'], `${at}.concurrency`),
        lengthsFrom: number(value['lengthsFrom'] ?? 1, `${at}.lengthsFrom`),
        requestsPerClient: number(value['requestsPerClient'] ?? 10, `${at}.requestsPerClient`),
        ttftMs: number(value['ttftMs'], `${at}.ttftMs`),
        tpotMs: number(value['tpotMs'], `${at}.tpotMs`),
      };
    }),
  };

  function toMeasured(value: Json): Calibration['measured'] {
    const step = object(value['step'], 'measured.step');
    const speed = object(value['speed'], 'measured.speed');
    const layout = object(speed['layout'], 'measured.speed.layout');
    const flops = object(speed['flopsPerSecond'], 'measured.speed.flopsPerSecond');
    const stepNumber = (key: keyof StepDemand): number => number(step[key], `measured.step.${key}`);
    const speedNumber = (key: keyof PartitionSpeed): number =>
      number(speed[key], `measured.speed.${key}`);
    const precisions = ['fp16', 'fp8', 'fp4'] as const;
    return {
      tensorParallel: number(value['tensorParallel'], 'measured.tensorParallel'),
      step: {
        parameters: stepNumber('parameters'),
        activeParameters: stepNumber('activeParameters'),
        alwaysReadBytes: stepNumber('alwaysReadBytes'),
        routedExpertBytes: stepNumber('routedExpertBytes'),
        experts: stepNumber('experts'),
        expertsPerToken: stepNumber('expertsPerToken'),
        layers: stepNumber('layers'),
        hiddenSize: stepNumber('hiddenSize'),
        kvBytesPerToken: stepNumber('kvBytesPerToken'),
        kvHeads: stepNumber('kvHeads'),
        fullAttentionLayers: stepNumber('fullAttentionLayers'),
        queryWidth: stepNumber('queryWidth'),
        latentAttention: flag(step['latentAttention'], 'measured.step.latentAttention'),
        sparseAttention: flag(step['sparseAttention'], 'measured.step.sparseAttention'),
        mathPrecision: oneOf(step['mathPrecision'], 'measured.step.mathPrecision', precisions),
      },
      speed: {
        product: text(speed['product'], 'measured.speed.product'),
        architecture: oneOf(speed['architecture'], 'measured.speed.architecture', [
          'CDNA3',
          'CDNA4',
          'unknown',
        ]),
        layout: {
          compute: oneOf(layout['compute'], 'measured.speed.layout.compute', [
            'SPX',
            'DPX',
            'TPX',
            'QPX',
            'CPX',
          ]),
          memory: oneOf(layout['memory'], 'measured.speed.layout.memory', [
            'NPS1',
            'NPS2',
            'NPS4',
            'NPS8',
          ]),
        },
        xcds: speedNumber('xcds'),
        share: speedNumber('share'),
        cuShare: speedNumber('cuShare'),
        memoryBytesPerSecond: speedNumber('memoryBytesPerSecond'),
        flopsPerSecond: {
          fp16: number(flops['fp16'], 'measured.speed.flopsPerSecond.fp16'),
          fp8: number(flops['fp8'], 'measured.speed.flopsPerSecond.fp8'),
          fp4: number(flops['fp4'], 'measured.speed.flopsPerSecond.fp4'),
        },
        nativeFp4: flag(speed['nativeFp4'], 'measured.speed.nativeFp4'),
      },
    };
  }
}
